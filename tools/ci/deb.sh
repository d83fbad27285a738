#!/bin/sh
# The Debian package, from wheels; see packaging/debian/README.md.
#
#   sh tools/ci/deb.sh WHEEL OUT RELEASE       RELEASE: bookworm, trixie
#
# Writes OUT/edgestem_VERSION+debN_ARCH.deb, for the machine that the wheel is for.
# PYTHON=... has an edgestem of the same sources: units and completions are its words.
# Needs debhelper; no root.
set -eu
usage="usage: deb.sh WHEEL OUT bookworm|trixie"
wheel=$(readlink -f "${1:?$usage}")
out=$(mkdir -p "${2:?$usage}" && cd "$2" && pwd)
release=${3:?$usage}
project=$(cd "$(dirname "$0")/../.." && pwd)
. "$project/tools/say.sh"
PYTHON=$(command -v "${PYTHON:-python3}")
case $PYTHON in /*) ;; *) PYTHON=$PWD/$PYTHON ;; esac
case $release in
bookworm) debian=12 python=3.11 below=3.12 ;;
trixie) debian=13 python=3.13 below=3.14 ;;
*) echo "$usage" >&2; exit 2 ;;
esac
case $wheel in
*x86_64.whl) arch=amd64 machine=x86_64 ;;
*aarch64.whl) arch=arm64 machine=aarch64 ;;
*) echo "no Debian machine for $wheel" >&2; exit 2 ;;
esac
command -v dh >/dev/null || { echo "apt-get install debhelper" >&2; exit 1; }
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$project" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/edgestem
home=$tree/root/usr/lib/edgestem
mkdir -p "$home"
cp -r "$project/packaging/debian" "$tree/debian"
cp "$project/CHANGELOG.md" "$tree"

# unpack FILE NAME...: what a wheel holds, below $home; all of it without names.
unpack() {
    "$PYTHON" - "$home" "$@" <<'UNPACK'
import sys, zipfile
home, wheel, *names = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if not names or any(name == n or (n[-1] == "/" and n in name) for n in names):
            archive.extract(name, home)
UNPACK
}

platforms="--platform manylinux2014_$machine"
for glibc in 2_28 2_27 2_17; do
    platforms="$platforms --platform manylinux_${glibc}_$machine"
done
# shellcheck disable=SC2086 # the list is a list
busy "LiteRT for Python $python on $machine, about 20 MB to fetch" \
    "$PYTHON" -m pip download -q --disable-pip-version-check -d "$work" --no-deps \
    -c "$project/tools/constraints.txt" --only-binary=:all: --implementation cp \
    --python-version $python --abi "cp$(echo $python | tr -d .)" $platforms \
    ai-edge-litert
# Debian has no sounddevice; it is Python alone, and finds libportaudio2.
busy "sounddevice" "$PYTHON" -m pip download -q --disable-pip-version-check -d "$work" \
    --no-deps -c "$project/tools/constraints.txt" --only-binary=:all: \
    --platform any sounddevice
unpack "$wheel"
unpack "$work"/sounddevice-*-any.whl sounddevice.py _sounddevice.py .dist-info/
# What an interpreter opens; compilers for other chips and WebGPU are 30 MB more.
unpack "$work"/ai_edge_litert-*.whl \
    ai_edge_litert/__init__.py ai_edge_litert/interpreter.py \
    ai_edge_litert/metrics_interface.py ai_edge_litert/metrics_portable.py \
    ai_edge_litert/schema_py_generated.py ai_edge_litert/libLiteRt.so \
    ai_edge_litert/libpywrap_litert_common.so \
    ai_edge_litert/_pywrap_litert_interpreter_wrapper.so .dist-info/
# Licences go to copyright; pip's and auditwheel's notes are of no use here.
rm -rf "$home"/*.dist-info/licenses "$home"/*.dist-info/sboms \
    "$home"/*.dist-info/RECORD "$home"/*.dist-info/entry_points.txt \
    "$home"/*.dist-info/top_level.txt
find "$home" -name "*.so" -exec chmod 644 {} +

(cd "$project" && "$PYTHON" -m tools.ci.deb_files "$wheel" "$tree/root" "$tree/debian")
if [ -e "$project/tools/ci/man_pages.py" ]; then
    mkdir "$work/man"
    (cd "$project" && "$PYTHON" -m tools.ci.man_pages "$work/man")
    (cd "$work" && ls man/*.1) >"$tree/debian/edgestem.manpages"
    cp -r "$work/man" "$tree/man"
fi

version=$(basename "$wheel" | cut -d- -f2)
version=$(echo "$version" | sed 's/\.\(dev\|a\|b\|rc\)/~\1/')+deb$debian
sed "s/@PYTHON@/python3 (>= $python), python3 (<< $below)/" \
    "$tree/debian/control.in" >"$tree/debian/control"
rm "$tree/debian/control.in" "$tree/debian/README.md"
cat >"$tree/debian/changelog" <<CHANGELOG
edgestem ($version) $release; urgency=medium

  * What is new is in changelog.gz.

 -- the edgestem developers <developers@edgestem.invalid>  $(
    date -R -u -d "@$SOURCE_DATE_EPOCH")
CHANGELOG
find "$tree/root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
cd "$tree"
busy "dpkg-buildpackage" dpkg-buildpackage -b -d -us -uc -a$arch --no-check-builddeps
cp "$work"/edgestem_*.deb "$out"
say "$(ls -l "$out/edgestem_${version}_$arch.deb")"
