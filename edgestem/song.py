"""A song as a stream of blocks, whatever it is stored in.

A `Song` gives samples on its own grid, (n_samples, n_channels), and says what
was wrong with them.  Who reads what: `sndfile` the files that libsndfile knows,
`piped` WAV from a pipe and WAV whose header is wrong, `ffmpeg` all the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgestem.errors import AudioError
from edgestem.grid import Samples
from edgestem.separator import LIMIT
from edgestem.wav import WavFormat


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
        self.n_before = 0  # samples of the song that somebody else has read
        self.n_bad_samples = 0  # NaN, infinite or absurd values, read as silence
        self.damage: list[str] = []  # complete when all is read
        self.remarks: list[str] = []  # what a listener should know of a whole song
        self.tags: dict[str, str] = {}  # libsndfile's names: title, artist, ...
        self.slack = 0  # samples by which `n_samples` may be too many
        self._has_ended = False

    @property
    def warning(self) -> str:
        """One line on what is wrong or worth knowing; known when all is read."""
        found = []
        if self.damage:
            found = [f"{self.name} is damaged or incomplete: {'; '.join(self.damage)}"]
        if self.remarks:
            found.append(f"{self.name}: {'; '.join(self.remarks)}")
        return "; ".join(found)

    def read(self, n_samples: int) -> Samples:
        """Read up to `n_samples`; an empty array is the end.

        Raises
        ------
        AudioError
            `unreadable`: the disk fails, or nothing is left of the song.
        """
        x = self._read(n_samples)
        if self.grid.is_float:
            x = self._without_damage(x)
        self.n_read += len(x)
        if len(x) == 0 and not self._has_ended:
            self._has_ended = True
            self._find_loss()
            if self.n_read + self.n_before == 0:
                self._note_empty()
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

    def _find_loss(self) -> None:
        """Compare what was read with what the header promised."""
        promised, done = self.n_samples, self.n_before + self.n_read
        if promised is not None and done < promised - self.slack:
            self.damage.append(self._ends_early(promised))

    def _ends_early(self, n_promised: float) -> str:
        """Say how much of the song there is."""
        n_done = self.n_before + self.n_read
        share = parts(n_done, round(n_promised), self.sample_rate)
        return f"{share} could be read and were separated"

    def _note_empty(self) -> None:
        """Refuse a song of which nothing is left; one of no length is one, and said."""
        if self.damage:
            raise unreadable(self.name, "is damaged: nothing of it could be read")
        self.remarks.append("it holds no sample")


def seconds(n_samples: float, sample_rate: int) -> str:
    """Write a length; what is no tenth of a second is counted in samples."""
    if n_samples < 0.1 * sample_rate:
        return f"{round(n_samples)} samples"
    return f"{n_samples / sample_rate:.1f} s"


def parts(n_read: int, n_promised: int, sample_rate: int) -> str:
    """Write "4.9 s of 10.0 s", in samples where seconds would look equal."""
    done, whole = (f"{n / sample_rate:.1f} s" for n in (n_read, n_promised))
    if done == whole:
        return f"{n_read} of {n_promised} samples"
    return f"{done} of {whole}" if n_read < n_promised else done


def place(n_samples: int, sample_rate: int) -> str:
    """Write where in a song something is: minutes and seconds."""
    minutes, rest = divmod(n_samples / sample_rate, 60)
    return f"{int(minutes)}:{rest:06.3f}"


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
