"""Vocals of songs that were separated before.

What is kept is the vocals on the song's grid, as WAV: with the song at hand they
give both stems in any container, through the same writers and the same mixture law.
The key is made of the samples that the network heard, not of a file that a client
may change meanwhile, and of everything that turns them into vocals.  An entry is
called `<key>-<sha256 of the file>.wav`: it appears complete or not at all, and is
checked before it is used.  The least recently used go first.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edgestem.sound.encoding import open_encoder
from edgestem.sound.grid import GridSamples, to_float32
from edgestem.sound.song import Song
from edgestem.sound.wav import WavFormat, parse, unpack
from edgestem.stems import Stems

READ = 1 << 20  # bytes hashed at a time; a cancelled job stops within one


def digest(fd: int, check: Callable[[], None]) -> str:
    """Hash a whole file without moving its offset; `check` may raise to give up."""
    found, at = hashlib.sha256(), 0
    while data := os.pread(fd, READ, at):
        check()
        found.update(data)
        at += len(data)
    return found.hexdigest()


class Cache:
    """Entries in one folder, `limit` bytes at most; one daemon owns it."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in folder.glob("*.part"):
            _remove_dead(part)
        self._make_room(0)

    def find(self, key: str, check: Callable[[], None]) -> BinaryIO | None:
        """Open an entry that is whole; a damaged one is removed."""
        for path in self._folder.glob(f"{key}-*.wav"):
            with contextlib.ExitStack() as held:
                try:
                    file = held.enter_context(path.open("rb"))
                except OSError:
                    continue
                if path.stem.partition("-")[2] == digest(file.fileno(), check):
                    with contextlib.suppress(OSError):
                        os.utime(path)
                    held.pop_all()
                    return file
                path.unlink(missing_ok=True)
        return None

    def is_too_large(self, n_bytes: int) -> bool:
        """Say whether an entry of so many bytes would never be kept."""
        return n_bytes > self._limit

    def entry(self, wav: WavFormat) -> Entry | None:
        """Begin an entry if the disk allows; `wav.n_samples` is the expected length."""
        try:
            return Entry(self._folder, wav, self._limit, self._admit)
        except OSError:
            return None

    def size(self) -> int:
        """Bytes of all entries."""
        return sum(size for _, size, _ in self._entries())

    def _admit(self, part: Path, n_bytes: int, target: Path) -> None:
        """Give a finished entry its name, if it fits at all."""
        with self._lock:
            if n_bytes <= self._limit:
                self._make_room(n_bytes)
                part.replace(target)

    def _make_room(self, n_bytes: int) -> None:
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total + n_bytes <= self._limit:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _entries(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self._folder.glob("*-*.wav"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return found


class Entry:
    """An entry being written; a full disk only means that there will be none.

    It gives up beyond `limit` bytes: what would not be kept is not written.
    """

    def __init__(
        self,
        folder: Path,
        wav: WavFormat,
        limit: int,
        admit: Callable[[Path, int, Path], None],
    ) -> None:
        self._folder, self._admit = folder, admit
        self._wav, self._left = wav, limit
        fd, name = tempfile.mkstemp(suffix=".part", dir=folder)
        self._part: Path | None = Path(name)
        self._file: BinaryIO = os.fdopen(fd, "w+b")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._encoder = open_encoder(self._file, "wav", wav, self._part)
        except OSError:
            self.discard()
            raise

    def write(self, vocals: GridSamples) -> None:
        """Append vocals on the grid."""
        if self._part is None:
            return
        self._left -= len(vocals) * self._wav.bytes_per_sample
        if self._left < 0:
            self.discard()
            return
        try:
            self._encoder.write(vocals)
        except OSError:
            self.discard()

    def commit(self, key: str) -> None:
        """Complete the entry under its key."""
        if self._part is None:
            return
        with contextlib.suppress(OSError):
            self._encoder.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
            content = digest(self._file.fileno(), lambda: None)
            n_bytes = os.fstat(self._file.fileno()).st_size
            target = self._folder / f"{key}-{content}.wav"
            self._admit(self._part, n_bytes, target)
        self.discard()

    def discard(self) -> None:
        """Let go of what was not committed."""
        if self._part is not None:
            self._part.unlink(missing_ok=True)
            self._part = None
        with contextlib.suppress(OSError):
            self._file.close()


class Replay:
    """Stands for the engine: gives back the vocals of an entry, without latency."""

    def __init__(self, file: BinaryIO, song: Song) -> None:
        wav = parse(file.read)
        assert wav is not None, "the digest was right"
        self._file, self._wav = file, wav
        self.latency_samples = 0

    def push(self, block: GridSamples, out: Stems | None = None) -> Stems:
        """Give the vocals of the block's place."""
        data = self._file.read(len(block) * self._wav.bytes_per_sample)
        vocals = to_float32(unpack(data, self._wav), self._wav.grid)
        return Stems(vocals, vocals)  # the caller subtracts on the grid

    def flush(self) -> Stems:
        """Give nothing: there is no latency."""
        return self.push(to_float32(unpack(b"", self._wav), self._wav.grid))

    def close(self) -> None:
        """Let go of the entry."""
        self._file.close()


def _remove_dead(part: Path) -> None:
    """Remove what a killed daemon left behind; what is locked is being written."""
    with contextlib.suppress(OSError), part.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink()
