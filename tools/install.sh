#!/bin/sh
# Fresh machine: install edgestem into .venv and separate the example song.
set -eu
cd "$(dirname "$0")/.."
VENV=${EDGESTEM_VENV:-.venv}

# The kernel is compiled here; Debian and Raspberry Pi OS may lack what it takes.
missing=
command -v cc >/dev/null || missing="$missing gcc"
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
python3 -c 'import os, sysconfig
p = os.path.join(sysconfig.get_paths()["include"], "Python.h")
raise SystemExit(not os.path.exists(p))' || missing="$missing python3-dev"
if [ -n "$missing" ]; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "installing:$missing"
    $sudo apt-get update -q
    $sudo apt-get install -q -y $missing
fi

[ -x "$VENV/bin/python" ] || python3 -m venv "$VENV"
"$VENV/bin/pip" install -q --disable-pip-version-check .
"$VENV/bin/edgestem" separate examples/song.ogg -o separated --force
"$VENV/bin/edgestem" verify separated/song examples/song.ogg
echo "listen to separated/song/instrumental.wav"
