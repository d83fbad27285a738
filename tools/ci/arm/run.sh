#!/bin/sh
# A real ARM userland on an x86 machine: Debian bookworm (Python 3.11, as Raspberry
# Pi OS) under qemu-user, with the ARM wheels of PyPI and our sdist.
#
#   sudo sh tools/ci/arm/run.sh arm64|armhf FOLDER [SONG.wav]
#
# FOLDER (1.5 GB, kept: a second run starts where the first one got) must be on a
# file system without nodev.  Builds the userland, installs, runs the tests of the
# kernel, the engine, runtimes and delegates, separates SONG (default: 6 seconds
# of synthetic music) with every model and compares the stems with this machine's.
# The line `cell: ...` is a record for docs/matrix.md.
# About 15 minutes at first, then 7.  Needs debootstrap, qemu-user-static, and a
# python3 here with edgestem, both runtimes and build installed (PYTHON=...).
# MODELS=DIR: other models than the shipped ones.  EDGESTEM_ARM_SHORT=1: no tests.
#
# armhf has no wheels of ai-edge-litert and numpy 1: it takes numpy, soundfile and
# the tests' libraries from Debian, and compiles cffi.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../../.." && pwd)
usage="usage: run.sh arm64|armhf FOLDER [SONG.wav]"
arch=${1:?$usage}
folder=$(mkdir -p "${2:?$usage}" && cd "$2" && pwd)
song=${3:-}
PYTHON=${PYTHON:-python3}
MODELS=${MODELS:-$project/models}
root=$folder/root
started=$(date +%s)
packages=python3,python3-venv,python3-dev,gcc,libc6-dev
debian=
wheels="tflite-runtime pytest hypothesis setuptools>=77 tflite"

case $arch in
arm64)
    machine=aarch64
    wheels="$wheels numpy<2 ai-edge-litert soundfile cffi"
    runtimes="ai-edge-litert tflite-runtime"
    ;;
armhf)
    machine=armv7l
    wheels="tflite-runtime setuptools>=77 tflite flatbuffers packaging>=24.2 pycparser"
    debian="libffi-dev python3-numpy python3-soundfile python3-pytest"
    debian="$debian python3-hypothesis"
    runtimes=tflite-runtime
    ;;
*)
    echo "$usage"
    exit 2
    ;;
esac

stage() {
    echo "== $(($(date +%s) - started)) s: $*"
}

# Everything is mounted in a namespace of our own and gone with it.
if [ "${EDGESTEM_ARM_INSIDE:-}" != 1 ]; then
    command -v debootstrap >/dev/null || { echo "apt-get install debootstrap"; exit 1; }
    EDGESTEM_ARM_INSIDE=1 exec unshare -m sh "$0" "$arch" "$folder" ${song:+"$song"}
fi

. "$project/tools/ci/chroots.sh"
registered= # until we go
trap '[ -z "$registered" ] || echo -1 >"$registered"' EXIT
foreign_programs $arch

if [ ! -e "$root/edgestem-ready" ]; then
    stage "debootstrap bookworm $arch"
    debootstrap --arch=$arch --variant=minbase --include=$packages bookworm "$root" \
        >"$folder/debootstrap.log" || { tail "$folder/debootstrap.log"; exit 1; }
    if [ -n "$debian" ]; then
        stage "Debian's Python packages"
        # shellcheck disable=SC2086 # the list is a list
        { chroot "$root" apt-get -q update && chroot "$root" apt-get -q install -y \
            --no-install-recommends $debian; } >"$folder/apt.log" 2>&1 ||
            { tail "$folder/apt.log"; exit 1; }
    fi
    touch "$root/edgestem-ready"
fi

stage "$machine wheels"
platforms="--platform manylinux2014_$machine"
for glibc in 2_34 2_31 2_28 2_27 2_17; do
    platforms="$platforms --platform manylinux_${glibc}_$machine"
done
mkdir -p "$root/wheels"
# --no-deps on armhf: numpy is Debian's.  The lists are lists.
# shellcheck disable=SC2086,SC2046
"$PYTHON" -m pip download -q --disable-pip-version-check -d "$root/wheels" \
    --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 \
    --abi abi3 --abi none $platforms $([ $arch = armhf ] && echo --no-deps) $wheels
[ $arch = arm64 ] || "$PYTHON" -m pip download -q --disable-pip-version-check \
    -d "$root/wheels" --no-binary=:all: --no-deps cffi

stage "sdist, tests, song"
rm -rf "$root/job"
"$PYTHON" -m build -q --sdist --outdir "$root/job" "$project"
cp -r "$project/tests" "$project/tools" "$project/pyproject.toml" "$root/job"
cp -r "$MODELS" "$root/job/models"
cp -r "$project/native" "$root/job/native"
cp "$here/inside.sh" "$root/job"
"$PYTHON" "$project/tools/ci/cell.py" cut "$project/examples/song.ogg" "$root/job/second.wav"
if [ -n "$song" ]; then
    cp "$song" "$root/job/song.wav"
else
    "$PYTHON" "$here/compare.py" --make "$root/job/song.wav"
fi

lay_processor "$root" $arch
mount -t proc proc "$root/proc"
mount --bind "$root/cpuinfo" "$root/proc/cpuinfo"
failed=0
stage "inside, on $(chroot "$root" uname -m)"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 QEMU_CPU="$QEMU_CPU" \
    SHORT="${EDGESTEM_ARM_SHORT:-}" RUNTIMES="$runtimes" WHEELS="$wheels" \
    chroot "$root" sh /job/inside.sh || failed=$?

stage "the same stems on $(uname -m)"
for model in "$root"/job/out/*/; do
    "$PYTHON" "$here/compare.py" "$root/job/song.wav" "$model" "$MODELS"
done
[ $failed = 0 ] || { stage "FAILED, see above"; exit 1; }
stage "done"
