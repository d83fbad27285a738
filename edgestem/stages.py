"""The spectrogram stages in numpy, and the checked constants all back ends share.

This is the oracle of the C kernel and the last resort where it is not built;
with FFTW in place of numpy's transform it is the `fftw` back end.  See
`spectral` for the meaning and the shapes of everything here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_THRESHOLDS = 255  # between the 256 values of an int8
MIN_FFT, MAX_FFT = 16, 1 << 20  # what the kernel supports
MAX_BANDS = 1 << 20
LANES = 8  # accumulators of energy(): part of its definition
MIN_STEP = np.float32(1.002)  # of thresholds: the kernel looks codes up in one step
LEAST_POWER = np.float32(2.0**-125)  # thresholds above 0 are at least this
EVERYWHERE = 0.01  # uncorrelated power beside a covariance's
LOUDEST, FAINTEST = 2.0**60, 2.0**-80  # of what leaves a trace in a covariance
LARGEST = float(np.finfo(np.float32).max)  # what an infinite power's code is of
MAX_PAST = 1 << 16  # frames
PAST_HEAD = 8  # floats: frames kept, next row, weight of the sums
ALIKE = 0.4  # the least cosine that counts
MOST_ALIKE = 16  # frames that are averaged
MOST_POWER = 2.0**96  # of a bin; sums of it stay finite
REGION_ENDS = (8, 16, 32, 64, 128, 256)  # bins; the last region has no end
N_REGIONS = 7
DOUBT_SIZE = 2 * N_REGIONS + 1  # undecided and at most, by region; vocals
LEAST_REST = 1 / 512  # half a step of a mask's codes
N_SIDES, N_TURNS = 9, 6  # steps from left to right, from in phase to out of phase
SIDE_STEPS = np.sin(np.arange(1, N_SIDES) * np.pi / (2 * N_SIDES)) ** 2
TURN_STEPS = np.cos(np.arange(1, N_TURNS) * np.pi / N_TURNS)
N_CELLS = N_SIDES * N_TURNS  # directions
PANORAMA_SIZE = 2 * N_REGIONS * N_CELLS  # weight and vocals of every cell, by region
PRIOR = 0.05  # weight of a region's mean beside that of all its cells
LEAST_ODDS = 0.02  # what is known of a direction is never sure


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


def past_size(n_past: int, n_channels: int, n_heard: int) -> int:
    """Count the floats of a Repetition's state."""
    if not n_past:
        return 0
    profile, row = _row_sizes(n_channels, n_heard)
    return PAST_HEAD + profile + n_past * (1 + row)


def _row_sizes(n_channels: int, n_heard: int) -> tuple[int, int]:
    """Floats of a profile, and of a frame with its profile."""
    profile = _in_lanes(len(profile_edges(n_heard)) - 1)
    return profile, profile + n_channels * _in_lanes(n_heard + LANES)


def profile_edges(n_heard: int) -> NDArray[np.int32]:
    """Bins where the values of a profile begin, and the end of the last."""
    edges = [1]
    while edges[-1] < n_heard:
        edges.append(min(edges[-1] + 1 + edges[-1] // 16, n_heard))
    return np.array(edges, np.int32)


def _in_lanes(n: int) -> int:
    return -(-n // LANES) * LANES


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


class WienerFilter:
    """Vocals of stereo by gain and by place, one frame after the other.

    A gain knows how much of a bin is vocals; the covariance of both channels over
    the last seconds knows from where vocals come, and from where the rest.  For a bin
    x = (L, R), g its gains' mean weighted by power:

        C_v <- decay C_v + g^3 x x^H / |x|,  C_r <- decay C_r + (1 - g)^3 x x^H / |x|
        vocals = g R_v (g R_v + (1 - g) R_r)^-1 x

    R_v and R_r being C_v and C_r at mean power 1, plus 1 % of uncorrelated power;
    |x| is the sum of the magnitudes of the real and imaginary parts.  Where both come
    from the same places that is g x.  The filter: Duong, Vincent and Gribonval,
    "Under-determined reverberant audio source separation using a full-rank spatial
    covariance model", IEEE Transactions on Audio, Speech, and Language Processing
    18(7), 2010; its covariances here come from gains and follow the stream.

    Parameters
    ----------
    decay : float
        0 to below 1.
    covariance : shape (2, 4, n_bins), float
        State, updated in place: for vocals and for the rest C_LL, C_RR and the real
        and the imaginary part of C_LR.
    """

    def __init__(self, decay: float, covariance: NDArray[Any]) -> None:
        self.decay, self.covariance = decay, covariance

    def __call__(
        self, gains: NDArray[Any], X: NDArray[np.complex64]
    ) -> NDArray[np.complex128]:
        """Gains (2, n_bins) 0..1 and a frame X (2, n_bins) -> its vocals."""
        power = _power(X)
        heard = np.sum(gains * power, axis=0) / (np.sum(power, axis=0) + FAINTEST)
        gain = np.clip(np.nan_to_num(heard, nan=0.0), 0.0, 1.0)
        weights = np.stack([gain, 1 - gain])
        covariance = self.decay * self.covariance
        covariance += weights[:, None] ** 3 * _covariance_of(X)
        self.covariance[:] = covariance
        mean = covariance[:, :2].mean(axis=1, keepdims=True) + FAINTEST
        places = covariance / mean
        places[:, :2] += EVERYWHERE
        vocals, rest = places * weights[:, None]
        ll, rr, re, im = vocals + rest
        c = re + 1j * im
        left, right = X.astype(np.complex128)
        scale = 1 / (ll * rr - re * re - im * im)
        y_left = scale * (rr * left - c * right)
        y_right = scale * (ll * right - np.conj(c) * left)
        ll, rr, re, im = vocals
        c = re + 1j * im
        return np.stack([ll * y_left + c * y_right, np.conj(c) * y_left + rr * y_right])


def softer(g: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gains 0 to 1 as soft as they may become."""
    vocals, rest = np.sqrt(g), np.sqrt(np.maximum(1 - g, LEAST_REST))
    return np.asarray(vocals / (vocals + rest))


class Softness:
    """Gains that are softer where the masks of this stream are often undecided.

    Songs differ in how far their masks can be trusted, and the masks themselves tell:
    where one often says one half, it is too sure of itself elsewhere too.  The
    definition is that of es_synthesise in native/edgestem.h; what the weights are
    worth, and that they hold for songs they were not chosen on, is in
    models/EXPERIMENTS.md (tenth campaign).

    Parameters
    ----------
    weights : shape (3,)
        Of what `told` returns.
    n_heard : int
        Bins that count, from bin 0.
    decay : float
        0 to below 1: what a frame leaves of the sums before.
    doubt : shape (DOUBT_SIZE,), float
        State, updated in place.
    """

    def __init__(
        self,
        weights: ArrayLike,
        n_heard: int,
        decay: float,
        doubt: NDArray[Any],
    ) -> None:
        self.weights, self.n_heard = np.asarray(weights, np.float64), n_heard
        self.decay, self.doubt = decay, doubt
        self.starts = [0, *(end for end in REGION_ENDS if end < n_heard)]

    def __call__(
        self, gains: NDArray[Any], X: NDArray[np.complex64]
    ) -> NDArray[np.float64]:
        """Gains (n_channels, n_bins) and a frame X of that shape -> its gains."""
        g = np.clip(gains.astype(np.float64), 0.0, 1.0)
        self.count(g[:, : self.n_heard], finite_power(X[:, : self.n_heard]))
        return np.asarray(g + self._share(g.shape[1]) * (softer(g) - g))

    def count(self, g: NDArray[Any], power: NDArray[Any]) -> None:
        """Add what one frame leaves undecided, at least and at most, and its vocals."""
        self.doubt *= self.decay
        undecided, most = g * (1 - g) * power, np.minimum(g, 1 - g) * power
        n = len(self.starts)
        for at, part in ((0, undecided), (N_REGIONS, most)):
            sums = np.add.reduceat(part.sum(axis=0), self.starts)
            self.doubt[at : at + n] += sums
        self.doubt[-1] += (g * power).sum()

    def told(self) -> NDArray[np.float64]:
        """Say how soft gains should become, (N_REGIONS, 3).

        1, how little is undecided in the region, and how much is in all.
        """
        undecided, most = np.split(self.doubt[:-1].astype(np.float64), 2)
        sharp = np.divide(undecided, most, out=np.ones(N_REGIONS), where=most > 0)
        vocals = float(self.doubt[-1])
        share = (undecided.sum() / vocals) ** 0.25 if vocals > 0 else 0.0
        return np.stack([np.ones(N_REGIONS), sharp, np.full(N_REGIONS, share)], axis=1)

    def _share(self, n_bins: int) -> NDArray[np.float64]:
        """How soft each bin's gain becomes, 0 to 1; the last region goes on."""
        t = np.clip(self.told() @ self.weights, 0.0, 1.0)
        at = np.searchsorted(self.starts, np.arange(n_bins), side="right") - 1
        return np.asarray(t[at])


class Panorama:
    """Gains that learn from which direction vocals come, one frame after the other.

    A voice stands somewhere between left and right; the network sees where each bin
    lies, but not where this stream's vocals have lain so far.  The definition is that
    of es_synthesise in native/edgestem.h: directions are cells of level and phase
    between the channels, as in Yilmaz and Rickard, "Blind separation of speech
    mixtures via time-frequency masking", IEEE Transactions on Signal Processing 52(7),
    2004, and what a cell's gains were so far changes the odds of those of now, as a
    piece of evidence that the mask has not seen.  That its odds count to the power 1.5
    is measured (models/EXPERIMENTS.md, fifteenth campaign).

    Parameters
    ----------
    n_heard : int
        Bins that take part, from bin 0.
    decay : float
        0 to below 1: what a frame leaves of the sums before.
    panorama : shape (PANORAMA_SIZE,), float
        State, updated in place.
    """

    def __init__(self, n_heard: int, decay: float, panorama: NDArray[Any]) -> None:
        self.n_heard, self.decay, self.panorama = n_heard, decay, panorama
        region = np.searchsorted(REGION_ENDS, np.arange(n_heard), side="right")
        self.first_cells = N_CELLS * region

    def __call__(
        self, gains: NDArray[Any], X: NDArray[np.complex64]
    ) -> NDArray[np.float64]:
        """Gains (2, n_bins) and a frame X (2, n_bins) -> its gains."""
        n = self.n_heard
        out = gains.astype(np.float64)
        g, power = np.clip(out[:, :n], 0.0, 1.0), finite_power(X[:, :n])
        cells = self.first_cells + self._cells(X[:, :n], power)
        total = power.sum(axis=0)
        heard = np.clip((g * power).sum(axis=0) / (total + FAINTEST), 0.0, 1.0)
        sung = g * self._odds(cells, np.sqrt(total), heard)[cells]
        out[:, :n] = sung / (sung + 1 - g)
        return out

    @staticmethod
    def _cells(X: NDArray[np.complex64], power: NDArray[Any]) -> NDArray[np.intp]:
        """Direction of each bin of a frame (2, n_bins)."""
        share = power[1] / (power.sum(axis=0) + FAINTEST)
        with np.errstate(over="ignore", invalid="ignore"):
            left, right = X.astype(np.complex128)
            cross = left.real * right.real + left.imag * right.imag
            cosine = cross / (np.sqrt(power[0]) * np.sqrt(power[1]) + FAINTEST)
            turn = np.sum(cosine[:, None] <= TURN_STEPS, axis=1)
        side = np.searchsorted(SIDE_STEPS, share, side="right")
        return np.asarray(N_TURNS * side + turn)

    def _odds(
        self, cells: NDArray[np.intp], weights: NDArray[Any], heard: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Odds^1.5 of each cell, of all regions, after it has met a frame's bins."""
        sums = self.panorama.reshape(2, -1)
        sums *= self.decay
        for row, values in zip(sums, (weights, weights * heard), strict=True):
            row += np.bincount(cells, values, len(row))
        total, vocals = sums.astype(np.float64).reshape(2, N_REGIONS, N_CELLS)
        all_total = total.sum(axis=1, keepdims=True)
        all_vocals = vocals.sum(axis=1, keepdims=True)
        is_there = all_total > 0
        mean = np.divide(
            all_vocals, all_total, out=np.full_like(all_total, 0.5), where=is_there
        )
        prior = np.where(is_there, PRIOR / N_CELLS * all_total, 1.0)
        p, m = (
            np.clip(x, LEAST_ODDS, 1 - LEAST_ODDS)
            for x in ((vocals + prior * mean) / (total + prior), mean)
        )
        return np.asarray((p * (1 - m) / ((1 - p) * m)) ** 1.5).reshape(-1)


class Repetition:
    """Gains that learn from what repeats, one frame after the other.

    Accompaniment repeats: chords, bars, loops; vocals above it are others.  So what
    the rest of a frame was in the frames of the past that sound like it, vocals
    aside, says what it is here.  The definition is that of es_synthesise in
    native/edgestem.h.  The idea: Rafii and Pardo, "Music/Voice Separation Using the
    Similarity Matrix", ISMIR 2012; here a network has said what the rest is, and its
    mean replaces their median of mixtures.

    Parameters
    ----------
    n_past : int
        Frames remembered, above 0.
    n_heard : int
        Bins that take part, from bin 0.
    decay : float
        0 to below 1: what a frame leaves of the mean profile's weights.
    past : shape (past_size(n_past, n_channels, n_heard),), float
        State, updated in place.
    n_channels : int
        1 or 2.
    """

    def __init__(
        self,
        n_past: int,
        n_heard: int,
        decay: float,
        past: NDArray[Any],
        n_channels: int = 2,
    ) -> None:
        self.n_past, self.n_heard, self.decay = n_past, n_heard, decay
        profile, row = _row_sizes(n_channels, n_heard)
        self.head, rest = np.split(past, [PAST_HEAD])
        self.sums, _, rows = np.split(rest, [profile, profile + n_past])
        rows = rows.reshape(n_past, row)
        self.profiles = rows[:, :profile]
        self.rests = rows[:, profile:].reshape(n_past, n_channels, -1)
        self.edges = profile_edges(n_heard)

    def __call__(
        self, gains: NDArray[Any], X: NDArray[np.complex64]
    ) -> NDArray[np.float64]:
        """Gains (n_channels, n_bins) 0..1 and a frame X of that shape -> its gains."""
        n = self.n_heard
        power = finite_power(X[:, :n])
        out = gains.astype(np.float64)
        vocals, rest = out[:, :n] * np.sqrt(power), (1 - out[:, :n]) ** 2 * power
        rows, weights = self._recall(self._remember(rest))
        if len(rows):
            total = rest + np.tensordot(weights, self.rests[rows, :, :n], 1)
            rest = np.sqrt(total / (1 + weights.sum()))
            out[:, :n] = vocals / (vocals + rest + FAINTEST)
        return out

    def _remember(self, rest: NDArray[np.float64]) -> int:
        """Write a frame's rest and its profile to the next row; return the row."""
        at = int(self.head[1])
        self.rests[at, :, : rest.shape[1]] = rest
        if len(self.edges) > 1:
            sums = np.add.reduceat(rest.sum(axis=0), self.edges[:-1])
            self.profiles[at, : len(sums)] = sums**0.125
        self.head[1] = (at + 1) % self.n_past
        self.head[0] = min(self.head[0] + 1, self.n_past)
        return at

    def _recall(self, at: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Rows that sound most like row `at`, and their weights."""
        self.sums[:] = self.decay * self.sums + self.profiles[at]
        self.head[2] = self.decay * self.head[2] + 1
        ages = np.arange(1, int(self.head[0]))
        rows = (at - ages) % self.n_past
        mean = self.sums.astype(np.float64) / self.head[2]
        now, then = self.profiles[at] - mean, self.profiles[rows] - mean
        size = np.sqrt((then * then).sum(axis=1) * (now @ now))
        alike = np.divide(then @ now, size, out=np.zeros(len(rows)), where=size > 0)
        near = np.concatenate([[-1.0], alike, [-1.0]])
        is_peak = (alike > ALIKE) & (alike >= near[:-2]) & (alike >= near[2:])
        found = np.flatnonzero(is_peak)
        found = found[np.argsort(-alike[found], kind="stable")[:MOST_ALIKE]]
        return rows[found], (alike[found] - ALIKE) / (1 - ALIKE)


def finite_power(X: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Compute |X|^2 in double; damage counts as silence or as very loud."""
    with np.errstate(over="ignore", invalid="ignore"):
        power = _power(X)
    return np.clip(np.nan_to_num(power, nan=0.0), 0.0, MOST_POWER)


def _power(X: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Compute |X|^2 in double."""
    power: NDArray[np.float64] = X.real.astype(np.float64) ** 2
    power += X.imag.astype(np.float64) ** 2
    return power


def _covariance_of(X: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Four planes of x x^H / |x| of a frame (2, n_bins); damage counts as silence."""
    parts = np.stack([X.real, X.imag]).astype(np.float64)
    parts = np.clip(np.nan_to_num(parts, nan=0.0), -LOUDEST, LOUDEST)
    size = np.abs(parts).sum(axis=(0, 1)) + FAINTEST
    left, right = parts[0] + 1j * parts[1]
    product = left * np.conj(right)
    squares = (np.abs(left) ** 2, np.abs(right) ** 2)
    planes: NDArray[np.float64] = np.stack([*squares, product.real, product.imag])
    planes /= size
    return planes


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
        features: NDArray[np.int8],
    ) -> None:
        """See Spectral.analyse."""
        t = self.tables
        with np.errstate(over="ignore", invalid="ignore"):
            for k in range(len(X)):
                for c in range(t.n_channels):
                    frame = x[k * t.hop : k * t.hop + t.n_fft, c]
                    X[k, c] = self.transform.rfft(frame * t.analysis_window)
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

    def _band_power(self, X: NDArray[np.complex64]) -> NDArray[np.float64]:
        """Mean power of each band's existing bins."""
        power = _power(X)
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
