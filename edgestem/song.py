"""A song as a stream of blocks, whatever it is stored in.

A `Song` gives samples on its own grid, (n_samples, n_channels), and says what
was wrong with them.  Its readers: libsndfile, and `wav` for WAV on a pipe;
`ffmpeg` is the third.
"""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np

from edgestem.errors import AudioError
from edgestem.grid import GRIDS, Samples
from edgestem.separator import LIMIT
from edgestem.wav import WavFormat, is_open_end, unpack

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
    """

    def __init__(self, name: str, wav: WavFormat, *, is_lossy: bool = False) -> None:
        self.name = name
        self.sample_rate, self.n_channels = wav.sample_rate, wav.n_channels
        self.grid = wav.grid
        self.is_lossy = is_lossy
        self.n_samples = wav.n_samples  # what the header says; None: nothing
        self.n_read = 0
        self.n_bad_samples = 0  # NaN, infinite or absurd values, read as silence
        self.warning = ""  # known when all is read
        self.is_exact = wav.n_samples is not None and not is_lossy

    def read(self, n_samples: int) -> Samples:
        """Read up to `n_samples`; an empty array is the end."""
        x = self._read(n_samples)
        if self.grid.is_float:
            x = self._without_damage(x)
        self.n_read += len(x)
        if len(x) == 0 and not self.warning:
            self.warning = self._find_loss()
        return x

    def close(self) -> None:
        """Let go of the file."""

    def _read(self, n_samples: int) -> Samples:
        raise NotImplementedError

    def _without_damage(self, x: Samples) -> Samples:
        with np.errstate(invalid="ignore"):
            good = np.abs(x) <= LIMIT  # NaN compares false
        n_bad = x.size - int(np.count_nonzero(good))
        if n_bad == 0:
            return x
        self.n_bad_samples += n_bad
        return np.where(good, x, x.dtype.type(0))

    def _find_loss(self) -> str:
        """Compare what was read with what the header promised."""
        # Lengths of lossy formats are estimates in many headers.
        slack = 0 if self.is_exact else self.sample_rate
        if self.n_samples is None or self.n_read >= self.n_samples - slack:
            return ""
        return self._ends_early(self.n_samples)

    def _ends_early(self, n_promised: float) -> str:
        done, whole = self.n_read / self.sample_rate, n_promised / self.sample_rate
        return (
            f"{self.name} is damaged or incomplete: {done:.1f} s of {whole:.1f} s "
            "could be read and were separated"
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


def unreadable(name: str, what: str) -> AudioError:
    """Make the error of a song that cannot be read: "<name> <what>"."""
    return AudioError(f"{name} {what}", code="unreadable", path=name)


class PipedSong(Song):
    """WAV from a pipe."""

    def __init__(self, file: BinaryIO, name: str, wav: WavFormat) -> None:
        super().__init__(name, wav)
        self._file, self._wav = file, wav

    def _read(self, n_samples: int) -> Samples:
        if self.n_samples is not None:
            n_samples = min(n_samples, self.n_samples - self.n_read)
        data = self._file.read(n_samples * self._wav.bytes_per_sample)
        return unpack(data, self._wav)

    def close(self) -> None:
        self._file.close()


class SndfileSong(Song):
    """A file that libsndfile reads."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        soundfile = load_soundfile()
        self._file = file
        sound: Any = soundfile.SoundFile(file.fileno(), closefd=False)
        # It would seek after every read, where FLAC of unknown length gets lost.
        sound.seekable = lambda: False
        self._sound, self._error = sound, soundfile.LibsndfileError
        grid = _SUBTYPES.get(sound.subtype)
        # A FLAC stream whose length is not known "has" 2^63 - 1 samples.
        n_samples = sound.frames if sound.frames < 1 << 60 else None
        kind = GRIDS[grid or "float"]
        wav = WavFormat(kind, sound.samplerate, sound.channels, n_samples)
        super().__init__(name, wav, is_lossy=grid is None)

    def _read(self, n_samples: int) -> Samples:
        x = self._read_raw(n_samples)
        if self.grid.is_float:
            return x
        # libsndfile gives integers of any width left-justified in 32 bits.
        return (x >> (32 - self.grid.bits)).astype(np.int64)

    def _read_raw(self, n_samples: int) -> Samples:
        """Read; what comes after a decoding error is lost, what came before is not."""
        dtype = self.grid.dtype if self.grid.is_float else np.int32
        out: Samples = np.empty((n_samples, self.n_channels), dtype)
        if self.warning:
            return out[:0]
        # The length in a header may be wrong: read until nothing comes.
        start = self._sound.tell()
        try:
            return self._sound.read(out=out)  # type: ignore[no-any-return]
        except self._error as cause:
            if "System error" in str(cause):  # the disk, not the song
                raise unreadable(self.name, f"cannot be read: {cause}") from cause
            n_good = max(self._sound.tell() - start, 0)
            self.n_read += n_good
            self.warning = self._ends_early(self.n_samples or 0)
            self.n_read -= n_good
            return out[:n_good]

    def _find_loss(self) -> str:
        notes = self._sound.extra_info
        promise = _PROMISE.search(notes)
        if promise:
            promised, there = int(promise[1]), int(promise[2])
            if promised > there > 0 and not is_open_end(promised):
                return self._ends_early(self.n_read * promised / there)
        if _NO_END_MARK in notes:
            return f"{self.name} has no end mark, as if it were cut short"
        return super()._find_loss()

    def close(self) -> None:
        self._sound.close()
        self._file.close()
