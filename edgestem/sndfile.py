"""Songs that libsndfile reads.

Where it stops is held against the file: what it leaves unread is read by somebody
else (`more`), or said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from edgestem.chunks import n_unread, scan
from edgestem.errors import AudioError
from edgestem.grid import GRIDS, Samples
from edgestem.hush import Window, hushed
from edgestem.song import Song, load_soundfile, seconds, unreadable
from edgestem.wav import WavFormat, is_open_end

# libsndfile's name of a sample format -> the grid its samples lie on.
_SUBTYPES = {
    "PCM_S8": "8",
    "PCM_U8": "8",
    "PCM_16": "16",
    "PCM_24": "24",
    "PCM_32": "32",
    "FLOAT": "float",
    "DOUBLE": "double",
    "ALAC_16": "16",
    "ALAC_20": "24",
    "ALAC_24": "24",
    "ALAC_32": "32",
}
# What libsndfile notes when a header promises more bytes than there are.
_PROMISE = re.compile(r"(?:data|SSND|Data Size)\s*:\s*(\d+) \(should be (\d+)\)")
_NO_END_MARK = "Ogg : File ended unexpectedly"
_EXACT = ("VORBIS", "OPUS")  # lossy, and their lengths are exact to the sample
_FRAME = 1152  # samples by which the count in an MP3 may be off
_IRCAM_HEAD = 1024  # bytes
_LITTLE = 1024  # bytes: too few to be worth a word
TAGS = (
    "title",
    "artist",
    "album",
    "date",
    "tracknumber",
    "genre",
    "comment",
    "copyright",
)

More = Callable[[int], Song]


class SndfileSong(Song):
    """A file that libsndfile reads.

    Parameters
    ----------
    file : binary file
        Open for reading; closed with the song.
    name : str
        For messages.
    more : callable, optional
        Given the samples read so far, opens who can read on from there.
    end : int, optional
        Where the sound ends in the file; what is behind it stays unseen.
    is_noisy : bool
        The decoder would complain to stderr by itself.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        more: More | None = None,
        *,
        end: int | None = None,
        is_noisy: bool = False,
    ) -> None:
        soundfile = load_soundfile()
        self.file, self._more, self._is_noisy = file, more, is_noisy
        self._window = None if end is None else Window(file.fileno(), end)
        with hushed(is_noisy):
            sound: Any = soundfile.SoundFile(
                self._window or file.fileno(), closefd=False
            )
        # It would seek after every read, where FLAC of unknown length gets lost.
        sound.seekable = lambda: False
        self._sound, self._error = sound, soundfile.LibsndfileError
        self._rest: Song | None = None
        self._is_over = self._has_failed = False
        self._hint = ""
        grid = _SUBTYPES.get(sound.subtype)
        # A FLAC stream whose length is not known "has" 2^63 - 1 samples.
        n_samples = sound.frames if sound.frames < 1 << 60 else None
        kind = GRIDS[grid or "float"]
        wav = WavFormat(kind, sound.samplerate, sound.channels, n_samples)
        super().__init__(name, wav, is_lossy=grid is None)
        self._step = wav.bytes_per_sample
        if self.is_lossy and sound.subtype not in _EXACT:
            self.slack = self.sample_rate  # an estimate in many headers
        self.tags = {key: text for key in TAGS if (text := getattr(sound, key))}

    def _read(self, n_samples: int) -> Samples:
        if not self._is_over:
            x = self._read_own(n_samples)
            if len(x):
                return x
            self._is_over = True
            return self._read_on(n_samples)
        if self._rest is not None:
            return self._rest.read(n_samples)
        return self._nothing()

    def _read_on(self, n_samples: int) -> Samples:
        """Read what libsndfile leaves unread, if anybody else can."""
        if self._more is None or not (self._has_failed or self._n_left() > _LITTLE):
            return self._nothing()
        rest = None
        try:
            rest = self._more(self.n_read)
            x = rest.read(n_samples)
        except AudioError as cause:
            if cause.code == "ffmpeg_missing":
                self._hint = " (install ffmpeg to read on)"
            x = self._nothing()
        if rest is not None and len(x) and self._is_like(rest):
            self._rest = rest
            return x
        if rest is not None:
            rest.close()
        return self._nothing()

    def _nothing(self) -> Samples:
        return np.empty((0, self.n_channels), self.grid.dtype)

    def _read_own(self, n_samples: int) -> Samples:
        x = self._read_raw(n_samples)
        if self.grid.is_float:
            return x
        # libsndfile gives integers of any width left-justified in 32 bits.
        x >>= 32 - self.grid.bits
        return x.astype(np.int64)

    def _read_raw(self, n_samples: int) -> Samples:
        """Read; what came before a decoding error is not lost."""
        dtype = self.grid.dtype if self.grid.is_float else np.int32
        out: Samples = np.empty((n_samples, self.n_channels), dtype)
        if self._has_failed or n_samples == 0:
            return out[:0]
        try:
            # The length in a header may be wrong: read until nothing comes.
            with hushed(self._is_noisy):
                return self._sound.read(out=out)  # type: ignore[no-any-return]
        except self._error as cause:
            if "System error" in str(cause):  # the disk, not the song
                raise unreadable(self.name, f"cannot be read: {cause}") from cause
            self._has_failed = True
            return out[: max(self._place() - self.n_read, 0)]

    def _place(self) -> int:
        """Count the samples decoded; some formats cannot tell."""
        try:
            return int(self._sound.tell())
        except self._error:
            return self.n_read

    def _n_left(self) -> int:
        """Bytes behind the place where libsndfile stopped that are no tags."""
        return n_unread(self.file.fileno(), self._position())

    def _position(self) -> int:
        if self._window is not None:
            return self._window.at
        return os.lseek(self.file.fileno(), 0, os.SEEK_CUR)

    def _is_like(self, other: Song) -> bool:
        mine = (self.sample_rate, self.n_channels, self.grid)
        return mine == (other.sample_rate, other.n_channels, other.grid)

    def _find_loss(self) -> None:
        if self._rest is not None:
            self._sum_up(self._rest)
        elif self._has_failed:
            self.damage.append(self._ends_early(self.n_samples or 0))
        elif (promised := self._promise()) > self.n_read:
            self.damage.append(self._ends_early(promised))
        elif _NO_END_MARK in self._sound.extra_info:
            self.damage.append("it has no end mark, as if it were cut short")
        else:
            n_found = len(self.damage)
            super()._find_loss()
            if len(self.damage) == n_found:
                self._look_behind()

    def _sum_up(self, rest: Song) -> None:
        """Take over what was found by who read on."""
        self.damage += rest.damage
        self.remarks += rest.remarks
        if not (rest.damage or rest.remarks):
            told, whole = (
                seconds(n, self.sample_rate) for n in (self.n_samples or 0, self.n_read)
            )
            self.remarks.append(
                f"its header says {told}; all {whole} in the file were separated"
            )

    def _promise(self) -> int:
        """Count the samples that the header promises in bytes; 0: it does not."""
        layout = scan(self.file.fileno())
        if layout is not None:
            told, there = layout.n_told, layout.n_there
        else:
            noted = _PROMISE.search(self._sound.extra_info)
            told, there = (int(noted[1]), int(noted[2])) if noted else (0, 0)
        if told <= there or is_open_end(told):
            return 0
        if there == 0:
            return told // self._step
        return max(round(self.n_read * told / there), self.n_read + 1)

    def _look_behind(self) -> None:
        """Say what was left unread, or that the last sample is torn."""
        size = os.fstat(self.file.fileno()).st_size
        n_rest = size - self._position()
        if self._sound.format == "IRCAM":  # it has no length to compare
            n_rest = (size - _IRCAM_HEAD) % self._step
        if not self.is_lossy and 0 < n_rest < self._step:
            self.damage.append("it ends in the middle of a sample")
        n_left = self._n_left()
        if n_left > _LITTLE:
            share = 100 * n_left / size
            what = f"{n_left} bytes at its end ({share:.0f} %) could not be read"
            self.damage.append(what + self._hint)

    def _ends_early(self, n_promised: float) -> str:
        return super()._ends_early(n_promised) + self._hint

    def close(self) -> None:
        if self._rest is not None:
            self._rest.close()
        self._sound.close()
        self.file.close()
