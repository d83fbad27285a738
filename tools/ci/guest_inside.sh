# What runs inside the booted guest; see guest.sh.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive
failed=
say() { echo "-- $(cut -d' ' -f1 /proc/uptime) s: $*"; }
# check NAME COMMAND...: run it, say how it went.
check() {
    name=$1
    shift
    if "$@" >/tmp/said 2>&1; then
        echo "ok: $name: $(head -n 1 /tmp/said | cut -c 1-90)"
    else
        echo "FAILED: $name ($?)"
        head -n 12 /tmp/said
        failed="$failed $name;"
    fi
}
as() { user=$1; shift; runuser -u "$user" -- "$@"; }
property() { systemctl show -P "$1" edgestem.service; }
status() { as alice timeout 200 edgestem client status; }
refused() { ! as nobody edgestem client status 2>&1; }
is() { [ "$1" = "$2" ] && echo "$1" || { echo "$1, not $2"; false; }; }
# soon COMMAND...: within 200 s.
soon() {
    for _ in $(seq 400); do
        ! "$@" >/tmp/soon 2>&1 || { cat /tmp/soon; return 0; }
        sleep 0.5
    done
    cat /tmp/soon
    return 1
}
another() { pid=$(property MainPID); [ "$pid" != 0 ] && [ "$pid" != "$1" ]; }
logged() { journalctl -u edgestem.service --no-pager | grep -i -m 1 "$1"; }

say "$(uname -r), $(cat /etc/debian_version), $(systemctl is-system-running)"
useradd -m -G audio alice
useradd -m pi && chmod 700 /home/pi
check "dpkg -i" dpkg -i /job/edgestem.deb
check "the socket listens" is "$(systemctl is-active edgestem.socket)" active
check "nothing runs yet" is "$(property ActiveState)" inactive
check "its mode" is "$(stat -c '%a %G' /run/edgestem/socket)" "660 audio"
check "exposure" systemd-analyze security --no-pager --threshold=10 edgestem.service

python3 -c 'import soundfile
x, rate = soundfile.read("/job/song.ogg", frames=96000, dtype="int16")
soundfile.write("/job/two.wav", x, rate)' # software emulation is slow

say "socket activation"
check "a member of audio starts it" status
check "the daemon is ready" is "$(property ActiveState)/$(property SubState)" active/running
check "nobody is refused" refused
pid=$(property MainPID)
echo "pid $pid, uid $(stat -c %u /proc/$pid), $(tr '\0' '\n' </proc/$pid/environ |
    grep -E '^(HOME|USER|CACHE_DIRECTORY|WATCHDOG_USEC)=' | tr '\n' ' ')"
check "a song through it" as alice edgestem separate /job/two.wav -o /tmp/a --socket --model live
check "the same song without it" as alice edgestem separate /job/two.wav -o /tmp/b --model live
check "the same bits" cmp /tmp/a/two/vocals.wav /tmp/b/two/vocals.wav

check "adds up" edgestem verify /tmp/a/two /job/two.wav

say "reload"
sed -i 's/^#max_clients = .*/max_clients = 7/; s/^#cache_mb = .*/cache_mb = 64/' \
    /etc/edgestem.toml
check "reload" systemctl reload edgestem
check "the same process" is "$(property MainPID)" "$pid"
check "it says so" soon logged "configuration"

say "SIGKILL"
kill -9 "$pid"
check "systemd starts it again" soon another "$pid"
check "it answers" status
check "restarts" is "$(property NRestarts)" 1
check "the cache is its own" is "$(stat -c %a /var/cache/private/edgestem)" 700

say "watchdog"
mkdir -p /run/systemd/system/edgestem.service.d
printf '[Service]\nWatchdogSec=20\n' >/run/systemd/system/edgestem.service.d/dog.conf
systemctl daemon-reload
systemctl restart edgestem
check "it answers" status
pid=$(property MainPID)
sleep 25
check "it feeds the dog" is "$(property MainPID)" "$pid"
kill -STOP "$pid" # a daemon that hangs
check "the dog bites" soon another "$pid"
check "the journal says why" logged "watchdog timeout"
check "it answers again" status
rm -r /run/systemd/system/edgestem.service.d

say "a user that exists while the daemon runs only, without HOME"
systemctl stop edgestem
userdel edgestem
systemctl daemon-reload
check "it answers" status
pid=$(property MainPID)
uid=$(stat -c %u "/proc/$pid")
check "uid $uid is systemd's choice" [ "$uid" -ge 61184 ]
echo "HOME: $(tr '\0' '\n' <"/proc/$pid/environ" | grep ^HOME= || echo none)"

say "service remove and install, the package's units"
check "remove" edgestem service remove daemon
check "it is off" is "$(systemctl is-enabled edgestem.socket)" disabled
check "install" edgestem service install daemon
check "it answers" status

say "alice's own daemon"
loginctl enable-linger alice
run=/run/user/$(id -u alice)
check "her systemd" soon test -S "$run/bus"
mine() { as alice env XDG_RUNTIME_DIR="$run" DBUS_SESSION_BUS_ADDRESS="unix:path=$run/bus" "$@"; }
check "install --user" mine edgestem service install daemon --user
check "it answers" mine timeout 200 edgestem client status --socket "$run/edgestem.sock"
check "show" mine edgestem service show --user
check "remove --user" mine edgestem service remove daemon --user
check "nothing is left" [ ! -e /home/alice/.config/systemd/user/edgestem.service ]

say "a venv in a home with mode 700"
as pi python3 -m venv --without-pip --system-site-packages /home/pi/venv
cp -r /usr/lib/edgestem/. /home/pi/venv/lib/python3*/site-packages/
sed '1c#!/home/pi/venv/bin/python3' /usr/bin/edgestem | grep -v sys.path.insert \
    >/home/pi/venv/bin/edgestem
chmod 755 /home/pi/venv/bin/edgestem
chown -R pi: /home/pi/venv
check "purge of the package" dpkg --purge edgestem
check "its socket has gone" [ ! -e /run/edgestem/socket ]
check "install" /home/pi/venv/bin/edgestem service install daemon
cat /tmp/said
check "nothing runs yet" is "$(property ActiveState)" inactive
check "status" timeout 200 /home/pi/venv/bin/edgestem client status
echo "$(property ExecStart | cut -c 1-80)"
check "remove" /home/pi/venv/bin/edgestem service remove daemon
check "nothing is left" [ ! -e /etc/systemd/system/edgestem.service ]

[ -z "$failed" ] || { journalctl -u edgestem --no-pager | tail -n 30; echo "FAILED:$failed"; exit 1; }
say "the end"
echo "ALL PASSED"
