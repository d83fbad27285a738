#!/bin/sh
# Fresh machine: install edgestem into .venv and separate the example song.
set -eu
cd "$(dirname "$0")/.."
. tools/say.sh
VENV=${EDGESTEM_VENV:-.venv}

require_build_packages
make_venv "$VENV"
# In the checkout itself, so that Python here and `edgestem` use one compiled kernel.
busy "edgestem and what it needs into $VENV, about 60 MB to fetch, 200 MB on the disk" \
    "$VENV/bin/pip" install --disable-pip-version-check -e .
say "a song"
"$VENV/bin/edgestem" separate examples/song.ogg -o separated --force
"$VENV/bin/edgestem" verify separated/song examples/song.ogg
say "done: listen to separated/song/instrumental.wav"
echo "In each new shell, once:  . $VENV/bin/activate"
echo "Then, for example:        edgestem separate examples/song.ogg -o out"
