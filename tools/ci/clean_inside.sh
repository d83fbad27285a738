#!/bin/sh
# What runs inside the clean system; see clean.sh.
#
#   sh clean_inside.sh system WAY ARCH     Debian's packages that this way needs
#   sh clean_inside.sh WAY FILE ARCH       the way itself, and its record
set -eu
started=$(date +%s)
say() { echo "-- $(($(date +%s) - started)) s: $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
quiet() { "$@" >/job/log 2>&1 || { tail -n 30 /job/log; fail "$*"; }; }
apt() { quiet apt-get -q install -y --no-install-recommends "$@"; }
disk() { du -sxkc /usr /var/lib/dpkg /home | tail -n 1 | cut -f 1; }
. /job/services_inside.sh
if [ "$1" = system ]; then
    say "$(cat /etc/debian_version): Debian's packages for $2"
    # A mirror's sid may be weeks old; it is signed all the same.
    quiet apt-get -q -o Acquire::Check-Valid-Until=false update
    case $2-$3 in
    wheel-*) apt python3-venv ;;
    pipx-*) apt pipx ca-certificates python3-pip ;;
    sdist-armhf) apt python3-venv python3-dev gcc libc6-dev libffi-dev python3-numpy \
        python3-soundfile python3-flatbuffers ;;
    sdist-*) apt python3-venv python3-dev gcc libc6-dev ca-certificates ;;
    esac
    useradd -m pi
    exit
fi
way=$1
file=/job/$2
before=$(disk)
pip=/home/pi/edgestem/bin/pip
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/job/wheels
program=/home/pi/edgestem/bin/edgestem
say "by $way"
case $way in
wheel)
    ! command -v gcc >/dev/null || fail "there is a compiler"
    line=$(sed -n 's/^`\(python3 -m venv .*\.whl\)`.*/\1/p' /job/README.md)
    [ -n "$line" ] || fail "README has no line for a venv"
    echo "README: $line"
    quiet unshare -n runuser -u pi -- env HOME=/home/pi PATH="$PATH" \
        sh -euc "cd /job && $line"
    as_pi $pip check
    how="wheel, venv, no network"
    ;;
pipx)
    ! as_pi pip install "$file" >/job/log 2>&1 || fail "pip was not refused"
    grep -q externally-managed-environment /job/log || { cat /job/log; fail "otherwise"; }
    echo "pip alone: $(head -n 1 /job/log)"
    quiet as_pi pipx install "$file"
    program=/home/pi/.local/bin/edgestem
    how="wheel, pipx"
    ;;
sdist)
    if [ "$3" = armhf ]; then
        as_pi python3 -m venv --system-site-packages /home/pi/edgestem
        quiet as_pi $pip install "setuptools>=77" "packaging>=24.2" pycparser
        quiet as_pi $pip install --no-build-isolation "cffi>=1.16"
        quiet as_pi $pip install --no-build-isolation "$file"
    else
        as_pi python3 -m venv /home/pi/edgestem
        quiet as_pi $pip install "$file"
    fi
    how="sdist, compiled"
    ;;
esac
size=$((($(disk) - before) / 1000))
cd /tmp
as_pi "$program" info | sed '/^$/,$d'
song=/job/song.ogg
native=
case $(dpkg --print-architecture) in
amd64) ;;
*) song=/job/second.wav native=under=qemu-user ;; # slow
esac
as_pi python3 /job/cell.py "$program" "$how" $song /job/second.wav size_mb=$size $native
[ -n "$native" ] || [ $way = sdist ] || services "$program" "$way"
