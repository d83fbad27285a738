#!/bin/sh
# The OCI image of packaging/Containerfile, built and tried by buildah; its base is made
# of Debian's packages, so no registry of images is asked.
#
#   sudo sh tools/ci/image.sh DEB BASE FOLDER
#
# DEB: the package for Debian 13.  BASE: a debootstrap --variant=minbase of it, made here
# if it is not there.  FOLDER: gets the images, 3 GB, and keeps them.  The last line is
# the record for docs/matrix.md.  Needs buildah; PYTHON=... has soundfile.
set -eu
usage="usage: image.sh DEB BASE FOLDER"
deb=$(readlink -f "${1:?$usage}")
base=${2:?$usage}
folder=$(mkdir -p "${3:?$usage}" && cd "$3" && pwd)
project=$(cd "$(dirname "$0")/../.." && pwd)
. "$project/tools/say.sh"
. "$project/tools/ci/chroots.sh"
command -v buildah >/dev/null || { echo "apt-get install buildah" >&2; exit 1; }
clean_base trixie "$(dpkg-deb -f "$deb" Architecture)" "$base"
base=$(cd "$base" && pwd)
# vfs: it needs nothing of the kernel.
by() { buildah --root "$folder/images" --runroot "$folder/run" --storage-driver vfs "$@"; }
run() { by run --isolation chroot "$@"; }

mkdir -p "$folder/context" "$folder/job"
cp "$deb" "$folder/context"
cp "$project/examples/song.ogg" "$project/tools/ci/cell.py" "$folder/job"
"${PYTHON:-python3}" "$project/tools/ci/cell.py" cut "$folder/job/song.ogg" \
    "$folder/job/second.wav"
chmod -R a+rX "$folder/job"
minbase() {
    container=$(by from scratch)
    by add -q "$container" "$base" /
    by commit -q --rm "$container" localhost/debian:trixie
}
busy "the base" minbase
busy "the image" by build --isolation chroot -f "$project/packaging/Containerfile" \
    --build-arg BASE=localhost/debian:trixie -t edgestem "$folder/context"
by images
# In MB, whether it says "980 MB" or "1.09 GB".
size=$(by images --json localhost/edgestem | sed -n 's/.*"size": "\(.*\)".*/\1/p' |
    awk '{ print int($1 * ($2 == "GB" ? 1000 : 1)) }')
say "inside"
container=$(by from localhost/edgestem)
trap 'by rm "$container" >/dev/null' EXIT
run -v "$folder/job:/job:ro" "$container" -- sh -ec '
    id
    edgestem serve >/tmp/log 2>&1 &
    for n in $(seq 100); do [ ! -S $EDGESTEM_SOCKET ] || break; sleep 0.2; done
    edgestem client status | head -n 4
    edgestem separate /job/second.wav -o /tmp/out --socket
    edgestem verify /tmp/out/second /job/second.wav
    kill $!
    wait $! # the daemon ends as it should'
run -v "$folder/job:/job:ro" "$container" -- python3 /job/cell.py /usr/bin/edgestem \
    "OCI image, .deb" /job/song.ogg /job/second.wav "size_mb=$size"
