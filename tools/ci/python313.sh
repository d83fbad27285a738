#!/bin/sh
# Python 3.13 (Debian trixie) with ai-edge-litert and numpy 2, in a chroot:
#
#   sudo sh tools/ci/python313.sh FOLDER
#
# Builds the userland in FOLDER (once), installs the sdist with PyPI's wheels and
# runs the tests of the engine, the kernel, devices and lint.  About 3 minutes.
set -eu
project=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mkdir -p "${1:?usage: python313.sh FOLDER}" && cd "$1" && pwd)
PYTHON=${PYTHON:-python3}
root=$folder/root

if [ "${EDGESTEM_INSIDE:-}" != 1 ]; then
    command -v debootstrap >/dev/null || { echo "apt-get install debootstrap"; exit 1; }
    EDGESTEM_INSIDE=1 exec unshare -m sh "$0" "$folder"
fi
if [ ! -e "$root/edgestem-ready" ]; then
    debootstrap --variant=minbase \
        --include=python3,python3-venv,python3-dev,gcc,libc6-dev trixie "$root" \
        >"$folder/debootstrap.log" || { tail "$folder/debootstrap.log"; exit 1; }
    touch "$root/edgestem-ready"
fi
platforms=
for glibc in 2_34 2_28 2_27 2_17; do
    platforms="$platforms --platform manylinux_${glibc}_x86_64"
done
rm -rf "$root/job"
mkdir -p "$root/wheels" "$root/job"
# shellcheck disable=SC2086 # the list is a list
"$PYTHON" -m pip download -q --disable-pip-version-check -d "$root/wheels" \
    --only-binary=:all: --implementation cp --python-version 3.13 --abi cp313 \
    --abi abi3 --abi none $platforms --platform manylinux2014_x86_64 \
    numpy ai-edge-litert soundfile cffi pytest hypothesis "setuptools>=77" tflite
"$PYTHON" -m build -q --sdist --outdir "$root/job" "$project"
for part in tests tools models native pyproject.toml; do
    cp -r "$project/$part" "$root/job"
done
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
cat >"$root/job/inside.sh" <<'INSIDE'
set -eu
[ -x /venv/bin/python ] || python3 -m venv /venv
pip="/venv/bin/python -m pip install -q --no-index --find-links /wheels"
$pip pytest hypothesis tflite "setuptools>=77" cffi
/venv/bin/python -m pip uninstall -q -y edgestem
$pip --no-build-isolation /job/edgestem-*.tar.gz
/venv/bin/edgestem info
cd /job
/venv/bin/python -m pytest -q -p no:cacheprovider tests/spectrum tests/network \
    tests/devices tests/lint tests/diagnose tests/engine
INSIDE
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    chroot "$root" sh /job/inside.sh
