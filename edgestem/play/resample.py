"""A source at another sample rate: a windowed sinc, one phase for each place.

Output sample u lies at input position u * M / L with L / M = output / input rate in
lowest terms, so L sets of weights serve all places.  What comes out depends on the
place only, not on how it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Source = Callable[[int, int], Sequence[Floats]]
TAPS = 48  # of the shorter side's samples: -0.1 dB at 0.91 of the band
BETA = 9.0  # of Kaiser's window: 90 dB down
PASS = 0.955  # of the narrower band's half rate


class Resampler:
    """Read a source as if it had another rate.

    Parameters
    ----------
    rate_in, rate_out : int
        Hz.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        common = math.gcd(rate_in, rate_out)
        self._up, self._down = rate_out // common, rate_in // common
        cut = PASS * min(1.0, rate_out / rate_in)
        half = math.ceil(TAPS / 2 / min(1.0, rate_out / rate_in))
        self._half = half
        phase = np.arange(self._up)[:, None] / self._up
        t = np.arange(1 - half, half + 1)[None, :] - phase
        window = np.i0(BETA * np.sqrt(np.maximum(1 - (t / half) ** 2, 0))) / np.i0(BETA)
        weights = cut * np.sinc(cut * t) * window
        weights /= weights.sum(1, keepdims=True)
        self._weights = weights.astype(np.float32)

    def read(self, source: Source, start: int, n: int) -> list[Floats]:
        """Read output samples start to start + n - 1 of each stem.

        source(start, n) gives stems (n, n_channels) float32 at `rate_in`.
        """
        if n == 0:
            return [np.asarray(stem[:0]) for stem in source(0, 1)]
        places = np.arange(start, start + n, dtype=np.int64) * self._down
        whole, phase = places // self._up, places % self._up
        first = int(whole[0]) - self._half + 1
        n_in = int(whole[-1]) + self._half - first + 1
        weights = self._weights[phase]
        at = whole - whole[0]
        out = []
        for stem in source(first, n_in):
            windows = sliding_window_view(stem, 2 * self._half, 0)[at]
            out.append(np.einsum("nct,nt->nc", windows, weights))
        return out
