#!/bin/sh
# edgestem from a wheel, by pipx or from the sdist in a clean Debian: what docs/matrix.md
# says is what this prints.
#
#   sudo sh tools/ci/clean.sh wheel|pipx|sdist FILE RELEASE[/ARCH] FOLDER
#
# wheel: by README's line for Debian, without a network and without a compiler.
# pipx: after pip was refused (PEP 668).
# sdist: compiled; on armhf numpy and soundfile are Debian's.
# pip inside has no network: it takes files that were fetched here.
# RELEASE: bookworm, trixie, sid; ARCH: amd64, arm64, armhf (qemu-user).  FOLDER keeps a
# minbase of each (made here, 300 MB).  PYTHON=... has soundfile and pip.
# The line `cell: ...` is the record: python -m tools.ci.matrix add LOG puts it into the page.
set -eu
usage="usage: clean.sh wheel|pipx|sdist FILE RELEASE[/ARCH] FOLDER"
way=${1:?$usage}
file=$(readlink -f "${2:?$usage}")
release=${3:?$usage}
folder=$(mkdir -p "${4:?$usage}" && cd "$4" && pwd)
project=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${EDGESTEM_INSIDE:-}" != 1 ]; then
    EDGESTEM_INSIDE=1 exec unshare -m sh "$0" "$way" "$file" "$release" "$folder"
fi
. "$project/tools/say.sh"
. "$project/tools/ci/chroots.sh"
arch=${release#*/}
release=${release%/*}
[ "$arch" != "$release" ] || arch=$(dpkg --print-architecture)
PYTHON=${PYTHON:-python3}
base=$folder/base-$release-$arch
root=$folder/root-$$
registered=
trap 'leave "$root"' EXIT
foreign_programs "$arch"
clean_base "$release" "$arch" "$base"
clean_copy "$base" "$root" "$arch"
mkdir "$root/job" "$root/job/wheels"
chmod 755 "$root/job"
cp "$file" "$root/job"
cp "$project/tools/ci/cell.py" "$project/tools/ci/clean_inside.sh" \
    "$project/tools/ci/services_inside.sh" "$root/job"
cp "$project/examples/song.ogg" "$project/README.md" "$root/job"
"$PYTHON" "$project/tools/ci/cell.py" cut "$root/job/song.ogg" "$root/job/second.wav"
inside "$root" sh /job/clean_inside.sh system "$way" "$arch"

# Fetched here, for the Python inside.
number=$(inside "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
fetch() {
    case $arch in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; armhf) machine=armv7l ;; esac
    platforms="--platform linux_$machine --platform manylinux2014_$machine"
    for glibc in 2_34 2_31 2_28 2_27 2_17; do
        platforms="$platforms --platform manylinux_${glibc}_$machine"
    done
    # shellcheck disable=SC2086 # the list is a list
    "$PYTHON" -m pip download -q --disable-pip-version-check -d "$root/job/wheels" \
        --only-binary=:all: --implementation cp \
        --python-version "$number" --abi "cp$(echo "$number" | tr -d .)" --abi abi3 \
        --abi none $platforms "$@"
}
case $way-$arch in
wheel-* | pipx-*) busy "wheels for Python $number on $arch" fetch "$file" pip ;;
sdist-amd64 | sdist-arm64)
    busy "wheels for Python $number on $arch" fetch numpy cffi soundfile ai-edge-litert \
        "setuptools>=77"
    ;;
sdist-armhf)
    busy "what Debian $release lacks" fetch --no-deps tflite-runtime "setuptools>=77" \
        "packaging>=24.2" pycparser
    "$PYTHON" -m pip download -q --disable-pip-version-check -d "$root/job/wheels" \
        --no-binary=:all: --no-deps cffi
    ;;
esac
inside "$root" sh /job/clean_inside.sh "$way" "$(basename "$file")" "$arch"
