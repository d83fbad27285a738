#!/bin/sh
# The instrumental of a 16-bit stereo WAV file: instrumental.sh SONG.wav OUT.wav
set -eu
socket=${EDGESTEM_SOCKET:-${XDG_RUNTIME_DIR:-/run/edgestem}/edgestem.sock}
number() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; } # a field of a header line
size=$(($(wc -c <"$1") - 44))                       # a plain WAV header has 44 bytes
rate=$(od -An -tu4 -j24 -N4 "$1" | tr -d ' ')
{
    echo "{\"type\":\"open\",\"sample_rate\":$rate,\"format\":\"s16le\",\"stems\":[\"instrumental\"]}"
    for at in $(seq 0 262144 "$size"); do
        n=$((size - at < 262144 ? size - at : 262144))
        echo "{\"type\":\"audio\",\"payload_length\":$n}"
        tail -c +$((45 + at)) "$1" | head -c "$n"
    done
    echo '{"type":"flush"}'
} | socat -t 600 - "UNIX-CONNECT:$socket" | {
    read -r hello && read -r opened && late=$(echo "$opened" | number latency_samples)
    head -c 44 "$1"
    while read -r line && n=$(echo "$line" | number payload_length) && [ "$n" ]; do
        head -c "$n"
    done | tail -c +$((late * 4 + 1))
} >"$2"
