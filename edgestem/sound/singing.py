"""When somebody sings: the thresholds, and a detector for streams.

`edgestem activity` compares each frame with the whole song's loud singing.  A stream
has no whole song: what was sung so far stands for it, and what is older weighs less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FRAME_S = 0.1  # a sixteenth at 150 beats a minute
SILENT_DB = -120.0  # what silence is written as
LEAST_DB = -60.0  # singing below it is none
_HALF_LIFE_S = 120.0  # of what was sung: about half a song
_BINS = 140  # of 1 dB, from SILENT_DB


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a frame is sung.

    Chosen on the seven songs of the old half by `tools.judge.activity`, which tells
    what they do on the others.
    """

    on_db: float = -17.0
    """Begin: relative to the song's loud vocals."""
    off_db: float = -26.0
    """End: the same; not above `on_db`."""
    heard_db: float = -32.0
    """Vocals relative to the mixture, in every frame."""
    pause_s: float = 0.3
    """Shorter pauses are filled."""
    span_s: float = 0.2
    """Shorter spans are dropped."""
    present_db: float = -24.0
    """Loud vocals relative to the loud mixture, below which nobody sings at all."""

    def __post_init__(self) -> None:
        if self.off_db > self.on_db:
            raise ValueError("off has to be at or below on")


DEFAULT = Thresholds()


class Change(NamedTuple):
    """Vocals begin or end."""

    state: str
    """"begin" or "end"."""
    position: int
    """The first sample that is sung, or that is not any more."""


class _Loud:
    """The level above which half of the energy is, of all frames so far."""

    def __init__(self) -> None:
        self._energy = np.zeros(_BINS)
        self._decay = 0.5 ** (FRAME_S / _HALF_LIFE_S)

    def add(self, level_db: float) -> float:
        self._energy *= self._decay
        at = min(max(round(level_db - SILENT_DB), 0), _BINS - 1)
        self._energy[at] += 10 ** (level_db / 10)
        sums = np.cumsum(self._energy)
        return SILENT_DB + float(np.searchsorted(sums, sums[-1] / 2))


class SingingDetector:
    """Finds begins and ends in both stems of a stream, as they come.

    A begin is known `span_s` after it, an end `pause_s` after it.

    Parameters
    ----------
    rate : int
        Hz.
    thresholds : Thresholds
    """

    def __init__(self, rate: int, thresholds: Thresholds = DEFAULT) -> None:
        self._t, self._hop = thresholds, max(round(rate * FRAME_S), 1)
        self._pause = round(thresholds.pause_s / FRAME_S) * self._hop
        self._least = round(thresholds.span_s / FRAME_S) * self._hop
        self._vocals, self._mixture = _Loud(), _Loud()
        self._rest, self._at = np.zeros((0, 2)), 0
        self._run: int | None = None  # where what is loud enough to stay began
        self._is_sung = False  # that run was loud enough to begin
        self._span: tuple[int, int] | None = None
        self._is_told = False

    def add(
        self, position: int, vocals: NDArray[Any], instrumental: NDArray[Any]
    ) -> list[Change]:
        """Take a block, (n_samples, n_channels) each, full scale 1.

        Parameters
        ----------
        position : int
            Of its first sample; audio may be missing before it.
        """
        if position != self._at + len(self._rest):
            self._rest, self._at = self._rest[:0], position
        both = (vocals, vocals + instrumental)
        powers = np.stack([np.mean(np.square(x, dtype=float), axis=1) for x in both], 1)
        powers = np.concatenate([self._rest, powers])
        n = len(powers) // self._hop
        whole = powers[: n * self._hop].reshape(n, self._hop, 2).mean(axis=1)
        self._rest = powers[n * self._hop :]
        levels = 10 * np.log10(np.maximum(whole, 10 ** (SILENT_DB / 10)))
        found: list[Change] = []
        for vocals_db, mixture_db in levels.tolist():
            found += self._frame(vocals_db, mixture_db)
            self._at += self._hop
        return found

    @property
    def begun(self) -> int | None:
        """Position of the begin that was told and has not ended, None without."""
        return self._span[0] if self._is_told and self._span is not None else None

    def end(self) -> list[Change]:
        """End the song: who still sings ends, too."""
        is_told, span = self._is_told, self._span
        self._span = self._run = None
        self._is_told, self._rest = False, self._rest[:0]
        return [Change("end", span[1])] if is_told and span is not None else []

    def _frame(self, vocals_db: float, mixture_db: float) -> list[Change]:
        t = self._t
        loud, whole = self._vocals.add(vocals_db), self._mixture.add(mixture_db)
        is_there = loud > LEAST_DB and loud - whole >= t.present_db
        is_heard = is_there and vocals_db - mixture_db >= t.heard_db
        if is_heard and vocals_db - loud >= t.off_db:
            return self._stay(is_loud=vocals_db - loud >= t.on_db)
        self._run = None
        if self._span is None or self._at + self._hop - self._span[1] < self._pause:
            return []
        return self._leave()

    def _stay(self, *, is_loud: bool) -> list[Change]:
        if self._run is None:
            self._run, self._is_sung = self._at, False
        self._is_sung = self._is_sung or is_loud
        if not self._is_sung:
            return []
        # Singing swells: what leads to a beginning without a break belongs to it.
        start = self._run if self._span is None else self._span[0]
        self._span = start, self._at + self._hop
        if self._is_told or self._span[1] - start < self._least:
            return []
        self._is_told = True
        return [Change("begin", start)]

    def _leave(self) -> list[Change]:
        is_told, span, self._span = self._is_told, self._span, None
        self._is_told = False
        return [Change("end", span[1])] if is_told and span is not None else []
