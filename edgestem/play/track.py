"""A song in memory: its mixture as far as it is decoded, its vocals as far as known.

Vocals are known in two qualities.  *Final* ones come from the run that began at the
song's first sample: they are what `edgestem separate` writes, to the bit.
*Provisional* ones come from a run that began where somebody jumped to.  The final ones
reach to `front`.

Writers: one thread decodes, one separates; each writes samples before the number that
tells of them.  Readers take no lock.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgestem.play.pages import Pages, narrow_dtype
from edgestem.sound.containers import choose_grid
from edgestem.sound.grid import GRIDS, Grid, GridSamples, convert, to_float32

NONE, PROVISIONAL, FINAL = range(3)  # how good the vocals of a place are
FADE_S = 0.02  # between vocals of two qualities
ENDLESS = 1 << 62  # samples: more than any song has


class Facts(Protocol):
    """What is known of a song when it is opened."""

    @property
    def sample_rate(self) -> int: ...
    @property
    def n_channels(self) -> int: ...
    @property
    def n_samples(self) -> int | None: ...
    @property
    def grid(self) -> Grid: ...
    @property
    def is_lossy(self) -> bool: ...
    @property
    def tags(self) -> dict[str, str]: ...


class Track:
    """One song to play.

    Attributes
    ----------
    error : str
        Why it cannot be played; empty: nothing is wrong.
    sample_rate, n_channels : int
        0 until it is opened.
    n_decoded : int
        GridSamples of the mixture that are there.
    n_samples : int or None
        Its length, when all is decoded.
    n_expected : int or None
        What its header says before that.
    front : int
        Final vocals reach from 0 to here.
    content : str
        Digest of the decoded samples, when all is decoded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error = self.content = ""
        self.sample_rate = self.n_channels = self.n_decoded = self.front = 0
        self.n_samples: int | None = None
        self.n_expected: int | None = None
        self.tags: dict[str, str] = {}
        self.notes: list[str] = []
        self.is_stored = self.is_unstored = self.is_looked_up = False
        self.is_given_up = self.is_dropped = False
        self.loudness: float | None = None  # LUFS of the instrumental
        self.peak = 0.0
        self.tagged_gain: float | None = None  # that ReplayGain tags ask for
        self.promised = ""  # content that the store expects
        self.status: Any = None  # of the file, when it was opened
        self.spans: list[tuple[int, int]] = []
        self.grid = self.song_grid = GRIDS["16"]  # kept on, decoded on
        self.is_lossy = self.is_slow = False
        self._n_read = 0  # samples that the decoder gave

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.tags.get("title") or self.path.stem

    @property
    def is_complete(self) -> bool:
        """All vocals are final."""
        return self.n_samples is not None and self.front >= self.n_samples

    @property
    def is_mistaken(self) -> bool:
        """The stored vocals are another song's, which had this file's numbers."""
        return self.is_stored and bool(self.content) and self.promised != self.content

    @property
    def length(self) -> int:
        """Length as far as it is known; samples."""
        if self.n_samples is not None:
            return self.n_samples
        return max(self.n_expected or 0, self.n_decoded)

    # ---- the decoder's thread ---------------------------------------

    def open(self, song: Facts) -> None:
        """Take over what is known of an opened song."""
        own = GRIDS["16"] if song.is_lossy else song.grid
        self.grid = choose_grid("keep", "wav", own)[0]
        self.song_grid, self.is_lossy = song.grid, song.is_lossy
        dtype = narrow_dtype(self.grid)
        self._mixture = Pages(song.n_channels, dtype)
        self._vocals = Pages(song.n_channels, dtype)
        self._provisional = Pages(song.n_channels, np.float32)
        self.n_channels, self.n_expected = song.n_channels, song.n_samples
        self.tags = song.tags
        self.fade = max(round(FADE_S * song.sample_rate), 1)
        self.sample_rate = song.sample_rate  # last: now it can be read

    def append(self, x: GridSamples) -> None:
        """Add decoded samples, as the song gave them."""
        block, _ = convert(x, self.song_grid, self.grid)
        self._mixture.write(self._n_read, block)
        self._n_read += len(block)
        self.n_decoded = max(self.n_decoded, self._n_read)

    def begin_with(self, samples: GridSamples) -> None:
        """Take the first samples from elsewhere; the decoder's will replace them."""
        self._mixture.write(0, samples)
        self.n_decoded = len(samples)

    def finish(self, content: str, notes: list[str]) -> None:
        """All is decoded."""
        self.content, self.notes = content, notes
        self.n_samples = self.n_decoded = self._n_read

    # ---- the separator's thread -------------------------------------

    def put_final(self, vocals: GridSamples) -> None:
        """Append final vocals, on the grid, at the front."""
        self._vocals.write(self.front, vocals)
        self.front += len(vocals)
        if self.is_complete:
            self.spans = []
            self._provisional.drop()

    def put_provisional(self, start: int, vocals: NDArray[np.float32]) -> None:
        """Add provisional vocals, full scale 1."""
        self._provisional.write(start, vocals)
        end = start + len(vocals)
        last = self.spans[-1] if self.spans else (0, 0)
        if last[1] == start and last != (0, 0):
            self.spans = [*self.spans[:-1], (last[0], end)]
        else:
            self.spans = [*self.spans, (start, end)]

    def forget_vocals(self) -> None:
        """Throw the final vocals away: they were another song's."""
        self.front, self.is_stored, self.spans = 0, False, []

    # ---- readers ----------------------------------------------------

    def coverage(self, place: int, quality: int) -> int:
        """Count samples from a place on that have vocals of a quality.

        What a fade may need behind them is left out.
        """
        if quality == NONE:
            return ENDLESS
        if place < 0:
            return -place
        if quality == FINAL:
            return ENDLESS if self.is_complete else self.front - self.fade - place
        for start, end in reversed(self.spans):
            if start <= place < end:
                is_end = self.n_samples is not None and end >= self.n_samples
                return ENDLESS if is_end else end - self.fade - place
        return 0

    def mixture(self, start: int, n: int) -> GridSamples:
        """Copy the mixture, on the grid in its narrow type."""
        return self._mixture.read(start, n)

    def mixture_wide(self, start: int, n: int) -> GridSamples:
        """Copy the mixture, on the grid in the grid's own type."""
        return self.mixture(start, n).astype(self.grid.dtype)

    def vocals(self, start: int, n: int, quality: int) -> NDArray[np.float32]:
        """Copy vocals of one quality, full scale 1."""
        if quality == FINAL:
            return to_float32(self._vocals.read(start, n), self.grid)
        if quality == PROVISIONAL:
            return self._provisional.read(start, n)
        return np.zeros((n, self.n_channels), np.float32)

    def final(self, start: int, n: int) -> tuple[GridSamples, GridSamples]:
        """Copy both final stems, full scale 1: as `separate` has them."""
        grid = self.grid
        vocals: GridSamples = self._vocals.read(start, n).astype(grid.dtype)
        rest = self.mixture_wide(start, n) - vocals
        return to_float32(vocals, grid), to_float32(rest, grid)

    @property
    def n_bytes(self) -> int:
        """Memory of its samples."""
        if not self.sample_rate:
            return 0
        pages = (self._mixture, self._vocals, self._provisional)
        return sum(part.n_bytes for part in pages)
