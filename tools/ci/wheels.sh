#!/bin/sh
# The sdist and the wheels of a release, checked: see docs/packages.md.
#
#   sh tools/ci/wheels.sh OUT [MACHINE...]       MACHINE: x86_64, aarch64 (default: both)
#
# Writes OUT/edgestem-*.tar.gz and OUT/edgestem-*-cp310-abi3-manylinux*.whl.  Each is
# built twice, in folders of different names, and has to come out with the same bytes;
# the time inside is that of the last commit (or $SOURCE_DATE_EPOCH).  A machine that is
# not this one is built by its cross compiler (gcc-aarch64-linux-gnu).  Tools are fetched
# into OUT/.tools, pinned by packaging/build-tools.txt.
#
# The sources are what git knows, as it stands in the working tree.
set -eu
project=$(cd "$(dirname "$0")/../.." && pwd)
out=$(mkdir -p "${1:?usage: wheels.sh OUT [MACHINE...]}" && cd "$1" && pwd)
shift
[ $# != 0 ] || set -- x86_64 aarch64
. "$project/tools/say.sh"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$project" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
for machine; do # a cross compiler may be there without its headers
    [ "$machine" = "$(uname -m)" ] ||
        "$machine-linux-gnu-gcc" -E -include stdlib.h - </dev/null >/dev/null 2>&1 || {
        echo "apt-get install gcc-$machine-linux-gnu libc6-dev-arm64-cross" >&2
        exit 1
    }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022 # modes are part of the bytes

make_venv "$out/.tools"
busy "build tools" "$out/.tools/bin/pip" install -q --disable-pip-version-check \
    -r "$project/packaging/build-tools.txt"
python=$out/.tools/bin/python
PATH=$out/.tools/bin:$PATH # auditwheel asks for patchelf

# same FOLDER FOLDER: both hold one file, and it is the same.
same() {
    name=$(basename "$1"/edgestem-*)
    cmp "$1/$name" "$2/$name" || { echo "$name: two builds differ" >&2; exit 1; }
}

say "sdist"
mkdir "$work/tree"
(cd "$project" && git ls-files -z | tar --null -T - -c) | tar -C "$work/tree" -x
for n in 1 2; do
    cp -r "$work/tree" "$work/sdist-tree-$n"
    busy "sdist $n" "$python" -m build --no-isolation --sdist --outdir "$work/sdist-$n" \
        "$work/sdist-tree-$n"
    "$python" "$project/tools/ci/repack_sdist.py" "$work/sdist-$n"/edgestem-*.tar.gz
done
same "$work/sdist-1" "$work/sdist-2"

# build MACHINE N: one wheel into $work/MACHINE-N, as setuptools names it.
build() {
    folder=$work/build-$1-$2
    mkdir "$folder"
    tar -C "$folder" --strip-components 1 -xf "$work"/sdist-1/edgestem-*.tar.gz
    if [ "$1" = "$(uname -m)" ]; then
        # Nothing of how this Python was built: pyenv's own would add its folder.
        set -- "$1" "$2" env CC=gcc LDSHARED="gcc -shared"
    else
        # Both are LP64 and the wheel is abi3, so this machine's Python.h serves.
        set -- "$1" "$2" env CC="$1-linux-gnu-gcc" LDSHARED="$1-linux-gnu-gcc -shared" \
            _PYTHON_HOST_PLATFORM="linux-$1"
    fi
    to=$work/$1-$2
    title="wheel $2 for $1"
    shift 2
    # In isolation pip would install the other machine's cffi.
    busy "$title" "$@" "$python" -m build --no-isolation --wheel --outdir "$to/plain" \
        "$folder"
    "$python" -m zipfile -e "$to"/plain/*.whl "$to/files"
    found=$(patchelf --print-rpath "$to"/files/edgestem/_native.abi3.so)
    [ -z "$found" ] || { echo "the kernel looks for libraries in $found" >&2; exit 1; }
    busy "auditwheel" "$python" -m auditwheel repair -w "$to/wheel" "$to"/plain/*.whl
}

for machine; do
    build "$machine" 1
    build "$machine" 2
    same "$work/$machine-1/wheel" "$work/$machine-2/wheel"
    "$python" -m auditwheel show "$work/$machine-1"/wheel/*.whl | sed '/^$/d'
    "$python" -m abi3audit -sS "$work/$machine-1"/wheel/*.whl
    "$python" "$project/tools/ci/wheel_contents.py" "$work/$machine-1"/wheel/*.whl \
        "$project"
    cp "$work/$machine-1"/wheel/*.whl "$out"
done
cp "$work"/sdist-1/edgestem-*.tar.gz "$out"
say "the same bytes twice:"
(cd "$out" && sha256sum edgestem-*.tar.gz edgestem-*.whl)
(cd "$out" && ls -l edgestem-*.tar.gz edgestem-*.whl)
