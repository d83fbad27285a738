"""Phrases of dry speech or singing, taken apart by WORLD for tools.pool.singers.

Voices that end at 8 to 11 kHz are continued by noise that follows the band below,
so that a net does not learn "above 12 kHz there is never a voice".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, find_peaks, sosfilt

SAMPLE_RATE = 44100
FRAME_S = 0.005
PAUSE_DB = 45.0  # frames this far under the loudest are a pause, and made silent


@dataclass
class Phrase:
    """What WORLD knows of a phrase, and where its syllables are."""

    f0: np.ndarray
    envelope: np.ndarray
    aperiodicity: np.ndarray
    nuclei: np.ndarray
    bounds: np.ndarray


def analyse(x: np.ndarray, top_hz: float) -> Phrase | None:
    """Take a dry mono phrase at 44.1 kHz apart; None when nobody sings in it."""
    import pyworld

    x = np.ascontiguousarray(x, np.float64)
    f0, at = pyworld.dio(x, SAMPLE_RATE, f0_floor=65, f0_ceil=750)
    f0 = pyworld.stonemask(x, f0, at, SAMPLE_RATE)
    if np.mean(f0 > 0) < 0.25:
        return None
    envelope = pyworld.cheaptrick(x, f0, at, SAMPLE_RATE)
    aperiodicity = pyworld.d4c(x, f0, at, SAMPLE_RATE)
    continue_band(envelope, aperiodicity, top_hz, f0 > 0)
    # The vowels: peaks of the energy between 300 and 3000 Hz.
    bins = slice(14, 140)
    energy = 10 * np.log10(envelope[:, bins].sum(1) + 1e-12)
    energy = gaussian_filter1d(energy, 4)
    quiet = energy < energy.max() - PAUSE_DB
    envelope *= np.where(gaussian_filter1d(np.float64(quiet), 3) > 0.5, 1e-8, 1)[
        :, None
    ]
    strong = np.where(f0 > 0, energy, -200)
    nuclei, _ = find_peaks(
        strong, height=energy.max() - 24, distance=24, prominence=1.5
    )
    nuclei = nuclei[f0[nuclei] > 0]
    if len(nuclei) < 2:
        return None
    dips = [a + np.argmin(energy[a:b]) for a, b in pairwise(nuclei)]
    return Phrase(f0, envelope, aperiodicity, nuclei, np.array([0, *dips, len(f0)]))


def continue_band(
    envelope: np.ndarray, aperiodicity: np.ndarray, top_hz: float, voiced: np.ndarray
) -> None:
    """Above `top_hz` put noise that falls from the band below, faster in vowels."""
    hz = np.linspace(0, SAMPLE_RATE / 2, envelope.shape[1])
    above = hz > top_hz
    if top_hz > 16000 or not above.any():
        return
    below = (hz > 0.7 * top_hz) & ~above
    level = envelope[:, below].mean(1, keepdims=True)
    falls = np.where(voiced, -6.0, -2.0)[:, None]  # 18 and 6 dB an octave
    envelope[:, above] = level * (hz[above] / top_hz) ** falls
    envelope[np.ix_(voiced, above)] *= 0.3
    aperiodicity[:, above] = 1.0


def extend_speech(x: np.ndarray, top_hz: float, seed: int) -> np.ndarray:
    """The same for speech as it is: float (n_samples,), noise above `top_hz`."""
    rng = np.random.default_rng(seed)
    nyquist = SAMPLE_RATE / 2
    band = butter(2, [0.6 * top_hz / nyquist, top_hz / nyquist], "band", output="sos")
    high = butter(4, [top_hz / nyquist, min(18000, 2.2 * top_hz) / nyquist], "band",
                  output="sos")  # fmt: skip
    smooth = butter(1, 120 / nyquist, output="sos")
    envelope = np.maximum(sosfilt(smooth, np.abs(sosfilt(band, x))), 0)
    return x + envelope * sosfilt(high, rng.standard_normal(len(x)))


def phrases_of(x: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Cut joined speech (n_samples,) at its pauses into phrases of 1 to 7 s."""
    step = SAMPLE_RATE // 50
    level = np.sqrt(np.mean(x[: len(x) // step * step].reshape(-1, step) ** 2, 1))
    loud = gaussian_filter1d(level, 2) > 0.06 * np.percentile(level, 95)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud, [0]])))
    out = []
    start = None
    for left, right in edges.reshape(-1, 2):
        start = left if start is None else start
        if right - start > 60:  # 1.2 s: long enough to be a phrase
            piece = x[max(0, start - 3) * step : (right + 3) * step]
            out.append(piece[: 7 * SAMPLE_RATE])
            start = None
    rng.shuffle(out)
    return out
