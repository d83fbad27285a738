"""The checked constants of the spectrogram stages, which all back ends share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgestem.spectrum.learners import repetition_size

N_THRESHOLDS = 255  # between the 256 values of an int8
MIN_FFT, MAX_FFT = 16, 1 << 20  # what the kernel supports
MAX_BANDS = 1 << 20
MIN_STEP = np.float32(1.002)  # of thresholds: the kernel looks codes up in one step
LEAST_POWER = np.float32(2.0**-125)  # thresholds above 0 are at least this
LARGEST = float(np.finfo(np.float32).max)  # what an infinite power's code is of
MAX_PAST = 1 << 16  # frames
MOST_MAGNITUDE = 2.0**20  # sums of it stay finite
_FLOATS = (
    "analysis_window",
    "synthesis_window",
    "thresholds",
    "mask_table",
)


def is_supported_size(n_fft: int) -> bool:
    """Say whether `n_fft` is 2^a 3^b 5^c, divisible by 4 and in range."""
    if n_fft % 4 or not MIN_FFT <= n_fft <= MAX_FFT:
        return False
    for prime in (2, 3, 5):
        while n_fft % prime == 0:
            n_fft //= prime
    return n_fft == 1


def require_size(n_fft: int) -> None:
    """Refuse a size that no back end transforms."""
    if not is_supported_size(n_fft):
        raise ValueError(
            f"n_fft: expected 2^a 3^b 5^c, divisible by 4, {MIN_FFT} to {MAX_FFT}, "
            f"got {n_fft}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Constants of a Spectral, copied and checked; arrays may be any array-like.

    Raises
    ------
    ValueError
        One is out of its range or of the wrong shape; the message names it.
    """

    n_fft: int
    """Frame length in samples: 2^a 3^b 5^c, divisible by 4."""
    hop: int
    """Samples between frames."""
    n_channels: int
    """Audio channels, 1 or 2."""
    n_features: int
    """2: |L|, |R|; 3: |L|, |R|, |L - R|.  Mono audio is L and R at once."""
    analysis_window: NDArray[np.float32]
    """Shape (n_fft,)."""
    synthesis_window: NDArray[np.float32]
    """Shape (n_synthesis,).  The product of both must overlap-add to 1 at `hop`; see
    `windows.window_pair`."""
    band_edges: NDArray[np.int32]
    """Shape (n_bands + 1,), increasing.  Band b averages the bins band_edges[b] to
    band_edges[b + 1] - 1.  Bins from n_bins on do not exist: a band takes the mean
    of those of its bins that do, and has power 0 without any."""
    thresholds: NDArray[np.float32]
    """Shape (255,), not decreasing.  The quantiser: a feature is -128 plus the number
    of thresholds that are <= band power * gain^2.  Two neighbours above 0 differ by
    0.2 % or more (or are infinite, which no power reaches)."""
    mask_table: NDArray[np.float32]
    """Shape (256,), 0..1: gain of mask code q at index q + 128."""
    n_synthesis: int = 0
    """The last samples of a frame, the only ones that overlap-add; hop to n_fft, 0
    for n_fft.  Fewer make the output earlier."""
    top_bands: int = 0
    """Bins from band_edges[-1] on get the mean gain of that many last bands, 0 if it
    is 0.  Bins below band_edges[0] get 0."""
    decay: float = 0.0
    """What a frame leaves of what was learnt before it, 0 to below 1."""
    n_past: int = 0
    """Frames of the accompaniment that are remembered, 0 to 2^16."""

    def __post_init__(self) -> None:
        for name in _FLOATS:
            object.__setattr__(self, name, as_table(getattr(self, name), np.float32))
        edges = as_table(self.band_edges, np.int32)
        object.__setattr__(self, "band_edges", edges)
        object.__setattr__(self, "n_synthesis", self.n_synthesis or self.n_fft)
        require_size(self.n_fft)
        _require("n_synthesis", self.n_synthesis, 1, self.n_fft)
        _require("hop", self.hop, 1, self.n_synthesis)
        _require("n_channels", self.n_channels, 1, 2)
        _require("n_features", self.n_features, 2, 3)
        _require_table("analysis_window", self.analysis_window, self.n_fft)
        _require_table("synthesis_window", self.synthesis_window, self.n_synthesis)
        _require_table("mask_table", self.mask_table, 256)
        _require_edges(self.band_edges)
        _require_thresholds(self.thresholds)
        _require("top_bands", self.top_bands, 0, self.n_bands)
        _require("n_past", self.n_past, 0, MAX_PAST)
        if not 0.0 <= self.decay < 1.0:
            raise ValueError(f"decay: expected 0 to below 1, got {self.decay}")

    @property
    def n_bins(self) -> int:
        """Bins of the spectrum."""
        return self.n_fft // 2 + 1

    @property
    def n_bands(self) -> int:
        """Bands of the features and of the mask."""
        return self.band_edges.size - 1

    @property
    def n_heard(self) -> int:
        """Bins below the last edge."""
        return min(int(self.band_edges[-1]), self.n_bins)

    @property
    def repetition_size(self) -> int:
        """Floats of `Memory.repetition`; 0 if nothing is remembered."""
        return repetition_size(self.n_past, self.n_channels, self.n_heard)


def as_table(values: ArrayLike, dtype: type) -> NDArray[Any]:
    """Copy constants, so that nobody changes them later."""
    table: NDArray[Any] = np.array(values, dtype, order="C")
    table.setflags(write=False)
    return table


def _require(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}: expected {low} to {high}, got {value}")


def _require_table(name: str, table: NDArray[np.float32], size: int) -> None:
    if table.shape != (size,):
        raise ValueError(f"{name}: expected shape ({size},), got {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError(f"{name}: expected finite values")


def _require_edges(edges: NDArray[np.int32]) -> None:
    if edges.ndim != 1 or not 2 <= edges.size <= MAX_BANDS + 1:
        raise ValueError(
            f"band_edges: expected shape (n_bands + 1,), got {edges.shape}"
        )
    if edges[0] < 0 or np.any(edges[1:] <= edges[:-1]):
        raise ValueError("band_edges: expected increasing bin numbers")


def _require_thresholds(thresholds: NDArray[np.float32]) -> None:
    if thresholds.shape != (N_THRESHOLDS,):
        raise ValueError(
            f"thresholds: expected shape ({N_THRESHOLDS},), got {thresholds.shape}"
        )
    if np.isnan(thresholds).any() or np.any(thresholds[1:] < thresholds[:-1]):
        raise ValueError("thresholds: expected numbers that do not decrease")
    steps = thresholds[np.isfinite(thresholds) & (thresholds > 0)]
    steps = np.maximum(steps, LEAST_POWER)
    if np.any(steps[1:] < steps[:-1] * MIN_STEP):
        raise ValueError("thresholds: expected steps of 0.2 % or more above 0")
