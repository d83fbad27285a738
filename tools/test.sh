#!/bin/sh
# Everything that has to pass, in a venv of its own.
#
#   sh tools/test.sh             the whole: tests, linters, package; about 10 minutes
#   sh tools/test.sh fast        the quick tests alone, without system packages; 1 minute
#   sh tools/test.sh train       what a change of a model has to pass; needs torch
#   sh tools/test.sh TIER -k word ...   the rest is handed to pytest
#
# Every stage runs, whatever the one before said; the last lines say what failed.
set -eu
cd "$(dirname "$0")/.."
. tools/say.sh
VENV=${EDGESTEM_TEST_VENV:-.venv-test}
tier=whole
case ${1:-} in fast | train | whole)
    tier=$1
    shift
    ;;
esac
failed=
# Tests start a thousand programs: each would compile the package anew.
unset PYTHONDONTWRITEBYTECODE

# stage NAME COMMAND...: run it, remember whether it failed.
stage() {
    say "$1"
    name=$1
    shift
    "$@" || failed="$failed $name ($?);"
}

# watched COMMAND...: show its output as it comes, and a line when there is none.
watched() {
    log=$(mktemp)
    "$@" >"$log" 2>&1 &
    pid=$!
    trap 'kill "$pid"; exit 130' INT TERM
    shown=0
    heard=$(date +%s)
    alive=1
    while [ "$alive" = 1 ]; do
        sleep 1
        kill -0 "$pid" 2>/dev/null || alive=0
        size=$(wc -c <"$log")
        now=$(date +%s)
        if [ "$size" -gt "$shown" ]; then
            tail -c "+$((shown + 1))" "$log" | head -c "$((size - shown))"
            shown=$size
            heard=$now
        elif [ $((now - heard)) -ge 12 ]; then
            echo "   (tests that take their time, $((now - started)) s so far)"
            heard=$now
        fi
    done
    trap - INT TERM
    status=0
    wait "$pid" || status=$?
    rm -f "$log"
    return "$status"
}

# bounded COMMAND...: end it, and all that it started, after 45 minutes or when this
# shell is told to end.  Python, at SIGABRT, prints where each of its threads stands.
bounded() {
    timeout --signal=ABRT --kill-after=30 2700 "$@" &
    trap 'kill '$! TERM
    wait $!
}

# Tools that tests use for real; without them tests skip by name.
tools_for_tests() {
    for pair in ffmpeg:ffmpeg sox:sox clang:clang clang-format:clang-format \
        socat:socat systemd-analyze:systemd valgrind:valgrind \
        aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu qemu-aarch64:qemu-user \
        arm-linux-gnueabihf-gcc:gcc-arm-linux-gnueabihf jackd:jackd2 \
        arecord:alsa-utils pipewire:pipewire pw-jack:pipewire-jack \
        zbarimg:zbar-tools; do
        command -v "${pair%%:*}" >/dev/null || printf ' %s' "${pair##*:}"
    done
    ldconfig -p 2>/dev/null | grep -q libportaudio || printf ' libportaudio2'
}

quick() {
    bounded "$VENV/bin/python" -m pytest -q -m "not slow" "$@" tests --ignore tests/train
}

# tests_of WORDS...: pytest, a file at a time in a process for each core and one more,
# for tests wait a lot: for daemons, sound, time limits.  Some of them are of real time,
# and beside others a busy machine may be too slow for them: the few that failed are
# asked again, alone, and are named.
tests_of() {
    pytest="bounded $VENV/bin/python -m pytest -q"
    $pytest -n $(($(nproc) + 1)) --dist loadfile \
        --max-worker-restart 2 "$@" && return
    status=$?
    n=$($pytest --lf --lfnf none --collect-only "$@" 2>/dev/null | grep -c '::') || true
    [ "$status" = 1 ] && [ "$n" -ge 1 ] && [ "$n" -le 5 ] || return "$status"
    say "once more, alone: the $n tests that failed"
    $pytest --lf --lfnf none -rA "$@" || return
    say "these failed beside others and passed alone: the machine was busy"
}

lint() {
    "$VENV/bin/ruff" format --check . && "$VENV/bin/ruff" check . && "$VENV/bin/mypy"
}

c_format() {
    clang-format --dry-run -Werror native/*.[ch] native/*/*.[ch] tests/native/*.c
}

require_build_packages
if [ "$tier" = whole ]; then
    missing=$(tools_for_tests)
    if [ -n "$missing" ] && may_install; then
        # shellcheck disable=SC2086 # the list is a list
        busy "programs that tests use, about 500 MB to fetch, 2.5 GB on the disk:$missing" \
            apt $missing || say "could not install them: some tests will skip"
    elif [ -n "$missing" ]; then
        say "without$missing some tests skip; you may not install them"
    fi
fi
extras=test
[ "$tier" != train ] || extras=test,train
make_venv "$VENV"
busy "edgestem[$extras] into $VENV, about 180 MB to fetch, 600 MB on the disk" \
    "$VENV/bin/pip" install --disable-pip-version-check -c tools/constraints.txt \
    -e ".[$extras]"

case $tier in
fast) stage tests watched quick "$@" ;;
train) stage tests watched bounded "$VENV/bin/python" -m pytest -q tests/train tests/tools/test_pool.py "$@" ;;
whole)
    stage tests watched tests_of tests --ignore tests/train "$@"
    stage linters lint
    ! command -v clang-format >/dev/null || stage clang-format c_format
    stage package watched sh tools/ci/test_package.sh "$VENV"
    n_train=$(cat tests/train/test_*.py | grep -c '^def test_')
    say "not run here: $n_train tests of training, sh tools/test.sh train"
    ;;
esac
if [ -n "$failed" ]; then
    say "FAILED:$failed"
    exit 1
fi
say "all passed"
