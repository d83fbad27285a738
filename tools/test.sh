#!/bin/sh
# Fresh machine: everything that has to pass, in a venv of its own.
set -eu
cd "$(dirname "$0")/.."
VENV=${EDGESTEM_TEST_VENV:-.venv-test}
started=$(date +%s)

stage() {
    echo "== $(($(date +%s) - started)) s: $*"
}

# Tools that tests use for real; without root and sudo the tests skip by name.
missing=
for pair in cc:gcc ffmpeg:ffmpeg sox:sox clang:clang clang-format:clang-format \
    socat:socat systemd-analyze:systemd valgrind:valgrind \
    aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu qemu-aarch64:qemu-user \
    arm-linux-gnueabihf-gcc:gcc-arm-linux-gnueabihf jackd:jackd2 \
    arecord:alsa-utils pipewire:pipewire pw-jack:pipewire-jack; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
python3 -c 'import os, sysconfig
p = os.path.join(sysconfig.get_paths()["include"], "Python.h")
raise SystemExit(not os.path.exists(p))' || missing="$missing python3-dev"
ldconfig -p 2>/dev/null | grep -q libportaudio || missing="$missing libportaudio2"
if [ -n "$missing" ]; then
    stage "system packages:$missing"
    sudo=
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    sudo="$sudo env DEBIAN_FRONTEND=noninteractive" # jackd2 would ask
    { $sudo apt-get update -q && $sudo apt-get install -q -y $missing; } >/dev/null ||
        echo "could not install them: some tests will skip"
fi

stage "venv and editable install"
[ -x "$VENV/bin/python" ] || python3 -m venv "$VENV"
"$VENV/bin/pip" install -q --disable-pip-version-check -e ".[test]"

stage "ruff, mypy, clang-format"
"$VENV/bin/ruff" format --check .
"$VENV/bin/ruff" check .
"$VENV/bin/mypy"
if command -v clang-format >/dev/null; then
    clang-format --dry-run -Werror native/*.[ch] tests/native/*.c
fi

stage "tests"
"$VENV/bin/python" -m pytest -q "$@"

stage "sdist, wheel from it, fresh venv"
sh tools/test_package.sh "$VENV"
stage "done"
