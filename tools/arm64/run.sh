#!/bin/sh
# A real ARM userland on an x86 machine: Debian bookworm arm64 (Python 3.11, as
# Raspberry Pi OS) under qemu-user, with the aarch64 wheels of PyPI and our sdist.
#
#   sudo sh tools/arm64/run.sh FOLDER [SONG.wav]
#
# FOLDER (1.5 GB, kept: a second run starts where the first one got) must be on a
# file system without nodev.  Builds the userland, installs, runs the tests of the
# kernel, the engine, runtimes and delegates, separates SONG (default: 6 seconds
# of synthetic music) with every model and compares the stems with this machine's.
# About 15 minutes at first, then 10.  Needs debootstrap, qemu-user-static, and a
# python3 here with edgestem, both runtimes and build installed (PYTHON=...).
# MODELS=DIR: other models than the shipped ones.  EDGESTEM_ARM64_SHORT=1: no tests.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
folder=$(mkdir -p "${1:?usage: run.sh FOLDER [SONG.wav]}" && cd "$1" && pwd)
song=${2:-}
PYTHON=${PYTHON:-python3}
MODELS=${MODELS:-$project/models}
root=$folder/root
started=$(date +%s)

stage() {
    echo "== $(($(date +%s) - started)) s: $*"
}

# Everything is mounted in a namespace of our own and gone with it.
if [ "${EDGESTEM_ARM64_INSIDE:-}" != 1 ]; then
    command -v debootstrap >/dev/null || { echo "apt-get install debootstrap"; exit 1; }
    handler=$(ls /usr/libexec/qemu-binfmt/aarch64-binfmt-P /usr/bin/qemu-aarch64-static \
        2>/dev/null | head -1)
    [ -n "$handler" ] || { echo "apt-get install qemu-user-static"; exit 1; }
    EDGESTEM_ARM64_INSIDE=1 exec unshare -m sh "$0" "$folder" ${song:+"$song"}
fi

stage "handler for arm64 programs"
binfmt=/proc/sys/fs/binfmt_misc
[ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
if [ ! -e $binfmt/qemu-aarch64 ]; then
    # The kernel keeps it for everyone, so it goes when we go.
    cat /usr/lib/binfmt.d/qemu-aarch64.conf >$binfmt/register
    trap 'echo -1 >$binfmt/qemu-aarch64' EXIT
fi

if [ ! -e "$root/edgestem-ready" ]; then
    stage "debootstrap bookworm arm64"
    packages=python3,python3-venv,python3-dev,gcc,libc6-dev
    debootstrap --arch=arm64 --variant=minbase --include=$packages bookworm "$root" \
        >"$folder/debootstrap.log" || { tail "$folder/debootstrap.log"; exit 1; }
    touch "$root/edgestem-ready"
fi

stage "aarch64 wheels"
platforms=
for glibc in 2_34 2_28 2_27 2_17; do
    platforms="$platforms --platform manylinux_${glibc}_aarch64"
done
mkdir -p "$root/wheels" "$root/job"
# shellcheck disable=SC2086 # the list is a list
"$PYTHON" -m pip download -q --disable-pip-version-check -d "$root/wheels" \
    --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 \
    --abi abi3 --abi none $platforms --platform manylinux2014_aarch64 \
    "numpy<2" tflite-runtime ai-edge-litert soundfile cffi pytest hypothesis \
    "setuptools>=77" tflite

stage "sdist, tests, song"
rm -rf "$root/job"
mkdir -p "$root/job/native"
"$PYTHON" -m build -q --sdist --outdir "$root/job" "$project"
cp -r "$project/tests" "$project/tools" "$root/job"
cp -r "$MODELS" "$root/job/models"
cp "$project"/native/*.[ch] "$root/job/native"
cp "$here/inside.sh" "$root/job"
if [ -n "$song" ]; then
    cp "$song" "$root/job/song.wav"
else
    "$PYTHON" "$here/compare.py" --make "$root/job/song.wav"
fi

# The libraries choose their kernels by these two; qemu shows them the x86 machine's,
# on which XNNPACK gives up.  The core is a Raspberry Pi 5's.
mkdir -p "$root/sys/devices/system/cpu"
echo 0-3 >"$root/sys/devices/system/cpu/possible"
echo 0-3 >"$root/sys/devices/system/cpu/present"
features="fp asimd evtstrm crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc asimddp"
for number in 0 1 2 3; do
    printf 'processor\t: %s\nFeatures\t: %s\nCPU implementer\t: 0x41\n' \
        $number "$features"
    printf 'CPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\n\n'
done >"$root/cpuinfo"
mount -t proc proc "$root/proc"
mount --bind "$root/cpuinfo" "$root/proc/cpuinfo"
stage "inside, on $(chroot "$root" uname -m)"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    QEMU_CPU=cortex-a76 SHORT="${EDGESTEM_ARM64_SHORT:-}" chroot "$root" sh /job/inside.sh

stage "the same stems on $(uname -m)"
for model in "$root"/job/out/*/; do
    "$PYTHON" "$here/compare.py" "$root/job/song.wav" "$model" "$MODELS"
done
stage "done"
