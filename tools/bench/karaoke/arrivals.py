"""A hundred files come into a watched folder in all the ways that files come.

    python -m tools.bench.karaoke.arrivals FOLDER [--through DIR]

By cp, mv, rsync, in pieces, and by one writer that takes 30 s.  Each has to be
separated once, whole, and after it was complete; a new start has nothing to do, and a
folder that has gone costs nothing.  Files are written to FOLDER/songs; DIR is where
`watch` sees that folder, through FUSE for example (bindfs), which tells nothing of
changes, as SMB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
TINY = Path(__file__).parents[3] / "tests" / "data" / "tiny.tflite"
N_EACH, N_PIECES, SLOW_S = 25, 24, 30


class Senders:
    """Brings files, and remembers when each was complete."""

    def __init__(self, made: Path, songs: Path) -> None:
        self._made, self._songs = made, songs
        self.complete: dict[str, float] = {}

    def run(self) -> None:
        ways = (self._copy, self._move, self._rsync, self._pieces, self._slowly)
        threads = [threading.Thread(target=way) for way in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _song(self, name: str, seconds: float = 1.0) -> Path:
        path = self._made / f"{name}.wav"
        x = np.random.default_rng(len(name)).normal(0, 0.1, (int(RATE * seconds), 2))
        soundfile.write(path, x, RATE)
        return path

    def _done(self, path: Path) -> None:
        self.complete[path.name] = time.monotonic()

    def _copy(self) -> None:
        for n in range(N_EACH):
            song = self._song(f"cp {n}")
            subprocess.run(["cp", song, self._songs], check=True)
            self._done(song)

    def _move(self) -> None:
        for n in range(N_EACH):
            song = self._song(f"mv {n}")
            subprocess.run(["mv", song, self._songs], check=True)
            self._done(song)

    def _rsync(self) -> None:
        for n in range(N_EACH):
            song = self._song(f"rsync {n}")
            line = ["rsync", "-t", "--bwlimit=200", song, f"{self._songs}/"]
            subprocess.run(line, check=True)
            self._done(song)

    def _pieces(self) -> None:
        for n in range(N_PIECES):
            self._write(self._song(f"pieces {n}"), 4, 0.5)

    def _slowly(self) -> None:
        self._write(self._song("slow", 5.0), 12, SLOW_S / 12)

    def _write(self, song: Path, n_parts: int, pause_s: float) -> None:
        data = song.read_bytes()
        with (self._songs / song.name).open("wb", buffering=0) as file:
            for part in np.array_split(np.frombuffer(data, np.uint8), n_parts):
                time.sleep(pause_s)
                file.write(part.tobytes())
        self._done(song)


def watch(seen: Path, out: Path, *words: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "edgestem", "watch", str(seen), "-o", str(out)]
    line += ["--layout", "flat", "--format", "flac", "--json", "-q", *words]
    return subprocess.Popen(
        [*line, "--model", str(TINY)], stdout=subprocess.PIPE, text=True
    )


def once(seen: Path, out: Path) -> tuple[int, list[str]]:
    process = watch(seen, out, "--once")
    said, _ = process.communicate()
    events = [json.loads(line)["event"] for line in said.splitlines()]
    return process.returncode, [e for e in events if e != "scan"]


def follow(process: subprocess.Popen[str], senders: Senders, n: int) -> list[str]:
    """Read events until so many are written; give the faults."""
    faults, written = [], []
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        name = Path(event.get("input", "")).name
        if event["event"] == "begin" and name not in senders.complete:
            faults.append(f"{name} began before it was complete")
        if event["event"] in ("failed", "trouble"):
            faults.append(event["text"])
        if event["event"] == "written":
            written.append(name)
            faults += [f"{name} twice"] * (written.count(name) > 1)
            if len(written) == n:
                break
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--through", type=Path, metavar="DIR")
    args = parser.parse_args()
    made, songs, out = (args.folder / name for name in ("made", "songs", "out"))
    for folder in (made, songs):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    seen = args.through or songs
    senders, n = Senders(made, songs), 3 * N_EACH + N_PIECES + 1
    process, started = watch(seen, out), time.monotonic()
    sending = threading.Thread(target=senders.run)
    sending.start()
    faults = follow(process, senders, n)
    sending.join()
    took = time.monotonic() - started
    process.terminate()
    process.wait()
    for song in songs.iterdir():
        stem = out / f"{song.stem} (vocals).flac"
        if soundfile.info(stem).frames != soundfile.info(song).frames:
            faults.append(f"{song.name} was not whole")
    again = once(seen, out)
    files = {p.name: p.stat().st_mtime_ns for p in out.glob("*.flac")}
    away = songs.rename(args.folder / "away")
    songs.mkdir()
    empty = once(seen, out)
    kept = files == {p.name: p.stat().st_mtime_ns for p in out.glob("*.flac")}
    songs.rmdir()
    away.rename(songs)
    print(f"{n} files in {took:.0f} s, the last complete "
          f"{max(senders.complete.values()) - started:.0f} s after the start; "
          f"{len(faults)} faults {faults[:5]}; again: {again}; the folder empty: "
          f"{empty}, {len(files)} stems {'kept' if kept else 'CHANGED'}")  # fmt: skip


if __name__ == "__main__":
    main()
