#!/bin/sh
# sdist -> wheel from the sdist -> fresh venv -> separate the example song.
set -eu
builder=${1:?venv that has the build package}/bin/python
case $builder in /*) ;; *) builder=$PWD/$builder ;; esac
song=$PWD/examples/song.ogg
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$builder" -m build -q --sdist --outdir "$work" .
"$builder" -m pip wheel -q --no-deps -w "$work" "$work"/edgestem-*.tar.gz
ls "$work" | grep abi3 || { echo "the wheel is not abi3"; exit 1; }
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check "$work"/edgestem-*.whl
cd "$work"
venv/bin/pip check
venv/bin/edgestem info
venv/bin/edgestem separate "$song" -o out
venv/bin/edgestem verify out/song "$song"
