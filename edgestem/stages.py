"""The spectrogram stages in numpy, and the checked constants all back ends share.

This is the oracle of the C kernel and the last resort where it is not built;
with FFTW in place of numpy's transform it is the `fftw` back end.  See
`spectral` for the meaning and the shapes of everything here, and `learners` for
what gains and places learn from the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgestem.learners import (
    LANES,
    Panorama,
    Repetition,
    Softness,
    WienerFilter,
    past_size,
    power_of,
)

N_THRESHOLDS = 255  # between the 256 values of an int8
MIN_FFT, MAX_FFT = 16, 1 << 20  # what the kernel supports
MAX_BANDS = 1 << 20
MIN_STEP = np.float32(1.002)  # of thresholds: the kernel looks codes up in one step
LEAST_POWER = np.float32(2.0**-125)  # thresholds above 0 are at least this
LARGEST = float(np.finfo(np.float32).max)  # what an infinite power's code is of
MAX_PAST = 1 << 16  # frames
MOST_MAGNITUDE = 2.0**20  # sums of it stay finite


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


@dataclass(frozen=True, slots=True)
class Tables:
    """Checked constants of a Spectral, which documents them."""

    n_fft: int
    hop: int
    n_synthesis: int
    n_channels: int
    n_features: int
    top_bands: int
    decay: float
    softness: NDArray[np.float32]
    n_past: int
    analysis_window: NDArray[np.float32]
    synthesis_window: NDArray[np.float32]
    band_edges: NDArray[np.int32]
    thresholds: NDArray[np.float32]
    mask_table: NDArray[np.float32]

    def __post_init__(self) -> None:
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
        _require_table("softness", self.softness, 3)
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
    def past_size(self) -> int:
        """Floats of the state `past`; 0 if nothing is remembered."""
        return past_size(self.n_past, self.n_channels, self.n_heard)


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


class Transform(Protocol):
    """A real FFT of one row; scaled like numpy's."""

    def rfft(self, x: NDArray[Any]) -> NDArray[Any]:
        """Transform (n_fft,) float to (n_bins,) complex."""

    def irfft(self, X: NDArray[Any]) -> NDArray[Any]:
        """Transform (n_bins,) complex to (n_fft,) float."""


class NumpyTransform:
    """numpy.fft, always in double: numpy 1 and 2 give the same bits."""

    def __init__(self, n_fft: int) -> None:
        self.n_fft = n_fft

    def rfft(self, x: NDArray[Any]) -> NDArray[Any]:
        """See Transform."""
        X: NDArray[np.complex128] = np.fft.rfft(x.astype(np.float64))
        return X

    def irfft(self, X: NDArray[Any]) -> NDArray[Any]:
        """See Transform."""
        x: NDArray[np.float64] = np.fft.irfft(X.astype(np.complex128), self.n_fft)
        return x


class FftwTransform:
    """FFTW through pyfftw, single precision, in buffers of its own.

    Planned with ESTIMATE: MEASURE may choose another algorithm in the next
    process, and then the same song would not give the same bits.
    """

    def __init__(self, n_fft: int) -> None:
        import pyfftw  # GPL or paid: loaded only by who asks for it

        self._x: NDArray[Any] = pyfftw.empty_aligned(n_fft, "float32")
        self._X: NDArray[Any] = pyfftw.empty_aligned(n_fft // 2 + 1, "complex64")
        flags = ("FFTW_ESTIMATE",)
        self._forward = pyfftw.FFTW(self._x, self._X, flags=flags)
        self._backward = pyfftw.FFTW(
            self._X, self._x, direction="FFTW_BACKWARD", flags=flags
        )
        self._scale = np.float32(1.0 / n_fft)

    def rfft(self, x: NDArray[Any]) -> NDArray[Any]:
        """See Transform; the result lasts until the next call."""
        self._x[:] = x
        self._forward.execute()
        return self._X

    def irfft(self, X: NDArray[Any]) -> NDArray[Any]:
        """See Transform; the result lasts until the next call."""
        self._X[:] = X
        self._backward.execute()
        self._x *= self._scale
        return self._x


class ArrayStages:
    """All stages around any transform, one frame at a time."""

    def __init__(self, tables: Tables, transform: Transform) -> None:
        self.tables = t = tables
        self.transform = transform
        edges = np.minimum(t.band_edges, t.n_bins)
        self.width = np.diff(edges)
        self.start = edges[:-1][self.width > 0]
        self.thresholds = np.where(
            t.thresholds > 0, np.maximum(t.thresholds, LEAST_POWER), t.thresholds
        ).astype(np.float32)
        bins = np.arange(t.n_bins)
        # Rows of the gains: the bands, then the top, then the bottom.
        self.band_of_bin = np.searchsorted(t.band_edges, bins, side="right") - 1
        self.band_of_bin[bins < t.band_edges[0]] = t.n_bands + 1

    def analyse(
        self,
        x: NDArray[np.float32],
        gain: float,
        X: NDArray[np.complex64],
        features: NDArray[np.int8] | None,
    ) -> None:
        """See Spectral.analyse."""
        t = self.tables
        with np.errstate(over="ignore", invalid="ignore"):
            for k in range(len(X)):
                for c in range(t.n_channels):
                    frame = x[k * t.hop : k * t.hop + t.n_fft, c]
                    X[k, c] = self.transform.rfft(frame * t.analysis_window)
        if features is not None:
            self.features(X, gain, features)

    def features(
        self, X: NDArray[np.complex64], gain: float, features: NDArray[np.int8]
    ) -> None:
        """See Spectral.features."""
        with np.errstate(over="ignore", invalid="ignore"):
            for spectrum, codes in zip(X, features, strict=True):
                self._codes(spectrum, gain, codes)

    def _codes(
        self, X: NDArray[np.complex64], gain: float, out: NDArray[np.int8]
    ) -> None:
        """Features (n_bands, n_features) of one frame (n_channels, n_bins)."""
        left, right = X[0], X[-1]
        for f, side in enumerate((left, right, left - right)[: out.shape[1]]):
            power = (self._band_power(side) * (gain * gain)).astype(np.float32)
            power = np.nan_to_num(power, nan=0.0, posinf=LARGEST)
            out[:, f] = np.searchsorted(self.thresholds, power, side="right") - 128

    def magnitudes(
        self, X: NDArray[np.complex64], gain: float, magnitudes: NDArray[np.float32]
    ) -> None:
        """See Spectral.magnitudes."""
        with np.errstate(over="ignore", invalid="ignore"):
            for spectrum, out in zip(X, magnitudes, strict=True):
                left, right = spectrum[0], spectrum[-1]
                for f, side in enumerate((left, right, left - right)[: out.shape[1]]):
                    power = np.nan_to_num(self._band_power(side) * (gain * gain))
                    out[:, f] = np.minimum(np.sqrt(power), MOST_MAGNITUDE)

    def _band_power(self, X: NDArray[np.complex64]) -> NDArray[np.float64]:
        """Mean power of each band's existing bins."""
        power = power_of(X)
        out = np.zeros(self.tables.n_bands)
        is_there = self.width > 0
        if is_there.any():
            sums = np.add.reduceat(power[: self.tables.n_heard], self.start)
            out[is_there] = sums / self.width[is_there]
        return out

    def synthesise(
        self,
        mask: NDArray[np.int8],
        X: NDArray[np.complex64],
        tail: NDArray[np.float32],
        y: NDArray[np.float32],
        covariance: NDArray[np.float32] | None,
        past: NDArray[np.float32] | None,
        doubt: NDArray[np.float32] | None,
        panorama: NDArray[np.float32] | None,
    ) -> None:
        """See Spectral.synthesise."""
        t, n_tail = self.tables, self.tables.n_synthesis - self.tables.hop
        overlap = np.zeros((t.n_synthesis, t.n_channels), np.float32)
        overlap[:n_tail] = tail
        by_place = None
        if covariance is not None and t.n_channels == 2:
            by_place = WienerFilter(t.decay, covariance)
        learners = self._learners(past, doubt, panorama)
        for k in range(len(X)):
            gains: NDArray[Any] = self._gains(mask[k]).T
            for learner in learners:
                gains = learner(gains, X[k])
            vocals = by_place(gains, X[k]) if by_place else gains * X[k]
            for c in range(t.n_channels):
                frame = self.transform.irfft(vocals[c])
                part = frame[t.n_fft - t.n_synthesis :] * t.synthesis_window
                overlap[:, c] += part.astype(np.float32)
            y[k * t.hop : (k + 1) * t.hop] = overlap[: t.hop]
            overlap[:n_tail] = overlap[t.hop :]
            overlap[n_tail:] = 0.0
        tail[:] = overlap[:n_tail]

    def _learners(
        self,
        past: NDArray[np.float32] | None,
        doubt: NDArray[np.float32] | None,
        panorama: NDArray[np.float32] | None,
    ) -> list[Softness | Panorama | Repetition]:
        """Return what changes gains by what the stream was so far, in order."""
        t = self.tables
        found: list[Softness | Panorama | Repetition] = []
        if doubt is not None:
            found.append(Softness(t.softness, t.n_heard, t.decay, doubt))
        if panorama is not None and t.n_channels == 2:
            found.append(Panorama(t.n_heard, t.decay, panorama))
        if past is not None and t.n_past:
            found.append(Repetition(t.n_past, t.n_heard, t.decay, past, t.n_channels))
        return found

    def _gains(self, mask: NDArray[np.int8]) -> NDArray[np.float32]:
        """Gain of each bin and channel."""
        t = self.tables
        gains = np.zeros((t.n_bands + 2, 2), np.float32)
        gains[:-2] = t.mask_table[mask.astype(np.intp) + 128]
        if t.top_bands:
            gains[-2] = gains[t.n_bands - t.top_bands : t.n_bands].mean(axis=0)
        if t.n_channels == 1:
            gains = gains.mean(axis=1, keepdims=True)
        expanded: NDArray[np.float32] = gains[self.band_of_bin]
        return expanded

    def energy(self, x: NDArray[np.float32]) -> float:
        """See Spectral.energy."""
        values = x.reshape(-1)
        n_whole = values.size // LANES * LANES
        with np.errstate(over="ignore", invalid="ignore"):
            squares = values[:n_whole].astype(np.float64).reshape(-1, LANES) ** 2
            acc = np.add.reduce(squares, axis=0)
            rest = values[n_whole:].astype(np.float64)
            acc[: rest.size] += rest * rest
            while acc.size > 1:
                acc = acc[: acc.size // 2] + acc[acc.size // 2 :]
        return float(acc[0])
