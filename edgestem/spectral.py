"""From samples to int8 band features, and from an int8 mask back to samples.

The one idea: a short-time Fourier transform whose two ends are fused with what
the model needs.  *Analysis* is window, real FFT, band powers and quantisation;
*synthesis* is mask table, band expansion, inverse FFT and overlap-add.  Three
back ends give the same answer: `native` (the C kernel), `fftw` (pyfftw) and
`numpy` (the oracle and last resort).  Only this module knows `_native`.

Shapes: samples x (n_samples, n_channels) float32, spectrum X (n_frames,
n_channels, n_bins) complex64, features (n_frames, n_bands, n_features) int8,
mask (n_frames, n_bands, 2) int8.  Frame k covers the samples [k * hop,
k * hop + n_fft).  Every frame is computed alone and in one fixed order, so
results do not depend, to the bit, on how frames are grouped into calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

N_THRESHOLDS = 255  # between the 256 values of an int8
MIN_FFT, MAX_FFT = 16, 1 << 20  # what the kernel supports
LANES = 8  # accumulators of energy(): part of its definition, see there
_BIGGEST = float(np.finfo(np.float32).max)  # power that infinity counts as


def available_backends() -> tuple[str, ...]:
    """Name the back ends that work here, the preferred one first."""
    return ("numpy",)


def simd_name() -> str:
    """Name the instruction set the native back end uses, or "none"."""
    return "none"


def is_supported_size(n_fft: int) -> bool:
    """Say whether `n_fft` is 2^a 3^b 5^c, divisible by 4 and in range."""
    if n_fft % 4 or not MIN_FFT <= n_fft <= MAX_FFT:
        return False
    for prime in (2, 3, 5):
        while n_fft % prime == 0:
            n_fft //= prime
    return n_fft == 1


def good_size(n: float, *, multiple: int = 4) -> int:
    """Find the FFT size nearest to `n`; of two equally near, the larger.

    Parameters
    ----------
    n : float
        Wished number of samples, within the supported range.
    multiple : int
        A multiple of 4 that the size must be a multiple of.  Multiples of 128
        run at full speed for mono and stereo on every instruction set.

    Examples
    --------
    >>> good_size(48000 / 44100 * 4096)
    4500
    >>> good_size(48000 / 44100 * 4096, multiple=128)
    4608
    """
    start = round(n / multiple)
    for distance in range(MAX_FFT // multiple):
        near = [multiple * (start + d) for d in (distance, -distance)]
        hits = [m for m in near if m > 0 and is_supported_size(m)]
        if hits:
            return min(hits, key=lambda m: (abs(m - n), -m))
    raise ValueError(f"n: expected a size near {MIN_FFT} to {MAX_FFT}, got {n}")


def hann_pair(n_fft: int, hop: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Make an analysis and a synthesis window that give back the signal.

    Both are periodic Hann windows; the second is divided by the sum of the
    squares of all overlapping windows, so that the product overlap-adds to 1
    for every hop below n_fft / 2 (and for n_fft / 2 itself).
    """
    if not 0 < hop <= n_fft // 2:
        raise ValueError(f"hop: expected 1 to {n_fft // 2} (n_fft / 2), got {hop}")
    w = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)
    overlap = np.zeros(hop)
    np.add.at(overlap, np.arange(n_fft) % hop, w * w)
    s = w / overlap[np.arange(n_fft) % hop]
    return w.astype(np.float32), s.astype(np.float32)


class RealFFT:
    """Real FFT of rows with one of the back ends; scaled like numpy.fft.

    Parameters
    ----------
    n_fft : int
        Row length: 2^a 3^b 5^c, divisible by 4.
    backend : str
        "native", "fftw", "numpy" or "auto".
    """

    def __init__(self, n_fft: int, backend: str = "auto") -> None:
        _require_size(n_fft)
        self.n_fft = n_fft
        self.n_bins = n_fft // 2 + 1
        self.backend = _pick(backend)
        self._transform = _Transform(n_fft)

    def rfft(self, x: NDArray[np.float32]) -> NDArray[np.complex64]:
        """Transform x (n_rows, n_fft) float32 to (n_rows, n_bins) complex64."""
        _check("x", x, np.float32, (len(x), self.n_fft))
        X = np.empty((len(x), self.n_bins), np.complex64)
        for row, spectrum in zip(x, X, strict=True):
            spectrum[:] = self._transform.rfft(row)
        return X

    def irfft(self, X: NDArray[np.complex64]) -> NDArray[np.float32]:
        """Transform X (n_rows, n_bins) complex64 to (n_rows, n_fft) float32."""
        _check("X", X, np.complex64, (len(X), self.n_bins))
        x = np.empty((len(X), self.n_fft), np.float32)
        for spectrum, row in zip(X, x, strict=True):
            row[:] = self._transform.irfft(spectrum)
        return x


class Spectral:
    """Fused STFT analysis and synthesis around an int8 model.

    One object belongs to one thread at a time; objects share nothing.

    Parameters
    ----------
    n_fft, hop : int
        Frame length (2^a 3^b 5^c, divisible by 4) and distance in samples.
    n_channels : int
        Audio channels, 1 or 2.
    analysis_window, synthesis_window : shape (n_fft,), float32
        Their product must overlap-add to 1 at `hop`; see `hann_pair`.
    band_edges : shape (n_bands + 1,), int32, increasing
        Band b averages the bins band_edges[b] to band_edges[b + 1] - 1.  Bins
        from n_bins on do not exist: a band takes the mean of those of its bins
        that do, and has power 0 without any.
    n_features : int
        2: |L|, |R|; 3: |L|, |R|, |L - R|.  Mono audio is L and R at once.
    thresholds : shape (255,), float32, not decreasing
        The quantiser: a feature is -128 plus the number of thresholds that are
        <= band power * gain^2.  Two neighbours above 0 differ by 0.2 % or more
        (or are infinite, which no power reaches).
    mask_table : shape (256,), float32, 0…1
        Gain of mask code q at index q + 128.
    top_bands : int
        Bins from band_edges[-1] on get the mean gain of that many last bands,
        0 if it is 0.  Bins below band_edges[0] get 0.
    backend : str
        "native", "fftw", "numpy", or "auto": native where it is built.

    Attributes
    ----------
    n_bins : int
        n_fft // 2 + 1.
    backend, simd : str
        What computes: the back end, and its instruction set or "none".
    """

    def __init__(
        self,
        *,
        n_fft: int,
        hop: int,
        n_channels: int,
        analysis_window: ArrayLike,
        synthesis_window: ArrayLike,
        band_edges: ArrayLike,
        n_features: int,
        thresholds: ArrayLike,
        mask_table: ArrayLike,
        top_bands: int = 0,
        backend: str = "auto",
    ) -> None:
        self._tables = t = _Tables(
            n_fft=n_fft,
            hop=hop,
            n_channels=n_channels,
            n_features=n_features,
            top_bands=top_bands,
            analysis_window=_table("analysis_window", analysis_window, n_fft),
            synthesis_window=_table("synthesis_window", synthesis_window, n_fft),
            band_edges=np.ascontiguousarray(band_edges, np.int32),
            thresholds=_table("thresholds", thresholds, N_THRESHOLDS),
            mask_table=_table("mask_table", mask_table, 256),
        )
        self.n_fft, self.hop, self.n_channels = n_fft, hop, n_channels
        self.n_bins, self.n_bands, self.n_features = t.n_bins, t.n_bands, n_features
        self.backend = _pick(backend)
        self.simd = simd_name() if self.backend == "native" else "none"
        self._engine = _Arrays(t, _Transform(n_fft))

    def analyse(
        self,
        x: NDArray[np.float32],
        gain: float,
        X: NDArray[np.complex64],
        features: NDArray[np.int8],
    ) -> None:
        """Compute the spectrum and the features of X.shape[0] frames.

        Parameters
        ----------
        x : shape ((n_frames - 1) * hop + n_fft, n_channels), float32
            Samples.
        gain : float
            Linear, finite; the features see power * gain^2.  X is not scaled.
        X : shape (n_frames, n_channels, n_bins), complex64
            Written: the unscaled rFFT of the windowed frames.
        features : shape (n_frames, n_bands, n_features), int8
            Written.

        Raises
        ------
        TypeError, ValueError
            An array is of the wrong dtype, shape or layout; nothing is written.
        """
        t, n_frames = self._tables, len(X)
        n_samples = (n_frames - 1) * t.hop + t.n_fft
        _check("X", X, np.complex64, (n_frames, t.n_channels, t.n_bins), out=True)
        _check("x", x, np.float32, (n_samples, t.n_channels))
        shape = (n_frames, t.n_bands, t.n_features)
        _check("features", features, np.int8, shape, out=True)
        self._engine.analyse(x, gain, X, features)

    def synthesise(
        self,
        mask: NDArray[np.int8],
        X: NDArray[np.complex64],
        tail: NDArray[np.float32],
        y: NDArray[np.float32],
    ) -> None:
        """Add n_frames masked frames to the overlap and give out what is done.

        Parameters
        ----------
        mask : shape (n_frames, n_bands, 2), int8
            Codes for L and R; mono audio takes the mean of both gains.
        X : shape (n_frames, n_channels, n_bins), complex64
            What `analyse` gave; not changed.
        tail : shape (n_fft - hop, n_channels), float32
            Overlap-add state, read and written; zeros at the start.
        y : shape (n_frames * hop, n_channels), float32
            Written.  Hop k holds the samples [k * hop, (k + 1) * hop) of the
            signal whose frame k is X[k].

        Raises
        ------
        TypeError, ValueError
            An array is of the wrong dtype, shape or layout; nothing is written.
        """
        t, n_frames = self._tables, len(X)
        _check("X", X, np.complex64, (n_frames, t.n_channels, t.n_bins))
        _check("mask", mask, np.int8, (n_frames, t.n_bands, 2))
        shape = (t.n_fft - t.hop, t.n_channels)
        _check("tail", tail, np.float32, shape, out=True)
        shape = (n_frames * t.hop, t.n_channels)
        _check("y", y, np.float32, shape, out=True)
        self._engine.synthesise(mask, X, tail, y)

    def energy(self, x: NDArray[np.float32]) -> float:
        """Sum the squares of all values of `x`, the same on every back end.

        The order is part of the definition: eight accumulators in double take
        the values round-robin and are then added in pairs.
        """
        _check("x", x, np.float32, (len(x), self.n_channels))
        return self._engine.energy(x)


@dataclass(frozen=True, slots=True)
class _Tables:
    """Checked constants of a Spectral; see its docstring."""

    n_fft: int
    hop: int
    n_channels: int
    n_features: int
    top_bands: int
    analysis_window: NDArray[np.float32]
    synthesis_window: NDArray[np.float32]
    band_edges: NDArray[np.int32]
    thresholds: NDArray[np.float32]
    mask_table: NDArray[np.float32]

    def __post_init__(self) -> None:
        _require_size(self.n_fft)
        edges, n_bands = self.band_edges, self.band_edges.size - 1
        _require("hop", self.hop, 1, self.n_fft)
        _require("n_channels", self.n_channels, 1, 2)
        _require("n_features", self.n_features, 2, 3)
        if edges.ndim != 1 or n_bands < 1 or edges[0] < 0 or np.any(np.diff(edges) < 1):
            raise ValueError("band_edges: expected 2 or more increasing bin numbers")
        _require("top_bands", self.top_bands, 0, n_bands)
        _require_spread(self.thresholds)

    @property
    def n_bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def n_bands(self) -> int:
        return self.band_edges.size - 1


class _Transform:
    """Real FFT of one row in double: numpy, the oracle."""

    def __init__(self, n_fft: int) -> None:
        self.n_fft = n_fft

    def rfft(self, x: NDArray[Any]) -> NDArray[Any]:
        return np.fft.rfft(x.astype(np.float64))

    def irfft(self, X: NDArray[Any]) -> NDArray[Any]:
        return np.fft.irfft(X.astype(np.complex128), self.n_fft)


class _Arrays:
    """The stages in numpy, one frame at a time, around any transform."""

    def __init__(self, tables: _Tables, transform: _Transform) -> None:
        self.tables, self.transform = t, _ = tables, transform
        edges = np.minimum(t.band_edges, t.n_bins)
        self.width = np.diff(edges)
        self.start = edges[:-1][self.width > 0]
        bins = np.arange(t.n_bins)
        # Gains of the bands, then of the top, then of the bottom (always 0).
        self.band_of_bin = np.searchsorted(t.band_edges, bins, side="right") - 1
        self.band_of_bin[bins < t.band_edges[0]] = t.n_bands + 1

    def analyse(
        self,
        x: NDArray[np.float32],
        gain: float,
        X: NDArray[np.complex64],
        features: NDArray[np.int8],
    ) -> None:
        t = self.tables
        window = t.analysis_window
        for k in range(len(X)):
            for c in range(t.n_channels):
                frame = x[k * t.hop : k * t.hop + t.n_fft, c]
                X[k, c] = self.transform.rfft(frame * window)
            sides = [X[k, 0], X[k, -1], X[k, 0] - X[k, -1]]
            for f in range(t.n_features):
                features[k, :, f] = self._quantise(self._powers(sides[f]), gain)

    def _powers(self, X: NDArray[np.complex64]) -> NDArray[np.float64]:
        """Mean power of each band's existing bins."""
        power = X.real.astype(np.float64) ** 2 + X.imag.astype(np.float64) ** 2
        out = np.zeros(self.tables.n_bands)
        is_there = self.width > 0
        if is_there.any():
            stop = min(int(self.tables.band_edges[-1]), self.tables.n_bins)
            sums = np.add.reduceat(power[:stop], self.start)
            out[is_there] = sums / self.width[is_there]
        return out

    def _quantise(self, power: NDArray[np.float64], gain: float) -> NDArray[np.int64]:
        """Count thresholds; NaN counts as no power, infinity as the most."""
        power = np.nan_to_num(power * (gain * gain), nan=0.0, posinf=_BIGGEST)
        power = np.minimum(power, _BIGGEST)
        return np.searchsorted(self.tables.thresholds, power, side="right") - 128

    def synthesise(
        self,
        mask: NDArray[np.int8],
        X: NDArray[np.complex64],
        tail: NDArray[np.float32],
        y: NDArray[np.float32],
    ) -> None:
        t = self.tables
        overlap = np.zeros((t.n_fft, t.n_channels), np.float32)
        overlap[: t.n_fft - t.hop] = tail
        for k in range(len(X)):
            gains = self._gains(mask[k])
            for c in range(t.n_channels):
                frame = self.transform.irfft(gains[:, c] * X[k, c])
                overlap[:, c] += (frame * t.synthesis_window).astype(np.float32)
            y[k * t.hop : (k + 1) * t.hop] = overlap[: t.hop]
            overlap[: t.n_fft - t.hop] = overlap[t.hop :]
            overlap[t.n_fft - t.hop :] = 0.0
        tail[:] = overlap[: t.n_fft - t.hop]

    def _gains(self, mask: NDArray[np.int8]) -> NDArray[np.float32]:
        """Gain of each bin and channel."""
        t = self.tables
        gains = np.zeros((t.n_bands + 2, 2), np.float32)
        gains[:-2] = t.mask_table[mask.astype(np.intp) + 128]
        if t.top_bands:
            gains[-2] = gains[t.n_bands - t.top_bands : t.n_bands].mean(axis=0)
        if t.n_channels == 1:
            gains = gains.mean(axis=1, keepdims=True)
        return gains[self.band_of_bin]

    def energy(self, x: NDArray[np.float32]) -> float:
        values = x.reshape(-1)
        n_whole = values.size // LANES * LANES
        squares = values[:n_whole].astype(np.float64).reshape(-1, LANES) ** 2
        acc = np.add.reduce(squares, axis=0)
        rest = values[n_whole:].astype(np.float64)
        acc[: rest.size] += rest * rest
        while acc.size > 1:
            acc = acc[: acc.size // 2] + acc[acc.size // 2 :]
        return float(acc[0])


def _pick(backend: str) -> str:
    """Resolve "auto" and refuse what is not there."""
    names = available_backends()
    if backend == "auto":
        return names[0]
    if backend not in names:
        raise ValueError(f"backend: expected auto or one of {names}, got {backend!r}")
    return backend


def _table(name: str, values: ArrayLike, size: int) -> NDArray[np.float32]:
    """Copy a table of constants, checked."""
    table = np.array(values, np.float32)
    if table.shape != (size,):
        raise ValueError(f"{name}: expected shape ({size},), got {table.shape}")
    if name != "thresholds" and not np.isfinite(table).all():
        raise ValueError(f"{name}: expected finite values")
    return table


def _require(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}: expected {low} to {high}, got {value}")


def _require_size(n_fft: int) -> None:
    if not is_supported_size(n_fft):
        raise ValueError(
            f"n_fft: expected 2^a 3^b 5^c, divisible by 4, {MIN_FFT} to {MAX_FFT}, "
            f"got {n_fft}"
        )


def _require_spread(thresholds: NDArray[np.float32]) -> None:
    """The kernel finds a code by one table look-up, so steps have a least size."""
    values = thresholds[np.isfinite(thresholds) & (thresholds > 0)]
    if np.isnan(thresholds).any() or np.any(thresholds[1:] < thresholds[:-1]):
        raise ValueError("thresholds: expected numbers that do not decrease")
    if np.any(values[1:] < values[:-1] * np.float32(1.002)):
        raise ValueError("thresholds: expected steps of 0.2 % or more above 0")


def _check(
    name: str, a: NDArray[Any], dtype: type, shape: tuple[int, ...], out: bool = False
) -> None:
    """Refuse an array that the back ends would misread."""
    if not isinstance(a, np.ndarray) or a.dtype != dtype:
        got = getattr(a, "dtype", type(a).__name__)
        raise TypeError(f"{name}: expected {np.dtype(dtype)} {shape}, got {got}")
    if a.shape != shape:
        raise ValueError(f"{name}: expected {np.dtype(dtype)} {shape}, got {a.shape}")
    if not a.flags.c_contiguous or (out and not a.flags.writeable):
        raise ValueError(f"{name}: expected a writable C-contiguous array")
