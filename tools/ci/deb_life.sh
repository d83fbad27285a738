#!/bin/sh
# The life of the Debian package in a clean system: install, use, upgrade with a changed
# conffile, remove, purge.
#
#   sudo sh tools/ci/deb_life.sh DEB BASE FOLDER [PREVIOUS]
#
# BASE: a debootstrap --variant=minbase of the release and the package's machine, made
# here if it is not there; arm64 runs under qemu-user.
# FOLDER: gets a copy of it for this try, and loses it afterwards (KEEP=1: not).
# PREVIOUS: the package of an earlier version, which is upgraded to DEB first.
# Fetches Debian's numpy, soundfile and their like, about 60 MB.  What is mounted is
# mounted in a namespace of its own.  PYTHON=... has soundfile.
set -eu
usage="usage: deb_life.sh DEB BASE FOLDER [PREVIOUS]"
deb=$(readlink -f "${1:?$usage}")
base=${2:?$usage}
folder=${3:?$usage}
previous=${4:+$(readlink -f "$4")}
project=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${EDGESTEM_INSIDE:-}" != 1 ]; then
    EDGESTEM_INSIDE=1 exec unshare -m sh "$0" "$deb" "$base" "$folder" $previous
fi
. "$project/tools/say.sh"
. "$project/tools/ci/chroots.sh"
case $deb in
*deb12*) release=bookworm ;;
*deb13*) release=trixie ;;
*) echo "which release is $deb for?" >&2; exit 2 ;;
esac
arch=$(dpkg-deb -f "$deb" Architecture)
root=$folder/root-$$
registered=
trap 'leave "$root"' EXIT
foreign_programs "$arch"
clean_base $release "$arch" "$base"
clean_copy "$base" "$root" "$arch"
mkdir "$root/job"
cp "$deb" "$root/job/edgestem.deb"
[ -z "$previous" ] || cp "$previous" "$root/job/previous.deb"
cp "$project/examples/song.ogg" "$root/job"
cp "$project/tools/ci/deb_inside.sh" "$project/tools/ci/services_inside.sh" \
    "$project/tools/ci/cell.py" "$root/job"
"${PYTHON:-python3}" "$project/tools/ci/cell.py" cut "$root/job/song.ogg" \
    "$root/job/second.wav"

# The next version: the same files, another number, and a conffile with one line more.
dpkg-deb -R "$deb" "$folder/next-$$"
sed -i 's/^Version: .*/&.next/' "$folder/next-$$/DEBIAN/control"
echo "# a line of the next version" >>"$folder/next-$$/etc/default/edgestem"
(cd "$folder/next-$$" && sed -i '/etc\/default\/edgestem$/d' DEBIAN/md5sums)
dpkg-deb -Znone --root-owner-group -b "$folder/next-$$" "$root/job/next.deb" >/dev/null
rm -rf "$folder/next-$$"

inside "$root" sh /job/deb_inside.sh
say "all stages of its life passed on $release, $arch"
