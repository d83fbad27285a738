"""A player's loop with asyncio: a song in live mode, its vocals faded out meanwhile.

    python asyncio_live.py SONG.wav MIX.wav

Sends blocks of 20 ms as a sound card would ask for them (as fast as the daemon
answers, here), reads the karaoke stem at the same time, and turns the vocals down to
-30 dB after three seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import wave

import edgestem

BLOCK_S = 0.02
AHEAD = 10  # blocks on their way at most: a live client sends at the pace of playing
FADE_AT_S = 3.0


async def receive(reader: asyncio.StreamReader) -> tuple[dict, bytes]:
    """Read one message."""
    line = await reader.readline()
    if not line:
        raise SystemExit("the daemon hung up")
    header = json.loads(line)
    payload = await reader.readexactly(header.get("payload_length", 0))
    if header["type"] == "error":
        raise SystemExit(f"{header['text']} [{header['code']}]")
    return header, payload


def send(writer: asyncio.StreamWriter, payload: bytes = b"", **fields: object) -> None:
    """Write one message."""
    header = fields | {"payload_length": len(payload)}
    writer.write(json.dumps(header).encode() + b"\n" + payload)


async def play(
    song: wave.Wave_read, writer: asyncio.StreamWriter, ahead: asyncio.Semaphore
) -> None:
    """Send the song block by block."""
    n_block = round(song.getframerate() * BLOCK_S)
    fade_at = round(FADE_AT_S / BLOCK_S)
    number = 0
    while block := song.readframes(n_block):
        await ahead.acquire()
        if number == fade_at:
            send(writer, type="set", vocals_db=-30, ramp_ms=500)
        send(writer, block, type="audio")
        await writer.drain()
        number += 1
    send(writer, type="flush")


def open_song(source: str) -> wave.Wave_read:
    """Open a WAV file that this example can play, or say why not."""
    try:
        song = wave.open(source)  # noqa: SIM115 the caller closes it
    except (OSError, EOFError, wave.Error) as error:
        raise SystemExit(f"{source}: {error}") from None
    if song.getsampwidth() != 2:
        raise SystemExit(f"{source}: this example plays 16-bit WAV files")
    return song


async def main(source: str, target: str) -> None:
    socket = edgestem.find_socket()
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError as error:
        raise SystemExit(
            f"no daemon at {socket} ({error.strerror}): start one with edgestem serve"
        ) from None
    await receive(reader)  # hello
    with open_song(source) as song, wave.open(target, "wb") as out:
        out.setparams(song.getparams())
        send(
            writer,
            type="open",
            mode="live",
            sample_rate=song.getframerate(),
            channels=song.getnchannels(),
            format="s16le",
            stems=["karaoke"],
        )
        opened, _ = await receive(reader)
        skip = opened["latency_samples"] * 2 * song.getnchannels()
        ahead = asyncio.Semaphore(AHEAD)
        player = asyncio.create_task(play(song, writer, ahead))
        header: dict = {}
        while header.get("type") != "flushed":
            header, payload = await receive(reader)
            if header["type"] == "stems":
                ahead.release()
            out.writeframes(payload[skip:])
            skip = max(0, skip - len(payload))
        await player
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.stderr.write("usage: python asyncio_live.py SONG.wav MIX.wav\n")
        sys.exit(2)
    asyncio.run(main(*sys.argv[1:]))
