"""What the stages learn from a stream itself, in numpy: the oracle of the C kernel.

A network's masks are gains of bins; `Directions` and `Repetition` change them
by what this stream was so far, and `WienerFilter` makes vocals of gains by
where vocals and the rest have been.  Each takes one frame after the other and keeps
what it knows in an array of its caller's, which the kernel reads and writes alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LANES = 8  # of the kernel's sums and rows: part of what they are
EVERYWHERE = 0.01  # uncorrelated power beside a covariance's
LOUDEST, FAINTEST = 2.0**60, 2.0**-80  # of what leaves a trace in a covariance
PAST_HEAD = 8  # floats: frames kept, next row, weight of the sums
ALIKE = 0.4  # the least cosine that counts
MOST_ALIKE = 16  # frames that are averaged
MOST_POWER = 2.0**96  # of a bin; sums of it stay finite
REGION_ENDS = (8, 16, 32, 64, 128, 256)  # bins; the last region has no end
N_REGIONS = 7
N_SIDES, N_TURNS = 9, 6  # steps from left to right, from in phase to out of phase
SIDE_STEPS = np.sin(np.arange(1, N_SIDES) * np.pi / (2 * N_SIDES)) ** 2
TURN_STEPS = np.cos(np.arange(1, N_TURNS) * np.pi / N_TURNS)
N_CELLS = N_SIDES * N_TURNS  # directions
DIRECTIONS_SIZE = 2 * N_REGIONS * N_CELLS  # weight and vocals of every cell, by region
PRIOR = 0.05  # weight of a region's mean beside that of all its cells
LEAST_ODDS = 0.02  # what is known of a direction is never sure


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
    places : shape (2, 4, n_bins), float
        State, updated in place: for vocals and for the rest C_LL, C_RR and the real
        and the imaginary part of C_LR.
    """

    def __init__(self, decay: float, places: NDArray[Any]) -> None:
        self.decay, self.places = decay, places

    def __call__(
        self, gains: NDArray[Any], X: NDArray[np.complex64]
    ) -> NDArray[np.complex128]:
        """Gains (2, n_bins) 0..1 and a frame X (2, n_bins) -> its vocals."""
        power = power_of(X)
        heard = np.sum(gains * power, axis=0) / (np.sum(power, axis=0) + FAINTEST)
        gain = np.clip(np.nan_to_num(heard, nan=0.0), 0.0, 1.0)
        weights = np.stack([gain, 1 - gain])
        covariance = self.decay * self.places
        covariance += weights[:, None] ** 3 * _covariance_of(X)
        self.places[:] = covariance
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


class Directions:
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
    directions : shape (DIRECTIONS_SIZE,), float
        State, updated in place.
    """

    def __init__(self, n_heard: int, decay: float, directions: NDArray[Any]) -> None:
        self.n_heard, self.decay, self.directions = n_heard, decay, directions
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
        sums = self.directions.reshape(2, -1)
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
    repetition : shape (repetition_size(n_past, n_channels, n_heard),), float
        State, updated in place.
    n_channels : int
        1 or 2.
    """

    def __init__(
        self,
        n_past: int,
        n_heard: int,
        decay: float,
        repetition: NDArray[Any],
        n_channels: int = 2,
    ) -> None:
        self.n_past, self.n_heard, self.decay = n_past, n_heard, decay
        profile, row = _row_sizes(n_channels, n_heard)
        self.head, rest = np.split(repetition, [PAST_HEAD])
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


def repetition_size(n_past: int, n_channels: int, n_heard: int) -> int:
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


def finite_power(X: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Compute |X|^2 in double; damage counts as silence or as very loud."""
    with np.errstate(over="ignore", invalid="ignore"):
        power = power_of(X)
    return np.clip(np.nan_to_num(power, nan=0.0), 0.0, MOST_POWER)


def power_of(X: NDArray[np.complex64]) -> NDArray[np.float64]:
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
