"""A thousand short songs, twenty of them broken, beside somebody who listens.

    python -m tools.bench.karaoke.many FOLDER [--jack] [--model karaoke]

`nice edgestem watch --once` has to come to an end, name each broken song with the
reason, and grow by nothing.  With --jack a player sounds in a jackd of its own (a dummy
card at 48 kHz, blocks of 1024); its xruns are counted for a fifth of the time alone,
and then beside the work.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
SECONDS = 2
BLOCK = 1024
TINY = Path(__file__).parents[3] / "tests" / "data" / "tiny.tflite"
_KINDS = ("mp3", "flac", "ogg", "wav")


def broken() -> list[tuple[str, bytes]]:
    """What is found in libraries under the names of songs."""
    noise = np.random.default_rng(9).bytes(4000)
    return [
        ("empty.mp3", b""), ("text.mp3", b"This is no song.\n" * 50),
        ("page.mp3", b"<!DOCTYPE html><title>404</title>" * 20),
        ("zeros.mp3", bytes(4000)), ("noise.wav", noise), ("noise.flac", noise),
        ("noise.ogg", noise), ("head.flac", b"fLaC\0\0\0\x22" + bytes(10)),
        ("head.ogg", b"OggS\0\2" + bytes(60)), ("head.wav", b"RIFF\x24\0\0\0WAVEfmt "),
        ("riff.wav", b"RIFF" + bytes(40)), ("film.mp4", b"\0\0\0\x18ftypmp42" + noise),
        ("film.mkv", b"\x1aE\xdf\xa3" + noise), ("film.avi", b"RIFF" + noise),
        ("apple.m4a", b"\0\0\0\x20ftypM4A " + bytes(100)), ("one.opus", b"O"),
        ("picture.mp3", b"\x89PNG\r\n\x1a\n" + noise), ("tag.mp3", b"ID3\3" + bytes(6)),
        ("list.m4a", b"#EXTM3U\nfile:///etc/passwd\n"), ("zip.mp3", b"PK\3\4" + noise),
    ]  # fmt: skip


def make_library(folder: Path, n_songs: int) -> None:
    """Write songs, each with its own noise, and the broken ones among them."""
    folder.mkdir(parents=True)
    bad = broken()
    for number, (name, data) in enumerate(bad):
        (folder / f"Broken {number} - {name}").write_bytes(data)
    for number in range(n_songs - len(bad)):
        x = np.random.default_rng(number).normal(0, 0.1, (RATE * SECONDS, 2))
        kind = _KINDS[number % len(_KINDS)]
        place = folder / f"{number % 10}"
        place.mkdir(exist_ok=True)
        soundfile.write(place / f"Song {number:04}.{kind}", x, RATE)


class Player:
    """Music in a jackd of its own, and how often it was too late."""

    def __init__(self) -> None:
        import jack

        name = f"many-{os.getpid()}"
        line = ["jackd", "-R", "-P", "70", "-n", name, "-d", "dummy", "-r", "48000"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._server = subprocess.Popen([*line, "-p", str(BLOCK)], **quiet)
        subprocess.run(["jack_wait", "-w", "-t", "20", "-s", name], check=True, **quiet)
        self._client = jack.Client("player", servername=name, no_start_server=True)
        port = self._client.outports.register("out")
        tone = np.sin(np.arange(BLOCK) * 2 * np.pi * 8 / BLOCK).astype(np.float32)
        self.n_xruns = self.n_blocks = 0

        def feed(n: int) -> None:
            self.n_blocks += 1
            port.get_array()[:] = tone[:n]

        def count(_: float) -> None:
            self.n_xruns += 1

        self._client.set_process_callback(feed)
        self._client.set_xrun_callback(count)
        self._client.activate()

    def close(self) -> None:
        self._client.deactivate()
        self._client.close()
        self._server.terminate()
        self._server.wait()


def rss(pid: int) -> int:
    """Give the memory of a process, KiB; 0: it has gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [x for x in status.splitlines() if x.startswith("VmRSS")]
    return int(lines[0].split()[1]) if lines else 0


def watched(songs: Path, out: Path, model: str, beat: Callable[[], None]) -> list[dict]:
    """Run it; give its events and, as the last, what it took."""
    line = ["nice", sys.executable, "-m", "edgestem", "watch", songs, "-o", out]
    line += ["--layout", "flat", "--once", "--settle", "0", "--json", "-q"]
    log = out.with_suffix(".events")
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    memory = []
    with log.open("w") as file:
        words = [*map(str, line), "--model", model]
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            memory.append(rss(process.pid))
            beat()
            time.sleep(0.25)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    tenth = max(len(memory) // 10, 1)
    took = {"status": process.returncode, "s": round(time.monotonic() - started, 1)}
    took |= {"cpu_s": round(cpu, 1), "peak_MiB": max(memory) // 1024}
    took |= {"MiB in the second tenth": max(memory[tenth : 2 * tenth]) // 1024}
    took |= {"MiB in the last tenth": max(memory[-tenth:]) // 1024}
    return [*map(json.loads, log.read_text().splitlines()), took]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("folder", type=Path)
    add("--songs", type=int, default=1000)
    add("--model", default=str(TINY))
    add("--jack", action="store_true")
    args = parser.parse_args()
    songs, out = args.folder / "songs", args.folder / "out"
    if not songs.exists():
        make_library(songs, args.songs)
    shutil.rmtree(out, ignore_errors=True)
    player = Player() if args.jack else None
    if player is not None:
        time.sleep(args.songs * 0.05)
        print(f"alone: {player.n_xruns} xruns in {player.n_blocks} blocks", flush=True)
        player.n_xruns = player.n_blocks = 0
    *events, took = watched(songs, out, args.model, lambda: None)
    if player is not None:
        print(f"beside it: {player.n_xruns} xruns in {player.n_blocks} blocks")
        player.close()
    for event in events:
        if event["event"] in ("failed", "trouble"):
            print(f"{Path(event['input']).name}: {event['text']} [{event['code']}]")
    names = [event["event"] for event in events]
    n_files = len([p for p in out.iterdir() if p.name[0] != "."])
    print(f"{names.count('written')} written, {names.count('failed')} failed, "
          f"{n_files} files; {took}")  # fmt: skip
    again = watched(songs, out, args.model, lambda: None)
    print(f"again: {[e['event'] for e in again[:-1]]}; {again[-1]}")


if __name__ == "__main__":
    main()
