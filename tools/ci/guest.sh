#!/bin/sh
# The Debian package in a booted Debian with a kernel of its own.
#
#   sudo sh tools/ci/guest.sh DEB FOLDER [daemon|play [pedals|cards|own|service]...]
#
# Builds an image of Debian 12 or 13 (as the package says) in FOLDER once, about 250 MB
# to fetch and 3 GB on the disk, boots it without a network under
# qemu-system-x86_64, in software (10 to 40 minutes) or with EDGESTEM_KVM=1 by KVM, and
# runs there: for the daemon (the default) tools/ci/guest_inside.sh, for the player
# tools/ci/guest_play, which has pedals, sound cards and a USB stick come and go, and
# boots twice.  FOLDER/guest.log is what its console said; the exit status is 0 when its
# last line is ALL PASSED.
# Needs debootstrap, qemu-system-x86 and e2fsprogs.
set -eu
usage="usage: guest.sh DEB FOLDER [daemon|play [pedals|cards|own|service]...]"
deb=$(readlink -f "${1:?$usage}")
folder=$(mkdir -p "${2:?$usage}" && cd "$2" && pwd)
project=$(cd "$(dirname "$0")/../.." && pwd)
. "$project/tools/say.sh"
case $deb in
*deb12*) release=bookworm ;;
*deb13*) release=trixie ;;
*) echo "which release is $deb for?" >&2; exit 2 ;;
esac
# The guest's clock counts instructions, a thousand million a second: nothing in it is
# late because this machine is slow or busy.  Without AVX2: qemu 7.2 computes a wrong
# address in its gathers, and numpy dies (seen).
speed="-accel tcg -icount shift=0 -cpu Nehalem -smp 1"
limit=3600
# A nested KVM may hang or lose registers (seen): it is asked for by name.
if [ -n "${EDGESTEM_KVM:-}" ]; then
    speed="-accel kvm -cpu host -smp 2"
    limit=500
fi
case ${3:-daemon} in
daemon)
    inside=guest_inside.sh
    start="/bin/sh /job/tools/ci/guest_inside.sh" # installing is one of its checks
    before=true
    more="-no-reboot"
    ;;
play)
    inside=guest_play
    start="/usr/bin/env PYTHONPATH=/job:/usr/lib/edgestem /usr/bin/python3 -u \
        -m tools.ci.guest_play $(shift 3; echo "$*")"
    before="test -e /usr/bin/edgestem || dpkg -i /job/edgestem.deb"
    limit=$((limit * 2)) # two boots, and music in real time
    # The guest's second serial line is qemu's monitor: so it pulls its own plugs.  A
    # -drive would go with the first stick that is pulled; a -blockdev stays.
    monitor=$folder/monitor
    rm -f "$monitor" "$folder/stick.img"
    more="-chardev socket,id=monitor,path=$monitor,server=on,wait=off -mon chardev=monitor
        -chardev socket,id=line,path=$monitor -serial mon:stdio -serial chardev:line
        -device qemu-xhci,id=usb -audiodev none,id=quiet
        -blockdev driver=raw,node-name=stick,file.driver=file,file.filename=$folder/stick.img"
    ;;
*) echo "$usage" >&2; exit 2 ;;
esac
for pair in debootstrap:debootstrap qemu-system-x86_64:qemu-system-x86 mke2fs:e2fsprogs; do
    command -v "${pair%:*}" >/dev/null || { echo "apt-get install ${pair#*:}" >&2; exit 1; }
done
root=$folder/$release
packages=systemd,systemd-sysv,udev,kmod,dbus,dbus-user-session,libpam-systemd
packages=$packages,linux-image-amd64,initramfs-tools,procps
if [ ! -e "$root/edgestem-ready-2" ]; then
    rm -rf "$root"
    busy "debootstrap $release with a kernel" \
        debootstrap --variant=minbase --include=$packages $release "$root"
    # In debootstrap's order their scripts find no Python.
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    busy "Python's packages" chroot "$root" sh -c "apt-get -q update &&
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
            python3 python3-numpy python3-cffi python3-soundfile libportaudio2 alsa-utils"
    ! mountpoint -q "$root/proc" || umount "$root/proc" # or mke2fs stops there
    touch "$root/edgestem-ready-2"
fi

say "image"
rm -rf "$root/job"
mkdir -p "$root/job/tools/ci"
cp "$deb" "$root/job/edgestem.deb"
cp "$project/examples/song.ogg" "$root/job"
cp -r "$project/tools/ci/$inside" "$root/job/tools/ci"
cat >"$root/etc/systemd/system/tests.service" <<UNIT
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStartPre=/bin/sh -c '$before'
ExecStart=$start
ExecStopPost=/bin/sh -c 'systemctl \$(cat /job/then || echo poweroff) --no-block'
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=graphical.target
UNIT
wanted=$root/etc/systemd/system
mkdir -p "$wanted/graphical.target.wants"
ln -sfn ../tests.service "$wanted/graphical.target.wants/tests.service"
# A getty would hang up the console.
ln -sfn /dev/null "$wanted/serial-getty@ttyS0.service"
rm -f "$folder/disk.img"
truncate -s 3G "$folder/disk.img"
mke2fs -q -F -t ext4 -d "$root" "$folder/disk.img"
truncate -s 64M "$folder/stick.img"
mke2fs -q -F -t ext4 -L SONGS "$folder/stick.img"
cp "$root"/boot/vmlinuz-* "$folder/vmlinuz"
cp "$root"/boot/initrd.img-* "$folder/initrd"

say "boot ($speed)"
# shellcheck disable=SC2086 # the lists are lists
timeout $limit qemu-system-x86_64 $speed -m 2048 -nographic -nic none $more \
    -kernel "$folder/vmlinuz" -initrd "$folder/initrd" \
    -append "root=/dev/vda rw console=ttyS0 rootdelay=${ROOTDELAY:-5}" \
    -drive "file=$folder/disk.img,if=virtio,format=raw,cache=unsafe" \
    >"$folder/guest.log" 2>&1 </dev/null || say "qemu ended with $?"
rm -f "$folder/disk.img" "$folder/stick.img"
tr -d '\r' <"$folder/guest.log" | grep -a -v "^\[" || true
tr -d '\r' <"$folder/guest.log" | grep -a -q "^ALL PASSED$" ||
    { say "FAILED: see $folder/guest.log"; exit 1; }
say "done"
