"""Spectra, masks and Spectrals for the tests of their back ends and levels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgestem import native
from edgestem.spectrum import spectral
from edgestem.spectrum.spectral import Spectral
from edgestem.spectrum.tables import Tables
from edgestem.spectrum.windows import hann_pair

ENGINES = [
    ("numpy", "best"),
    *([("fftw", "best")] if "fftw" in spectral.available_backends() else []),
    *(("native", level) for level in native.simd_levels()),
]


N_FFT, HOP = 256, 64


# |X|^0.4 in 255 steps, like a trained model's compression.
THRESHOLDS = (np.arange(1, 256) / 40.0) ** 5


LINEAR = np.arange(256) / np.float32(255)


engines = pytest.mark.parametrize(("backend", "simd"), ENGINES)


def noise(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def make(backend: str = "native", simd: str = "best", **changes: Any) -> Spectral:
    n_fft, hop = changes.get("n_fft", N_FFT), changes.get("hop", HOP)
    analysis, synthesis = hann_pair(n_fft, max(1, min(hop, n_fft // 2)))
    settings = {
        "n_fft": n_fft,
        "hop": hop,
        "n_channels": 2,
        "analysis_window": analysis,
        "synthesis_window": synthesis,
        "band_edges": np.arange(n_fft // 4 + 1),
        "n_features": 2,
        "thresholds": THRESHOLDS,
        "mask_table": LINEAR,
        "top_bands": 8,
    }
    return Spectral(Tables(**(settings | changes)), backend=backend, simd=simd)


def widening(n_single: int, n_bins: int) -> NDArray[np.int32]:
    """Single bins, then 20 growing bands up to n_bins."""
    wide = np.unique(np.geomspace(n_single + 1, n_bins, 20).astype(np.int32))
    return np.concatenate([np.arange(n_single + 1, dtype=np.int32), wide[1:]])


def samples(s: Spectral, n_frames: int, seed: int = 0) -> NDArray[np.float32]:
    return noise(((n_frames - 1) * s.hop + s.n_fft, s.n_channels), seed)


def analyse(
    s: Spectral, x: NDArray[np.float32], gain: float = 1.0
) -> tuple[NDArray[np.complex64], NDArray[np.int8]]:
    n_frames = (len(x) - s.n_fft) // s.hop + 1
    X = np.full((n_frames, s.n_channels, s.n_bins), np.nan, np.complex64)
    features = np.zeros((n_frames, s.n_bands, s.n_features), np.int8)
    s.analyse(x, gain, X, features)
    return X, features


def synthesise(
    s: Spectral,
    mask: NDArray[np.int8],
    X: NDArray[np.complex64],
    tail: Any = None,
    **parts: Any,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if tail is None:
        tail = np.zeros((s.n_fft - s.hop, s.n_channels), np.float32)
    y = np.full((len(X) * s.hop, s.n_channels), np.nan, np.float32)
    s.synthesise(mask, X, s.memory(tail=tail, **parts), y)
    return y, tail


def random_mask(s: Spectral, n_frames: int, seed: int = 0) -> NDArray[np.int8]:
    random = np.random.default_rng(seed)
    return random.integers(-128, 128, (n_frames, s.n_bands, 2)).astype(np.int8)


def open_mask(s: Spectral, n_frames: int) -> NDArray[np.int8]:
    return np.full((n_frames, s.n_bands, 2), 127, np.int8)


def gains_of(
    s: Spectral, codes: NDArray[np.int8], edges: Any, top: int
) -> NDArray[np.float64]:
    """One frame's gains (n_channels, n_bins) by the definition of the bands."""
    band_gains = LINEAR[codes.astype(int) + 128].astype(np.float64)
    gains = np.zeros((s.n_bins, 2))
    for b in range(s.n_bands):
        gains[edges[b] : edges[b + 1]] = band_gains[b]
    if top:
        gains[edges[-1] :] = band_gains[-top:].mean(axis=0)
    if s.n_channels == 1:
        gains = gains.mean(axis=1, keepdims=True)
    return gains.T


def overlap_added(s: Spectral, Y: NDArray[Any]) -> NDArray[np.float64]:
    """Samples of the spectra (n_frames, n_channels, n_bins), the tail included."""
    window = hann_pair(s.n_fft, min(s.hop, s.n_fft // 2))[1].astype(np.float64)
    out = np.zeros(((len(Y) - 1) * s.hop + s.n_fft, s.n_channels))
    for k, spectrum in enumerate(Y):
        frame = np.fft.irfft(spectrum, s.n_fft) * window
        out[k * s.hop : k * s.hop + s.n_fft] += frame.T
    return out


def check_levels_agree(
    simd: str, changes: dict[str, Any], name: str, fresh: Callable[[], NDArray[Any]]
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """A level gives the bits of scalar code; returns its samples and its state."""
    results = []
    for level in (simd, "scalar"):
        s, learnt = make("native", level, **changes), fresh()
        X, _ = analyse(s, samples(s, 20))
        states = {"places": state(s), name: learnt}
        results.append((synthesise(s, random_mask(s, 20), X, **states)[0], learnt))
    for one, other in zip(*results, strict=True):
        assert one.tobytes() == other.tobytes()
    return results[0]


def check_grouping_and_loudness(
    s: Spectral,
    mask: NDArray[np.int8],
    X: NDArray[np.complex64],
    cut: int,
    states: Callable[[], dict[str, NDArray[np.float32]]],
) -> None:
    """Calls cut at 1 and `cut` give one call's samples; quiet spectra quiet ones."""
    whole, _ = synthesise(s, mask, X, **states())
    tail, kept = np.zeros((N_FFT - HOP, 2), np.float32), states()
    parts = [
        synthesise(s, mask[a:b], X[a:b], tail, **kept)[0]
        for a, b in ((0, 1), (1, cut), (cut, len(X)))
    ]
    assert np.array_equal(np.concatenate(parts), whole)
    quiet, _ = synthesise(s, mask, X * np.float32(2**-12), **states())
    assert np.abs(quiet * 2**12 - whole).max() < 1e-5 * np.abs(whole).max()


CASES = {
    "karaoke": {"n_fft": 4096, "hop": 1024, "band_edges": np.arange(1025)},
    "bands": {"n_fft": 1536, "hop": 384, "band_edges": widening(192, 769)},
    "side": {"n_features": 3, "band_edges": widening(20, 129)},
    "mono": {"n_channels": 1},
    "mono side": {"n_channels": 1, "n_features": 3, "band_edges": widening(9, 129)},
    "mono, odd hop": {"n_channels": 1, "n_fft": 300, "hop": 75},
    "odd hop": {"n_fft": 300, "hop": 75, "n_features": 3},
    "odd size": {"n_fft": 60, "hop": 7, "band_edges": [0, 2, 3, 9], "top_bands": 2},
    "smallest": {"n_fft": 16, "hop": 1, "band_edges": [0, 1], "top_bands": 1},
    "no overlap": {"hop": N_FFT},
    "small overlap": {"hop": 200},
    "beyond Nyquist": {"band_edges": [0, 100, 127, 300, 400], "top_bands": 2},
    "all beyond": {"band_edges": [200, 300, 301], "top_bands": 0, "n_features": 3},
    "high start": {"band_edges": widening(20, 120)[5:], "top_bands": 0},
    "one band": {"band_edges": [0, 129], "top_bands": 1, "n_features": 3},
}


cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def band_powers(s: Spectral, X: NDArray[Any], edges: Any) -> NDArray[np.float64]:
    """The definition, in double and in loops: (n_frames, n_bands, n_features)."""
    sides = np.stack([X[:, 0], X[:, -1], X[:, 0] - X[:, -1]], axis=-1)
    power = np.abs(sides[..., : s.n_features]) ** 2
    out = np.zeros((len(X), s.n_bands, s.n_features))
    for b in range(s.n_bands):
        there = power[:, edges[b] : edges[b + 1]]
        if there.shape[1]:
            out[:, b] = there.mean(axis=1)
    return out


def count(power: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.searchsorted(THRESHOLDS.astype(np.float32), power, side="right") - 128


def state(s: Spectral) -> NDArray[np.float32]:
    return np.zeros((2, 4, s.n_bins), np.float32)


def panned(s: Spectral, n_frames: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Noise in the middle, "vocals", and noise of as much power on the left."""
    middle = samples(s, n_frames)[:, :1] * np.float32([1, 1])
    left = samples(s, n_frames, seed=1)[:, :1] * np.float32([1.4, 0.1])
    return middle, left


def hints(vocals: NDArray[Any], rest: NDArray[Any]) -> NDArray[np.int8]:
    """Masks (n_frames, n_bins, 2) that know the stems' powers, but no phases."""
    v, r = (np.sum(np.abs(a) ** 2, axis=1) for a in (vocals, rest))
    mask = np.round(255 * v / (v + r + 1e-9)).astype(np.int16) - 128
    return np.repeat(mask.astype(np.int8)[:, :, None], 2, axis=2)


def error_db(y: NDArray[Any], vocals: NDArray[Any]) -> float:
    inside = slice(40 * HOP, -N_FFT)  # where the places are known
    error = y[inside] - vocals[: len(y)][inside]
    return float(10 * np.log10(np.mean(error**2) / np.mean(vocals**2)))


def memory(s: Spectral) -> NDArray[np.float32]:
    return np.zeros(s.repetition_size, np.float32)


def learnt(
    X: NDArray[Any], gains: NDArray[Any], decay: float, n_past: int, n_heard: int
) -> NDArray[Any]:
    """The definition in words, frame by frame: gains (n_frames, n_channels, n_bins)."""
    out = gains.copy()
    size = np.abs(X[:, :, :n_heard])
    rest = ((1 - gains[:, :, :n_heard]) * size) ** 2
    edges = [1]
    while edges[-1] < n_heard:
        edges.append(min(edges[-1] + 1 + edges[-1] // 16, n_heard))
    profiles = np.array(
        [[r[:, a:b].sum() ** 0.125 for a, b in pairwise(edges)] for r in rest]
    )
    for k in range(len(X)):
        weights = decay ** np.arange(k, -1, -1.0)
        mean = weights @ profiles[: k + 1] / weights.sum()
        now = profiles[k] - mean
        first = max(0, k - n_past + 1)
        c = {}
        for i in range(first, k):
            then = profiles[i] - mean
            c[i] = then @ now / np.sqrt((then @ then) * (now @ now))
        peaks = [
            i
            for i in c
            if c[i] > 0.4 and c[i] >= max(c.get(i - 1, -1), c.get(i + 1, -1))
        ]
        found = sorted(peaks, key=lambda i: (-c[i], -i))[:16]
        if found:
            w = {i: (c[i] - 0.4) / 0.6 for i in found}
            mean_rest = rest[k] + sum(w[i] * rest[i] for i in found)
            mean_rest /= 1 + sum(w.values())
            vocals = gains[k, :, :n_heard] * size[k]
            out[k, :, :n_heard] = vocals / (vocals + np.sqrt(mean_rest))
    return out
