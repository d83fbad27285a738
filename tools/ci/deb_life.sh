#!/bin/sh
# The life of the Debian package in a clean system: install, use, upgrade with a changed
# conffile, remove, purge.
#
#   sudo sh tools/ci/deb_life.sh DEB BASE FOLDER
#
# BASE: a debootstrap --variant=minbase of the release, made here if it is not there.
# FOLDER: gets a copy of it for this try, and loses it afterwards (KEEP=1: not).
# Fetches Debian's numpy, soundfile and their like, about 60 MB.  What is mounted is
# mounted in a namespace of its own.
set -eu
usage="usage: deb_life.sh DEB BASE FOLDER"
deb=$(readlink -f "${1:?$usage}")
base=${2:?$usage}
folder=${3:?$usage}
project=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${EDGESTEM_INSIDE:-}" != 1 ]; then
    EDGESTEM_INSIDE=1 exec unshare -m sh "$0" "$deb" "$base" "$folder"
fi
. "$project/tools/say.sh"
case $deb in
*deb12*) release=bookworm ;;
*deb13*) release=trixie ;;
*) echo "which release is $deb for?" >&2; exit 2 ;;
esac
if [ ! -e "$base/etc/debian_version" ]; then
    command -v debootstrap >/dev/null || { echo "apt-get install debootstrap" >&2; exit 1; }
    busy "debootstrap $release" debootstrap --variant=minbase $release "$base"
fi
say "a copy of $base"
mkdir -p "$folder"
root=$folder/root-$$
cp -a "$base" "$root"
[ -n "${KEEP:-}" ] || trap 'umount -R "$root/proc" 2>/dev/null || true; rm -rf "$root"' EXIT
cp /etc/resolv.conf "$root/etc/resolv.conf"
mkdir "$root/job"
cp "$deb" "$root/job/edgestem.deb"
cp "$project/examples/song.ogg" "$root/job"
cp "$project/tools/ci/deb_inside.sh" "$root/job"

# The next version: the same files, another number, and a conffile with one line more.
dpkg-deb -R "$deb" "$folder/next-$$"
sed -i 's/^Version: .*/&.next/' "$folder/next-$$/DEBIAN/control"
echo "# a line of the next version" >>"$folder/next-$$/etc/default/edgestem"
(cd "$folder/next-$$" && sed -i '/etc\/default\/edgestem$/d' DEBIAN/md5sums)
dpkg-deb -Znone --root-owner-group -b "$folder/next-$$" "$root/job/next.deb" >/dev/null
rm -rf "$folder/next-$$"

mount -t proc proc "$root/proc"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive chroot "$root" sh /job/deb_inside.sh
say "all stages of its life passed on $release"
