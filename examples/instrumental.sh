#!/bin/sh
# The instrumental of a 16-bit stereo WAV file: instrumental.sh SONG.wav OUT.wav
set -eu
fail() { echo "instrumental.sh: $*" >&2; exit 1; }
[ $# = 2 ] || { echo "usage: instrumental.sh SONG.wav OUT.wav" >&2; exit 2; }
command -v socat >/dev/null || fail "socat is missing: apt-get install socat"
own=${XDG_RUNTIME_DIR:-}/edgestem.sock
[ -n "${XDG_RUNTIME_DIR:-}" ] && [ -e "$own" ] || own=/run/edgestem/socket
socket=${EDGESTEM_SOCKET:-$own}
[ -S "$socket" ] || fail "no daemon at $socket: start one with edgestem serve"

number() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }           # a field of a header line
at() { od -An "-tu$2" "-j$1" "-N$2" "$song" | tr -d ' '; }      # a number in the song
word() { tail -c +$(($1 + 1)) "$song" | head -c 4 | tr -d '\0'; } # a chunk's name
bytes() { # numbers of $1 bytes, little endian
    n=$1 && shift
    for number; do
        for byte in $(seq "$n"); do
            printf "\\$(printf %03o $((number & 255)))"
            number=$((number >> 8))
        done
    done
}

# The chunks before the audio: any number, of any length.
song=$1 end=$(wc -c <"$1") start=12 rate=
[ "$(word 0)$(word 8)" = RIFFWAVE ] || fail "$song is not a WAV file"
while [ $((start + 8)) -le "$end" ] && [ "$(word $start)" != data ]; do
    size=$(at $((start + 4)) 4)
    if [ "$(word $start)" = "fmt " ]; then
        kind="$(at $((start + 8)) 2) $(at $((start + 10)) 2) $(at $((start + 22)) 2)"
        [ "$kind" = "1 2 16" ] || fail "$song is not 16-bit stereo PCM"
        rate=$(at $((start + 12)) 4)
    fi
    start=$((start + 8 + size + size % 2))
done
[ $((start + 8)) -le "$end" ] && [ "$rate" ] || fail "$song has no audio"
size=$(at $((start + 4)) 4) start=$((start + 8))
[ "$size" -le $((end - start)) ] || fail "$song ends before its audio does"

part=$2.part
trap 'rm -f "$part"' EXIT
{
    echo "{\"type\":\"open\",\"sample_rate\":$rate,\"format\":\"s16le\",\"stems\":[\"instrumental\"]}"
    for done in $(seq 0 262144 $((size - 1))); do
        n=$((size - done < 262144 ? size - done : 262144))
        echo "{\"type\":\"audio\",\"payload_length\":$n}"
        tail -c +$((start + done + 1)) "$song" | head -c "$n"
    done
    echo '{"type":"flush"}'
} | socat -t 600 - "UNIX-CONNECT:$socket" | {
    read -r hello && read -r opened || fail "the daemon at $socket hung up"
    late=$(echo "$opened" | number latency_samples)
    [ "$late" ] || fail "the daemon said $opened"
    printf RIFF && bytes 4 $((size + 36)) && printf 'WAVEfmt ' && bytes 4 16 && bytes 2 1 2
    bytes 4 "$rate" $((rate * 4)) && bytes 2 4 16 && printf data && bytes 4 "$size"
    while read -r line && n=$(echo "$line" | number payload_length) && [ "$n" ]; do
        case $line in *'"type":"error"'*) echo "$line" >&2 && break ;; esac
        head -c "$n"
    done | tail -c +$((late * 4 + 1))
} >"$part"
# A pipe's status is that of its last part: the length tells whether all came.
[ "$(wc -c <"$part")" = $((size + 44)) ] || fail "the daemon ended early"
mv "$part" "$2"
