#!/bin/sh
# The aarch64 wheel on an x86 machine: Debian's arm64 Python 3.11 under qemu-user.
#
#   sh tools/ci/wheel_arm.sh WHEEL FOLDER
#
# Lays Debian's packages and the wheels of what we need into FOLDER (kept, 300 MB;
# nothing is installed or mounted), runs `info`, separates one second of the example
# song and, with PYTHON=... that has edgestem and ai-edge-litert, compares the stems
# with this machine's, bit by bit.  Needs qemu-user(-static) and apt; no root.
# PYTHON=... has soundfile.
set -eu
usage="usage: wheel_arm.sh WHEEL FOLDER"
wheel=$(readlink -f "${1:?$usage}")
folder=$(mkdir -p "${2:?$usage}" && cd "$2" && pwd)
project=$(cd "$(dirname "$0")/../.." && pwd)
. "$project/tools/say.sh"
PYTHON=$(command -v "${PYTHON:-python3}")
case $PYTHON in /*) ;; *) PYTHON=$PWD/$PYTHON ;; esac
root=$folder/root
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || {
    echo "apt-get install qemu-user-static" >&2
    exit 1
}

# An apt of its own, for another machine and an empty system.
lay_python() {
    apt=$folder/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$root"
    : >"$apt/status"
    cat >"$apt/conf" <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
Dir::State "$apt"; Dir::State::lists "$apt/lists"; Dir::State::status "$apt/status";
Dir::Cache "$apt/cache"; Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "-"; Debug::NoLocking "true"; APT::Sandbox::User "root";
CONF
    mirror=${MIRROR:-http://deb.debian.org/debian}
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$key] $mirror bookworm main" >"$apt/sources.list"
    APT_CONFIG=$apt/conf apt-get -q update
    APT_CONFIG=$apt/conf apt-get -q -y --no-install-recommends --download-only \
        install python3.11 libstdc++6 # the runtime's
    for deb in "$apt"/cache/archives/*.deb; do dpkg -x "$deb" "$root"; done
    touch "$root/ready"
}

# The runtime chooses its code by the processor; qemu looks here before it looks at
# the machine's own /proc and /sys.
lay_processor() {
    mkdir -p "$root/proc" "$root/sys/devices/system/cpu"
    echo 0-1 | tee "$root/sys/devices/system/cpu/possible" \
        >"$root/sys/devices/system/cpu/present"
    features="fp asimd evtstrm crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc asimddp"
    for number in 0 1; do # of a Raspberry Pi 5
        printf 'processor\t: %s\nFeatures\t: %s\nCPU implementer\t: 0x41\n' \
            $number "$features"
        printf 'CPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\n\n'
    done >"$root/proc/cpuinfo"
}

run() {
    PYTHONPATH=$folder/site "$qemu" -cpu cortex-a76 -L "$root" \
        "$root/usr/bin/python3.11" "$@"
}

[ -e "$root/ready" ] || busy "arm64 Python 3.11, about 18 MB to fetch" lay_python
lay_processor
platforms="--platform manylinux2014_aarch64 --platform linux_aarch64"
for glibc in 2_34 2_31 2_28 2_27 2_17; do
    platforms="$platforms --platform manylinux_${glibc}_aarch64"
done
rm -rf "$folder/site"
# shellcheck disable=SC2086 # the list is a list
busy "arm64 wheels, about 35 MB to fetch" "$PYTHON" -m pip install -q --upgrade \
    --disable-pip-version-check --target "$folder/site" --only-binary=:all: \
    --implementation cp --python-version 3.11 --abi cp311 --abi abi3 --abi none \
    $platforms -c "$project/tools/constraints.txt" "$wheel"
cd "$folder" # not in the checkout: its kernel is this machine's
say "edgestem info"
run -m edgestem info | sed '/^$/,$d'
run -c 'import edgestem.native as n; n.require_built(); assert n.simd_name() == "neon"'
song=$folder/second.wav
# Here, as for all records: the other machine's Vorbis decoder rounds otherwise.
"$PYTHON" "$project/tools/ci/cell.py" cut "$project/examples/song.ogg" "$song"
say "one second of song"
rm -rf "$folder/arm" "$folder/here"
run -m edgestem separate "$song" -o "$folder/arm" --runtime ai-edge-litert
run -m edgestem verify "$folder/arm/second" "$song"
if "$PYTHON" -c "import edgestem, ai_edge_litert" 2>/dev/null; then
    "$PYTHON" -m edgestem separate "$song" -o "$folder/here" --runtime ai-edge-litert
    for stem in vocals instrumental; do
        cmp "$folder/arm/second/$stem.wav" "$folder/here/second/$stem.wav" &&
            echo "$stem: the same bits as on $(uname -m)"
    done
fi
cat >"$folder/edgestem" <<PROGRAM
#!/bin/sh
PYTHONPATH="$folder/site" exec "$qemu" -cpu cortex-a76 -L "$root" \\
    "$root/usr/bin/python3.11" -m edgestem "\$@"
PROGRAM
chmod 755 "$folder/edgestem"
say "its record for docs/matrix.md"
"$PYTHON" "$project/tools/ci/cell.py" "$folder/edgestem" "wheel, unpacked" "$song" "$song" \
    "system=Debian 12" under=qemu-user \
    "size_mb=$(($(du -sk "$folder/site" | cut -f 1) / 1000))"
say "done"
