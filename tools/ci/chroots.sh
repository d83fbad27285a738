# What scripts with a clean Debian in a folder share.  It is made once, and copied for
# each try; of this machine or, through qemu-user, of another.
# Meant to be sourced after tools/say.sh, as root, in a mount namespace of its own.

# clean_base RELEASE ARCH FOLDER: a minbase, made if it is not there whole.
clean_base() {
    [ ! -e "$3.ready" ] || return 0
    command -v debootstrap >/dev/null || { echo "apt-get install debootstrap" >&2; exit 1; }
    rm -rf "$3"
    busy "debootstrap $1, $2" debootstrap --arch="$2" --variant=minbase "$1" "$3"
    ! mountpoint -q "$3/proc" || umount "$3/proc"
    touch "$3.ready"
}

# foreign_programs ARCH: let the kernel start them; it forgets that when we end.
foreign_programs() {
    case $1 in
    arm64) emulator=qemu-aarch64 QEMU_CPU=cortex-a76 ;; # Pi 5
    armhf) emulator=qemu-arm QEMU_CPU=cortex-a7 ;;      # Pi 2
    *) return 0 ;;
    esac
    export QEMU_CPU
    [ -e /usr/bin/$emulator-static ] || { echo "apt-get install qemu-user-static" >&2; exit 1; }
    binfmt=/proc/sys/fs/binfmt_misc
    [ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
    [ ! -e $binfmt/$emulator ] || return 0
    cat /usr/lib/binfmt.d/$emulator.conf >$binfmt/register
    registered=$binfmt/$emulator # the kernel keeps it for everyone
}

# lay_processor ROOT ARCH: what /proc and /sys say of the one that is emulated.  The
# runtime chooses its code by that, and gives up on the x86 machine's.
lay_processor() {
    case $2 in
    arm64)
        number=8 part=0xd0b
        features="fp asimd evtstrm crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc asimddp"
        ;;
    armhf)
        number=7 part=0xc07
        features="half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae"
        ;;
    *) return 0 ;;
    esac
    mkdir -p "$1/sys/devices/system/cpu"
    echo 0-3 | tee "$1/sys/devices/system/cpu/possible" >"$1/sys/devices/system/cpu/present"
    for core in 0 1 2 3; do
        printf 'processor\t: %s\nFeatures\t: %s\nCPU implementer\t: 0x41\n' \
            $core "$features"
        printf 'CPU architecture: %s\nCPU variant\t: 0x4\nCPU part\t: %s\n\n' $number $part
    done >"$1/cpuinfo"
}

# clean_copy BASE ROOT ARCH: a copy for one try, with the network's names and /proc.
clean_copy() {
    say "a copy of $1"
    mkdir -p "$(dirname "$2")"
    cp -a "$1" "$2"
    cp /etc/resolv.conf "$2/etc/resolv.conf"
    lay_processor "$2" "$3"
    mount -t proc proc "$2/proc"
    [ ! -e "$2/cpuinfo" ] || mount --bind "$2/cpuinfo" "$2/proc/cpuinfo"
}

# inside ROOT COMMAND...: run it there, with nothing of our environment.
inside() {
    inside_root=$1
    shift
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive ${QEMU_CPU:+QEMU_CPU=$QEMU_CPU} \
        chroot "$inside_root" "$@"
}

# leave ROOT: for trap; what was mounted goes before what was copied.
leave() {
    [ -z "${registered:-}" ] || echo -1 >"$registered" || true
    umount -R "$1/proc" 2>/dev/null || true
    [ -n "${KEEP:-}" ] || mountpoint -q "$1/proc" || rm -rf --one-file-system "$1"
}
