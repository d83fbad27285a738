#!/bin/sh
# What runs inside the clean system; see deb_life.sh.
set -eu
started=$(date +%s)
say() { echo "-- $(($(date +%s) - started)) s: $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
quiet() { "$@" >/job/log 2>&1 || { tail -n 30 /job/log; fail "$*"; }; }
# Root, and the user of no name that DynamicUser= may bring.
as="setpriv --reuid 64143 --regid 64143 --clear-groups env -i PATH=$PATH"
[ -z "${QEMU_CPU:-}" ] || as="$as QEMU_CPU=$QEMU_CPU"
. /job/services_inside.sh

disk() { du -sxkc /usr /var/lib/dpkg | tail -n 1 | cut -f 1; }
upgrade() {
    quiet apt-get -q install -y --no-install-recommends -o Dpkg::Options::=--force-confdef \
        -o Dpkg::Options::=--force-confold "$1"
    dpkg-query -W -f '${Version} ${Status}\n' edgestem
    grep -q "^#mine" /etc/edgestem.toml || fail "the upgrade lost a changed conffile"
    grep -q "^EDGESTEM_LOG_LEVEL=debug" /etc/default/edgestem || fail "the same"
    edgestem --version
}
change() {
    echo "#mine" >>/etc/edgestem.toml
    echo "EDGESTEM_LOG_LEVEL=debug" >>/etc/default/edgestem
}

say "Debian $(cat /etc/debian_version), $(uname -m), and its Python"
quiet apt-get -q update
quiet apt-get -q install -y --no-install-recommends python3
before=$(disk)
if [ -e /job/previous.deb ]; then
    say "an earlier version, upgraded with changed conffiles"
    quiet apt-get -q install -y --no-install-recommends /job/previous.deb
    edgestem --version
    change
    upgrade /job/edgestem.deb
    dpkg -V edgestem >/job/verify || true
    ! grep -v " c " /job/verify || fail "files differ from the package's"
    quiet apt-get -q autoremove --purge -y edgestem
fi

say "install"
quiet apt-get -q install -y --no-install-recommends /job/edgestem.deb
size=$((($(disk) - before) / 1000))
dpkg-query -W -f '${Package} ${Version} ${Installed-Size} kB\n' edgestem python3-numpy \
    python3-cffi-backend python3-soundfile libsndfile1
! command -v gcc >/dev/null || fail "there is a compiler"
dpkg -V edgestem || fail "files differ from the package's"
id edgestem | grep -q audio || fail "the user edgestem is not in audio"
[ -L /etc/systemd/system/sockets.target.wants/edgestem.socket ] ||
    fail "the socket is not enabled"
[ ! -e /etc/systemd/system/multi-user.target.wants/edgestem.service ] ||
    fail "the daemon starts without being asked"
edgestem info | sed '/^$/,$d'
edgestem info | grep -q "^fft .*native" || fail "the kernel is not used"
say "first song"
song=/job/song.ogg
native=
case $(dpkg --print-architecture) in
amd64) ;;
*) song=/job/second.wav native=under=qemu-user ;; # slow
esac
cell=$($as python3 /job/cell.py /usr/bin/edgestem .deb $song /job/second.wav \
    size_mb=$size $native)
say "manual pages and completion"
for command in $(edgestem --help | sed -n 's/^    \([a-z]*\) .*/\1/p'); do
    zcat "/usr/share/man/man1/edgestem-$command.1.gz" | grep -q '^.SH SYNOPSIS' ||
        fail "edgestem $command has no manual page"
    grep -q "\b$command\b" /usr/share/bash-completion/completions/edgestem ||
        fail "edgestem $command is not completed"
done
zcat /usr/share/man/man1/edgestem.1.gz /usr/share/man/man1/edgestem-usdb.1.gz | wc -l
edgestem completion bash | bash -n
bash -c '. /usr/share/bash-completion/completions/edgestem && complete -p edgestem'
edgestem serve --check-config >/job/config || fail "the conffile is not accepted"
edgestem service show

say "the daemon for a user without a name and a home"
$as edgestem serve --socket /tmp/edgestem.sock >/job/daemon.log 2>&1 &
daemon=$!
for _ in $(seq 60); do
    [ ! -S /tmp/edgestem.sock ] || break
    sleep 0.5
done
$as edgestem client status --socket /tmp/edgestem.sock | head -n 4 ||
    { cat /job/daemon.log; fail "no daemon"; }
kill "$daemon"
wait "$daemon" || fail "the daemon's end: $?"

[ -n "$native" ] || { useradd -m pi; services /usr/bin/edgestem .deb; }

say "upgrade with changed conffiles"
change
upgrade /job/next.deb
[ -e /etc/default/edgestem.dpkg-dist ] || fail "the package's new conffile is not beside"

say "remove"
quiet apt-get -q remove -y edgestem
[ ! -e /usr/lib/edgestem ] || { find /usr/lib/edgestem | head; fail "remains"; }
[ ! -e /usr/bin/edgestem ] || fail "the program remains"
grep -q "^#mine" /etc/edgestem.toml || fail "remove took a conffile"
say "purge"
quiet apt-get -q purge -y edgestem
remains=$(find / -xdev \( -path /proc -o -path /job -o -path /tmp -o -path /var/cache/apt \
    -o -path /var/log \) -prune -o -name '*edgestem*' -print)
[ -z "$remains" ] || { echo "$remains"; fail "purge left these"; }
say "nothing of it is left but the user edgestem"
echo "$cell"
