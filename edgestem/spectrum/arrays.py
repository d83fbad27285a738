"""The spectrogram stages in numpy.

This is the oracle of the C kernel and the last resort where it is not built;
with FFTW in place of numpy's transform it is the `fftw` back end.  See
`spectral` for the meaning and the shapes of everything here, and `learners` for
what gains and places learn from the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgestem.spectrum.learners import (
    LANES,
    Directions,
    Repetition,
    WienerFilter,
    power_of,
)
from edgestem.spectrum.memory import Memory
from edgestem.spectrum.tables import LARGEST, LEAST_POWER, MOST_MAGNITUDE, Tables


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


# By back end; each takes n_fft.
TRANSFORMS: dict[str, Callable[[int], Transform]] = {
    "fftw": FftwTransform,
    "numpy": NumpyTransform,
}


class _Held(NamedTuple):
    """A memory as this back end uses it."""

    tail: NDArray[np.float32]
    learners: tuple[Directions | Repetition, ...]
    """What changes gains by what the stream was so far, in order."""
    by_place: WienerFilter | None


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

    def hold(self, memory: Memory) -> _Held:
        """Make what reads and writes a memory, once for all calls."""
        t, m = self.tables, memory
        learners: list[Directions | Repetition] = []
        if m.directions is not None and t.n_channels == 2:
            learners.append(Directions(t.n_heard, t.decay, m.directions))
        if m.repetition is not None and t.n_past:
            learners.append(
                Repetition(t.n_past, t.n_heard, t.decay, m.repetition, t.n_channels)
            )
        by_place = None
        if m.places is not None and t.n_channels == 2:
            by_place = WienerFilter(t.decay, m.places)
        return _Held(m.tail, tuple(learners), by_place)

    def synthesise(
        self,
        mask: NDArray[np.int8],
        X: NDArray[np.complex64],
        held: _Held,
        y: NDArray[np.float32],
    ) -> None:
        """See Spectral.synthesise."""
        t, n_tail = self.tables, self.tables.n_synthesis - self.tables.hop
        overlap = np.zeros((t.n_synthesis, t.n_channels), np.float32)
        overlap[:n_tail] = held.tail
        for k in range(len(X)):
            gains: NDArray[Any] = self._gains(mask[k]).T
            for learner in held.learners:
                gains = learner(gains, X[k])
            vocals = held.by_place(gains, X[k]) if held.by_place else gains * X[k]
            for c in range(t.n_channels):
                frame = self.transform.irfft(vocals[c])
                part = frame[t.n_fft - t.n_synthesis :] * t.synthesis_window
                overlap[:, c] += part.astype(np.float32)
            y[k * t.hop : (k + 1) * t.hop] = overlap[: t.hop]
            overlap[:n_tail] = overlap[t.hop :]
            overlap[n_tail:] = 0.0
        held.tail[:] = overlap[:n_tail]

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
