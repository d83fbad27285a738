"""Levels of the two stems: moved by anybody, followed by whoever plays.

One thread plays and calls `take`; others call `set`.  They share a deque only, whose
ends are taken and given whole, so neither ever waits for the other and no move is lost
or seen by half.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.pcm.decibels import MAX_BLOCK, gain_of

MAX_MOVES = 4096  # that wait for a block; of more the oldest are forgotten
RAMP_MS = 20.0  # of a move: no click, and felt as immediate
# Gains of vocals and instrumental, None: as it is; samples of the ramp.
Move = tuple[float | None, float | None, int]


class Levels:
    """Gains of vocals and instrumental, on ramps that count samples.

    Parameters
    ----------
    vocals_db, instrumental_db : float
        Where the faders stand; -100 and below is silence.
    dtype : type
        Of the gains.
    """

    def __init__(
        self, vocals_db: float, instrumental_db: float, dtype: type = np.float64
    ) -> None:
        self._moves: deque[Move] = deque(maxlen=MAX_MOVES)
        # Below: the playing thread's own.
        self._start = self._target = gain_of(vocals_db), gain_of(instrumental_db)
        self._at = self._n_ramp = 0
        self._count: NDArray[Any] = np.arange(1, MAX_BLOCK + 1).astype(dtype)
        self._part: NDArray[Any] = np.empty(MAX_BLOCK, dtype)
        self._moving: NDArray[Any] = np.empty((MAX_BLOCK, 2), dtype)
        self._still: NDArray[Any] = np.empty((MAX_BLOCK, 2), dtype)
        self._still[:] = self._target

    def set(
        self, vocals_db: float | None, instrumental_db: float | None, n_ramp: int
    ) -> None:
        """Move to new levels within `n_ramp` samples; None stays."""
        vocals = None if vocals_db is None else gain_of(vocals_db)
        instrumental = None if instrumental_db is None else gain_of(instrumental_db)
        self._moves.append((vocals, instrumental, n_ramp))

    def take(self, n_samples: int) -> NDArray[Any]:
        """Gains of the next samples, (n_samples, 2), until the next call.

        Independent of block sizes; nothing is allocated.
        """
        if self._moves:
            self._follow()
        n_moving = min(n_samples, self._n_ramp - self._at)
        if n_moving <= 0:
            return self._still[:n_samples]
        part = self._part[:n_moving]
        np.add(self._count[:n_moving], float(self._at), out=part)
        np.divide(part, float(self._n_ramp), out=part)
        for i in (0, 1):
            gains = self._moving[:n_moving, i]
            np.multiply(part, self._target[i] - self._start[i], out=gains)
            np.add(gains, self._start[i], out=gains)
        self._moving[n_moving:n_samples] = self._target
        self._at += n_moving
        return self._moving[:n_samples]

    def _follow(self) -> None:
        """Sum up the moves since the last block; begin a ramp if there is one."""
        vocals, instrumental = self._target
        n_ramp = 0
        while self._moves:
            a, b, n_ramp = self._moves.popleft()
            vocals = vocals if a is None else a
            instrumental = instrumental if b is None else b
        if (vocals, instrumental) != self._target:
            self._begin((vocals, instrumental), n_ramp)

    def _begin(self, wanted: tuple[float, float], n_ramp: int) -> None:
        """Start a ramp from where the gains are now."""
        done = self._at / self._n_ramp if self._n_ramp else 1.0
        a, b = self._start, self._target
        vocals, instrumental = ((1 - done) * a[i] + done * b[i] for i in (0, 1))
        self._start, self._target = (vocals, instrumental), wanted
        self._at, self._n_ramp = 0, n_ramp
        self._still[:] = wanted
