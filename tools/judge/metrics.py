"""What a pair of stems is worth: SDR in two ways, and where the error lies.

Audio is float32 (n_samples, 2).  `bsseval` is the SDR of BSSEval v4 (museval):
the median over windows of one second, without overlap, of the same ratio that
`songs.sdr` takes over the whole track; for images the filters of BSSEval only
divide the error among its other figures.  `leakage` asks what is in an estimated
instrumental: in every second and band it is fitted as a * vocals + b *
instrumental, and the energies of the two parts are compared with the true ones.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft

N_FFT, HOP = 4096, 1024
# Below 120 Hz almost no voice lives; above 8 kHz it is sibilants.
BANDS_HZ = ((0, 120), (120, 500), (500, 2000), (2000, 8000), (8000, 22050))
BAND_NAMES = ("< 120 Hz", "120-500 Hz", "0.5-2 kHz", "2-8 kHz", "> 8 kHz")
ACTIVE_DB = 40.0  # a second is vocal-active if not further under the loudest
# What tools.judge.robustness does to every song.
LEVELS_DB, EXCERPT_S = (0, -6, -12, -20), 30
FLOOR = 1e-10  # of an energy ratio: -100 dB


def decibels(ratio: float) -> float:
    return 10 * math.log10(ratio + FLOOR)


def windowed_sdr(truth: np.ndarray, estimate: np.ndarray, rate: int) -> np.ndarray:
    """SDR of every whole second, NaN where the truth or the estimate is silent."""
    n = len(truth) // rate
    shape = (n, rate * truth.shape[1])
    t = np.float64(truth[: n * rate]).reshape(shape)
    e = np.float64(estimate[: n * rate]).reshape(shape)
    energy, error = np.sum(t**2, 1), np.sum((t - e) ** 2, 1)
    heard = (energy > 0) & (np.sum(e**2, 1) > 0)
    out = np.full(n, np.nan)
    out[heard] = 10 * np.log10(energy[heard] / np.maximum(error[heard], 1e-20))
    return out


def bsseval(
    truths: tuple[np.ndarray, ...], estimates: tuple[np.ndarray, ...], rate: int
) -> list[float]:
    """Median SDR of each stem over the seconds in which every stem sounds."""
    pairs = zip(truths, estimates, strict=True)
    rows = np.array([windowed_sdr(t, e, rate) for t, e in pairs])
    rows[:, np.isnan(rows).any(0)] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a song without voice
        return [float(v) for v in np.nanmedian(rows, axis=1)]


def short_spectra(x: np.ndarray) -> np.ndarray:
    """(n_samples, 2) -> complex64 (n_frames, 2, N_FFT // 2 + 1)."""
    frames = sliding_window_view(x, N_FFT, axis=0)[::HOP]
    return rfft(frames * np.hanning(N_FFT).astype(np.float32))


def fitted(V: np.ndarray, R: np.ndarray, E: np.ndarray) -> tuple[float, float]:
    """Amplitudes |a|, |b| of E = a V + b R + rest, by least squares."""
    vv, rr = (float(np.vdot(A, A).real) for A in (V, R))
    vr, ve, re = np.vdot(V, R), np.vdot(V, E), np.vdot(R, E)
    determinant = vv * rr - abs(vr) ** 2
    if determinant <= 1e-6 * vv * rr:  # one is silent, or they cannot be told apart
        both = V + R
        whole = float(np.vdot(both, both).real)
        level = abs(np.vdot(both, E)) / whole if whole else 1.0
        return level, level
    a = (rr * ve - vr * re) / determinant
    b = (vv * re - np.conj(vr) * ve) / determinant
    return abs(a), abs(b)


def leakage(
    vocals: np.ndarray, rest: np.ndarray, estimate: np.ndarray, rate: int
) -> dict[str, list[float]]:
    """Vocals left and instrumental kept in `estimate`, in dB: all, then each band.

    `left` counts vocal-active seconds only; `kept` is 0 when nothing is lost.
    """
    level = np.sum(np.float64(vocals[: len(vocals) // rate * rate]) ** 2, axis=1)
    level = level.reshape(-1, rate).sum(1)
    active = level > max(level.max(initial=0), 1e-9) * 10 ** (-ACTIVE_DB / 10)
    edges = [
        slice(round(a * N_FFT / rate), round(b * N_FFT / rate) + (b > 20000))
        for a, b in BANDS_HZ
    ]
    sums = np.zeros((4, len(BANDS_HZ)))  # left, true vocals, kept, true rest
    for second, is_active in enumerate(active):
        span = slice(second * rate, (second + 1) * rate)
        V, R, E = (short_spectra(x[span]) for x in (vocals, rest, estimate))
        for k, bins in enumerate(edges):
            v, r, e = (X[..., bins].ravel() for X in (V, R, E))
            a, b = fitted(v, r, e)
            energies = np.vdot(v, v).real * is_active, np.vdot(r, r).real
            sums[:, k] += (
                a * a * energies[0], energies[0], b * b * energies[1], energies[1]
            )  # fmt: skip
    both = np.concatenate([sums.sum(1, keepdims=True), sums], axis=1)
    ratios = both[::2] / np.maximum(both[1::2], 1e-20)
    left, kept = ([decibels(r) for r in row] for row in ratios)
    return {"left": left, "kept": kept}
