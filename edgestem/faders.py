"""Levels of the two stems: moved by anybody, followed by whoever plays.

One thread plays and calls `take`; others call `set`.  They share plain numbers
only, so neither ever waits for the other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.protocol import SILENT_DB

MAX_BLOCK = 16384  # samples of one `take`
MAX_DB = 20.0
RAMP_MS = 20.0  # of a move: no click, and felt as immediate


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
        # Gains, and the samples of the way there.  `update` and `values` are one step
        # each: a `take` beside a `set` sees all of it or nothing, and no `set` is lost.
        self._wanted: dict[str, Any] = {
            "vocals": gain_of(vocals_db),
            "instrumental": gain_of(instrumental_db),
            "n_ramp": 0,
        }
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
        changes: dict[str, Any] = {"n_ramp": n_ramp}
        if vocals_db is not None:
            changes["vocals"] = gain_of(vocals_db)
        if instrumental_db is not None:
            changes["instrumental"] = gain_of(instrumental_db)
        self._wanted.update(changes)

    def take(self, n_samples: int) -> NDArray[Any]:
        """Gains of the next samples, (n_samples, 2), until the next call.

        Independent of block sizes; nothing is allocated.
        """
        vocals, instrumental, n_ramp = tuple(self._wanted.values())
        if (vocals, instrumental) != self._target:
            self._begin((vocals, instrumental), n_ramp)
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

    def _begin(self, wanted: tuple[float, float], n_ramp: int) -> None:
        """Start a ramp from where the gains are now."""
        done = self._at / self._n_ramp if self._n_ramp else 1.0
        a, b = self._start, self._target
        vocals, instrumental = ((1 - done) * a[i] + done * b[i] for i in (0, 1))
        self._start, self._target = (vocals, instrumental), wanted
        self._at, self._n_ramp = 0, n_ramp
        self._still[:] = wanted


def gain_of(level_db: float) -> float:
    """Turn decibels into a factor."""
    return 0.0 if level_db <= SILENT_DB else float(10 ** (level_db / 20))


def parse_db(text: str) -> float:
    """Read a level: a number of decibels up to 20, or -inf.

    Raises
    ------
    ValueError
        It is something else; the message says what is wanted.
    """
    try:
        level = float(text)
    except ValueError:
        level = math.nan
    if math.isnan(level) or level > MAX_DB:
        raise ValueError(f"expected decibels up to {MAX_DB:.0f}, or -inf, got {text}")
    return max(level, SILENT_DB)


def midi_db(value: int) -> float:
    """Level of a controller's position 0..127: the usual square law, 0 is silence."""
    return 40 * math.log10(value / 127) if value else SILENT_DB
