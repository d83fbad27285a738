# What install.sh and test.sh share: told what happens, never silent for long.
# Meant to be sourced: it needs nothing beyond a POSIX shell.

started=$(date +%s)

# say TEXT: one line with the seconds since the start.
say() {
    echo "== $(($(date +%s) - started)) s: $*"
}

# busy TEXT COMMAND...: run a command quietly, with a sign of life every 10 seconds;
# what it printed is shown when it fails.
busy() {
    say "$1"
    shift
    busy_log=$(mktemp)
    "$@" >"$busy_log" 2>&1 &
    busy_pid=$!
    busy_s=0
    while kill -0 "$busy_pid" 2>/dev/null; do
        sleep 1
        busy_s=$((busy_s + 1))
        [ $((busy_s % 10)) != 0 ] || echo "   $busy_s s: $(tail -n 1 "$busy_log" | cut -c 1-70)"
    done
    busy_status=0
    wait "$busy_pid" || busy_status=$?
    [ "$busy_status" = 0 ] || cat "$busy_log"
    rm -f "$busy_log"
    return "$busy_status"
}

# Debian packages that the compiled kernel and a venv need and this machine lacks.
missing_for_build() {
    command -v cc >/dev/null || printf ' gcc'
    python3 -c 'import ensurepip, venv' 2>/dev/null || printf ' python3-venv'
    python3 -c 'import os, sysconfig
p = os.path.join(sysconfig.get_paths()["include"], "Python.h")
raise SystemExit(not os.path.exists(p))' 2>/dev/null || printf ' python3-dev'
}

# May this user install $missing?  Sets `sudo`.  A password is asked for on a terminal
# only; what sudo says of those who may not use it is said better by the caller.
may_install() {
    sudo=
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" != 0 ] || return 0
    command -v sudo >/dev/null || return 1
    sudo=sudo
    sudo -n true 2>/dev/null && return 0
    [ -t 0 ] && sudo -v -p "password of %u, for apt-get install$missing: " 2>/dev/null
}

# apt PACKAGES: install them; jackd2 would ask a question.
apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y "$@"
}

# require_build_packages: install what is missing, or say who can.
require_build_packages() {
    missing=$(missing_for_build)
    [ -n "$missing" ] || return 0
    if ! may_install; then
        echo "edgestem is compiled on this machine and lacks:$missing" >&2
        echo "ask your administrator for: apt-get install$missing" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # the list is a list
    busy "system packages, about 80 MB to fetch, 300 MB on the disk:$missing" \
        apt $missing
}

# make_venv FOLDER: a new venv, or the one that is there and works.
make_venv() {
    if ! "$1/bin/python" -m pip --version >/dev/null 2>&1; then
        rm -rf "$1"
        python3 -m venv "$1" || {
            rm -rf "$1" # half of one would be taken for a whole one next time
            echo "python3 -m venv does not work: apt-get install python3-venv" >&2
            exit 1
        }
    fi
}
