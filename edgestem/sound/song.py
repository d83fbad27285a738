"""A song as a stream of blocks, whatever it is stored in.

A `Song` gives samples on its own grid, (n_samples, n_channels), and says what
was wrong with them.  Its readers: `sndfile` for what libsndfile knows, `ffmpeg`
for the rest, and here WAV on a pipe and WAV whose header is not to be believed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from edgestem.errors import AudioError
from edgestem.sound.chunks import Layout
from edgestem.sound.descriptors import read_exactly
from edgestem.sound.grid import GridSamples
from edgestem.sound.wav import WavFormat, unpack
from edgestem.stems import LIMIT

SKIPPED = 1 << 16  # samples that are read at a time to pass them over
NO_END = "has no end mark, as if it were cut short"


class Song:
    """A song being read; subclasses say how.

    Parameters
    ----------
    name : str
        For messages.
    wav : WavFormat
        Rate, channels, the grid samples are read on, and the length if known.
    is_lossy : bool
        Decoded from a lossy format, so that the grid is not the song's own.

    Attributes
    ----------
    n_samples : int or None
        Length as far as it is known before the end, for progress; a guess unless
        `is_exact`.
    is_exact : bool
        The length is a promise: fewer samples are a loss.
    notes : list of str
        What a person should know of the song; complete when all is read.
    is_damaged : bool
        A part of the song is not there; known when all is read.
    tags : dict of str
        title, artist, album, ... as far as the file has them.
    listener : callable or None
        Hears every block that `read` gives, on the grid.
    """

    is_slow = False
    """Another program has to start before it can be read."""

    def __init__(self, name: str, wav: WavFormat, *, is_lossy: bool = False) -> None:
        self.name = name
        self.sample_rate, self.n_channels = wav.sample_rate, wav.n_channels
        self.grid = wav.grid
        self.is_lossy = is_lossy
        self.n_samples = wav.n_samples
        self.is_exact = wav.n_samples is not None and not is_lossy
        self.n_read = 0
        self.n_bad_samples = 0  # NaN, infinite or absurd values, read as silence
        self.notes: list[str] = []
        self.is_damaged = False
        self.tags: dict[str, str] = {}
        self.listener: Callable[[GridSamples], None] | None = None
        self._is_over = False

    def read(self, n_samples: int) -> GridSamples:
        """Read `n_samples`, fewer only before the end; an empty array is the end."""
        if n_samples <= 0:
            return self._read(0)
        parts, n_got = [], 0
        while n_got < n_samples and len(x := self._read(n_samples - n_got)):
            parts.append(self._without_damage(x) if self.grid.is_float else x)
            n_got += len(x)
            self.n_read += len(x)
        if n_got == 0 and not self._is_over:
            self._is_over = True
            self._find_loss()
            if self.n_read == 0 and not self.notes:
                self.note("holds no samples: its stems are empty")
        x = np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else x
        if self.listener is not None:
            self.listener(x)
        return x

    def skip_to(self, place: int) -> None:
        """Go on at a later sample."""
        while self.n_read < place:
            if not len(self.read(min(place - self.n_read, SKIPPED))):
                return

    def note(self, what: str) -> None:
        """Remember a sentence about the song: "<name> <what>"."""
        self.notes.append(f"{self.name} {what}")

    def lose(self, what: str) -> None:
        """Remember that a part of the song is not there."""
        self.is_damaged = True
        self.note(what)

    def say_silence(self, at: int) -> None:
        """Remember that from this sample on something is lost, with silence there."""
        self.lose(
            f"is damaged at {at / self.sample_rate:.2f} s: what is lost there is "
            "silent, all behind it is at its place"
        )

    def close(self) -> None:
        """Let go of the file."""

    def _read(self, n_samples: int) -> GridSamples:
        raise NotImplementedError

    def _without_damage(self, x: GridSamples) -> GridSamples:
        with np.errstate(invalid="ignore"):
            good = np.abs(x) <= LIMIT  # NaN compares false
        n_bad = x.size - int(np.count_nonzero(good))
        if n_bad == 0:
            return x
        self.n_bad_samples += n_bad
        return np.where(good, x, x.dtype.type(0))

    def _find_loss(self) -> None:
        """Compare what was read with what the header promised."""
        if self.is_exact and self.n_samples is not None:
            self._compare(self.n_samples)

    def _compare(self, n_promised: int, n_slack: int = 0) -> None:
        """Note a loss of more than so many samples."""
        n_lost = n_promised - self.n_read
        if n_lost <= n_slack:
            return
        rate = self.sample_rate
        done, whole = f"{self.n_read / rate:.1f} s", f"{n_promised / rate:.1f} s"
        if done == whole:
            done, whole = f"{self.n_read} samples", f"{n_promised} samples"
        self.lose(
            f"is damaged or incomplete: {done} of {whole} could be read and were "
            "separated"
        )


def load_soundfile() -> Any:
    """Import soundfile when it is used: it takes its time.

    Raises
    ------
    AudioError
        `libsndfile_missing`: wheels for some boards come without the C library.
    """
    try:
        import soundfile
    except OSError as cause:
        raise AudioError(
            "libsndfile is not installed (apt install libsndfile1)",
            code="libsndfile_missing",
        ) from cause
    return soundfile


class PipedSong(Song):
    """WAV from a pipe.

    Parameters
    ----------
    ahead : bytes
        What was read of the samples already.
    """

    def __init__(
        self, file: BinaryIO, name: str, wav: WavFormat, ahead: bytes = b""
    ) -> None:
        super().__init__(name, wav)
        self._file, self._wav, self._ahead = file, wav, ahead

    def _read(self, n_samples: int) -> GridSamples:
        if self.n_samples is not None:
            n_samples = min(n_samples, self.n_samples - self.n_read)
        data = self._take(n_samples * self._wav.bytes_per_sample)
        if len(data) % self._wav.bytes_per_sample:
            self.lose("ends within a sample, as if it were cut short")
        return unpack(data, self._wav)

    def _take(self, n_bytes: int) -> bytes:
        data, self._ahead = self._ahead[:n_bytes], self._ahead[n_bytes:]
        return data + read_exactly(self._file.fileno(), n_bytes - len(data))

    def _find_loss(self) -> None:
        super()._find_loss()
        if self.n_samples is None or self.notes:
            return
        what = behind_wav(self._take, self.n_samples, self._wav)
        if what:
            self.lose(what)

    def close(self) -> None:
        self._file.close()


def behind_wav(read: Callable[[int], bytes], n_samples: int, wav: WavFormat) -> str:
    """Read on behind the samples of a piped WAV; say what is no chunk of it."""
    read(n_samples * wav.bytes_per_sample % 2)  # the pad byte
    while len(head := read(8)) == 8:
        if head[:4] in (b"RIFF", b"RF64"):
            return "is followed by another song, which was not read: one at a time"
        size = struct.unpack("<I", head[4:])[0]
        if not head[:4].isascii() or size > 1 << 24:
            return "is followed by what is no WAV chunk; it was not read"
        read(size + size % 2)
    return ""


class WavSong(Song):
    """A WAV file whose samples lie where its chunks say, not where its header does."""

    def __init__(self, file: BinaryIO, name: str, layout: Layout) -> None:
        super().__init__(name, layout.wav)
        self._file, self._wav = file, layout.wav
        self._parts = list(layout.parts)
        self.notes.append(f"{name}: {layout.note}")

    def _read(self, n_samples: int) -> GridSamples:
        step = self._wav.bytes_per_sample
        while self._parts:
            at, n_bytes = self._parts[0]
            data = os.pread(self._file.fileno(), min(n_bytes, n_samples * step), at)
            n_whole = len(data) // step * step
            if n_whole == 0:
                self._parts.pop(0)
                continue
            self._parts[0] = (at + n_whole, n_bytes - n_whole)
            return unpack(data[:n_whole], self._wav)
        return unpack(b"", self._wav)

    def close(self) -> None:
        self._file.close()
