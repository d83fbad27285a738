"""Fused analysis and synthesis: every back end and level, the same laws."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgestem import native
from edgestem.spectrum import spectral
from edgestem.spectrum.learners import DIRECTIONS_SIZE, UNDECIDED_SIZE
from edgestem.spectrum.memory import PARTS
from edgestem.spectrum.spectral import Spectral
from edgestem.spectrum.tables import Tables, is_supported_size
from edgestem.spectrum.windows import fading_out, hann_pair, window_pair

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


# ---- One answer ---------------------------------------------------------------


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


@engines
@cases
def test_analysis_is_its_definition(
    backend: str, simd: str, case: dict[str, Any]
) -> None:
    s, gain = make(backend, simd, **case), 0.7
    x = samples(s, 3)
    X, features = analyse(s, x, gain)
    window = hann_pair(s.n_fft, min(s.hop, s.n_fft // 2))[0].astype(np.float64)
    frames = [x[k * s.hop : k * s.hop + s.n_fft].T * window for k in range(3)]
    expected = np.fft.rfft(np.array(frames))
    assert np.abs(X - expected).max() <= 1e-6 * np.abs(expected).max()
    edges = case.get("band_edges", np.arange(s.n_fft // 4 + 1))
    power = band_powers(s, expected, edges) * gain**2
    # Rounding noise of the transform moves weak bins by more than 1e-4.
    noise_floor = 1e-6 * np.abs(expected).max() * gain
    low = np.maximum(np.sqrt(power) * (1 - 5e-5) - noise_floor, 0) ** 2
    high = (np.sqrt(power) * (1 + 5e-5) + noise_floor) ** 2
    assert (count(low) <= features).all()
    assert (features <= count(high)).all()
    assert np.mean(features == count(power)) > 0.99


@engines
@cases
def test_synthesis_is_its_definition(
    backend: str, simd: str, case: dict[str, Any]
) -> None:
    s = make(backend, simd, **case)
    X, _ = analyse(s, samples(s, 5))
    before, mask = X.copy(), random_mask(s, 5)
    y, tail = synthesise(s, mask, X)
    assert X.tobytes() == before.tobytes()
    edges = case.get("band_edges", np.arange(s.n_fft // 4 + 1))
    top = case.get("top_bands", 8)
    gains = np.array([gains_of(s, codes, edges, top) for codes in mask])
    out = overlap_added(s, gains * X)
    got = np.concatenate([y, tail])
    assert np.abs(got - out).max() <= 1e-6 * np.abs(out).max() + 1e-9


@pytest.mark.parametrize("simd", native.simd_levels())
@cases
def test_levels_agree(simd: str, case: dict[str, Any]) -> None:
    """Scalar is the specification."""
    scalar, s = make(simd="scalar", **case), make(simd=simd, **case)
    x = samples(s, 4)
    (X, features), (Y, others) = analyse(s, x), analyse(scalar, x)
    assert X.tobytes() == Y.tobytes()
    assert features.tobytes() == others.tobytes()
    mask = random_mask(s, 4)
    y, z = synthesise(s, mask, Y)[0], synthesise(scalar, mask, Y)[0]
    assert y.tobytes() == z.tobytes()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 2),
    n_fft=st.sampled_from([n for n in range(16, 2400) if is_supported_size(n)]),
    db=st.integers(-780, 10),
)
@example(seed=0, channels=1, n_fft=2000, db=-617)  # a product vanishes: -0 or 0
def test_levels_agree_for_any_size_and_loudness(
    seed: int, channels: int, n_fft: int, db: int
) -> None:
    """Down to where samples and products are subnormal."""
    case = {"n_fft": n_fft, "hop": n_fft // 4, "n_channels": channels}
    edges = widening(max(1, n_fft // 16), n_fft // 2 + 1)
    case |= {"band_edges": edges, "top_bands": 2, "n_features": 2 + seed % 2}
    results = set()
    for simd in native.simd_levels():
        s = make(simd=simd, **case)
        X, features = analyse(s, samples(s, 2, seed) * np.float32(10 ** (db / 20)))
        y, tail = synthesise(s, random_mask(s, 2, seed), X)
        results.add((X.tobytes(), features.tobytes(), y.tobytes(), tail.tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("simd", native.simd_levels())
def test_levels_agree_on_music(simd: str, stereo_song: NDArray[np.float32]) -> None:
    case = CASES["karaoke"] | {"n_features": 3}
    scalar, s = make(simd="scalar", **case), make(simd=simd, **case)
    n_frames = (len(stereo_song) - s.n_fft) // s.hop + 1
    x = stereo_song[: (n_frames - 1) * s.hop + s.n_fft]
    (X, features), (Y, others) = analyse(s, x), analyse(scalar, x)
    assert X.tobytes() == Y.tobytes()
    assert features.tobytes() == others.tobytes()


@pytest.mark.parametrize("simd", native.simd_levels())
@pytest.mark.parametrize(
    ("n_fft", "expected"),
    [
        (4096, "feb1072f2149a2ba"),
        (5120, "f916872531a3f463"),
        (1536, "32a76eb85fa44bb9"),
    ],
)
def test_every_machine_gives_these_bits(simd: str, n_fft: int, expected: str) -> None:
    """Windows and thresholds, spectra, codes and samples, as on x86-64 with AVX2."""
    edges = widening(n_fft // 8, n_fft // 2 + 1)
    s = make(simd=simd, n_fft=n_fft, hop=n_fft // 4, band_edges=edges, n_features=3)
    n = (4 * s.hop + s.n_fft) * 2
    scrambled = np.arange(n, dtype=np.uint32) * np.uint32(2654435761) >> np.uint32(8)
    x = scrambled.astype(np.float32).reshape(-1, 2) / np.float32(2**23) - np.float32(1)
    X, features = analyse(s, x)
    mask = features[..., :2].copy()
    parts = (*hann_pair(n_fft, s.hop), X, features, *synthesise(s, mask, X))
    digest = hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest()
    assert digest[:16] == expected


@engines
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("n_features", [2, 3])
def test_magnitudes_are_what_features_are_codes_of(
    backend: str, simd: str, n_channels: int, n_features: int
) -> None:
    edges = widening(9, N_FFT // 2 + 30)  # the last bands have no bins
    s = make(
        backend, simd, n_channels=n_channels, n_features=n_features, band_edges=edges
    )
    x, gain = samples(s, 5), 0.7
    X, features = analyse(s, x, gain)
    alone = np.zeros_like(X)
    s.analyse(x, gain, alone, None)
    assert alone.tobytes() == X.tobytes()
    found = np.full(features.shape, np.nan, np.float32)
    s.magnitudes(X, gain, found)
    thresholds = np.sqrt(THRESHOLDS)
    for bound in (1 - 1e-5, 1 + 1e-5):
        codes = np.searchsorted(thresholds, bound * found, side="right") - 128
        assert np.mean(codes == features) > 0.99
    oracle = make(
        "numpy", n_channels=n_channels, n_features=n_features, band_edges=edges
    )
    expected = np.empty_like(found)
    oracle.magnitudes(X, gain, expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-30)
    for k in range(5):
        s.magnitudes(X[k : k + 1], gain, expected[k : k + 1])
    assert np.array_equal(found, expected)


@engines
def test_magnitudes_of_damage_are_finite(backend: str, simd: str) -> None:
    s = make(backend, simd)
    X = np.ones((1, 2, s.n_bins), np.complex64)
    X[0, 0, 3:6] = np.nan, np.inf, 1e30
    found = np.empty((1, s.n_bands, 2), np.float32)
    s.magnitudes(X, 1.0, found)
    assert found[0, 3:6, 0].tolist() == [0.0, 2.0**20, 2.0**20]
    assert np.all(found[0, :, 1] == 1.0)


@engines
def test_energy_is_the_same_to_the_bit(backend: str, simd: str) -> None:
    s, oracle = make(backend, simd), make("numpy")
    for n in (0, 1, 3, 4, 5, 8, 1000, 1001):
        x = noise((n, 2), n)
        assert s.energy(x) == oracle.energy(x)
    assert s.energy(x) == pytest.approx(np.sum(x.astype(np.float64) ** 2))
    x[500, 1] = np.nan
    assert np.isnan(s.energy(x))
    x[500, 1] = np.inf
    assert s.energy(x) == np.inf


# ---- Quantiser ------------------------------------------------------------------


@engines
@pytest.mark.parametrize(
    "thresholds",
    [
        THRESHOLDS,
        np.geomspace(1e-30, 1e30, 255),
        np.geomspace(0.9, 1.6, 255),
        np.concatenate([np.full(100, -1.0), np.zeros(50), np.geomspace(1, 9, 105)]),
        np.concatenate([[-np.inf], np.geomspace(1e-3, 2, 200), np.full(54, np.inf)]),
        np.full(255, np.inf),
        np.full(255, -1.0),
        np.concatenate([[1e-44], np.geomspace(1e-30, 3e38, 254)]),
    ],
    ids=["power", "wide", "dense", "zeros", "infinite", "none", "all", "extreme"],
)
def test_codes_count_thresholds_exactly(
    backend: str, simd: str, thresholds: NDArray[Any]
) -> None:
    """Constant frames: the power of bin 0 is known to the bit."""
    n = 64
    s = make(
        backend,
        simd,
        n_fft=n,
        hop=n,
        analysis_window=np.eye(1, n)[0],
        band_edges=[0, 1],
        top_bands=0,
        thresholds=thresholds,
    )
    table = np.asarray(thresholds, np.float32)
    with np.errstate(over="ignore"):
        roots = np.sqrt(np.abs(table[np.isfinite(table)]))
        roots = np.concatenate([roots, np.nextafter(roots, np.float32(np.inf))])
        roots = np.concatenate([roots, np.nextafter(roots, np.float32(0))])
        roots = np.concatenate([roots, [0, 1e-20, 1e-12, 1, 1e18]]).astype(np.float32)
        # Rounded to floats, kept in double: numpy on 32-bit ARM takes subnormal
        # floats for 0.
        power = (roots.astype(np.float64) ** 2).astype(np.float32).astype(np.float64)
    x = np.zeros((len(roots) * n, 2), np.float32)
    x[::n, 0] = roots
    _, features = analyse(s, x)
    exact = np.isfinite(power) & ((power > 1e-37) | (power == 0))
    doubles = table.astype(np.float64)
    expected = np.searchsorted(doubles, power, side="right") - 128
    assert np.array_equal(features[exact, 0, 0], expected[exact])


@engines
def test_nan_and_infinity_are_safe_and_stay_in_their_frames(
    backend: str, simd: str
) -> None:
    s = make(backend, simd)
    x = samples(s, 12)
    good, good_codes = analyse(s, x)
    for value, code in ((np.nan, -128), (np.inf, None), (3e38, None)):
        bad = x.copy()
        bad[6 * HOP + 5] = value
        X, codes = analyse(s, bad)
        touched = np.arange(12)[(np.arange(12) >= 3) & (np.arange(12) <= 6)]
        others = np.setdiff1d(np.arange(12), touched)
        assert np.array_equal(X[others], good[others])
        assert np.array_equal(codes[others], good_codes[others])
        if code is not None:
            assert (codes[touched[1:]] == code).all()


@engines
def test_an_infinite_power_counts_as_the_largest_float(backend: str, simd: str) -> None:
    s = make(backend, simd, thresholds=np.geomspace(1e20, 3e38, 255))
    X = np.full((1, 2, s.n_bins), 1e30, np.complex64)
    features = np.zeros((1, s.n_bands, 2), np.int8)
    s.features(X, 1.0, features)
    assert (features == 127).all()


@engines
def test_gain_scales_features_only(backend: str, simd: str) -> None:
    s = make(backend, simd)
    x = samples(s, 2)
    X, codes = analyse(s, x, 0.5)
    Y, half = analyse(s, x * np.float32(0.5), 1.0)
    assert np.array_equal(X, analyse(s, x, 8.0)[0])
    assert np.array_equal(codes, half)
    assert np.array_equal(X, 2 * Y)
    assert (analyse(s, x, 0.0)[1] == -128).all()


@engines
@pytest.mark.parametrize("n_channels", (1, 2))
@pytest.mark.parametrize("n_features", (2, 3))
def test_features_of_known_spectra(
    backend: str, simd: str, n_channels: int, n_features: int
) -> None:
    s = make(backend, simd, n_channels=n_channels, n_features=n_features)
    x = samples(s, 5)
    x[: s.n_fft] *= np.float32(1e-4)
    X, _ = analyse(s, x)
    X.flags.writeable = False
    for gain in (0.1, 1.0, 7.0):
        codes = np.zeros((5, s.n_bands, n_features), np.int8)
        s.features(X, gain, codes)
        assert np.array_equal(codes, analyse(s, x, gain)[1])
    with pytest.raises(ValueError, match="features"):
        s.features(X[1:], 1.0, codes)


# ---- Laws -------------------------------------------------------------------------


@engines
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 2),
    size=st.sampled_from([(256, 64), (300, 75), (60, 7), (96, 48)]),
    db=st.integers(-80, 10),
)
def test_an_open_mask_gives_back_the_signal(
    backend: str, simd: str, seed: int, channels: int, size: tuple[int, int], db: int
) -> None:
    n_fft, hop = size
    s = make(backend, simd, n_fft=n_fft, hop=hop, n_channels=channels)
    n_frames = 2 * n_fft // hop
    x = samples(s, n_frames, seed) * np.float32(10 ** (db / 20))
    y, _ = synthesise(s, open_mask(s, n_frames), analyse(s, x)[0])
    expected = x[n_fft - hop : len(y)]
    error = y[n_fft - hop :].astype(np.float64) - expected
    assert np.sum(error**2) <= 1e-12 * np.sum(expected.astype(np.float64) ** 2)


@engines
def test_asymmetric_windows_with_zeros_reconstruct(backend: str, simd: str) -> None:
    """A live window: long rise, short fall, a synthesis part that is mostly 0."""
    product = np.zeros(N_FFT)
    product[-2 * HOP :] = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * HOP) / HOP)
    rise, fall = N_FFT - HOP, HOP
    analysis = np.concatenate(
        [
            np.sin(np.pi / 2 * (np.arange(rise) + 0.5) / rise),
            np.cos(np.pi / 2 * (np.arange(fall) + 0.5) / fall),
        ]
    )
    s = make(
        backend,
        simd,
        analysis_window=analysis,
        synthesis_window=product / analysis,
    )
    x = samples(s, 10)
    y, tail = synthesise(s, open_mask(s, 10), analyse(s, x)[0])
    got = np.concatenate([y, tail])[N_FFT - HOP : 10 * HOP]
    assert np.abs(got - x[N_FFT - HOP : 10 * HOP]).max() < 1e-5


SHORT = [(256, 64, 128), (300, 75, 150), (60, 5, 20), (4096, 1024, 2048), (64, 8, 16)]


@engines
@pytest.mark.parametrize(("n_fft", "hop", "n_synthesis"), SHORT)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_short_synthesis_gives_back_the_signal_n_synthesis_later(
    backend: str, simd: str, n_fft: int, hop: int, n_synthesis: int, channels: int
) -> None:
    analysis, synthesis = window_pair(n_fft, hop, n_synthesis)
    s = make(
        backend,
        simd,
        n_fft=n_fft,
        hop=hop,
        n_synthesis=n_synthesis,
        analysis_window=analysis,
        synthesis_window=synthesis,
        n_channels=channels,
    )
    x = samples(s, 12)
    tail = np.zeros((n_synthesis - hop, channels), np.float32)
    y, tail = synthesise(s, open_mask(s, 12), analyse(s, x)[0], tail)
    late = n_synthesis - hop  # until a hop has all of its frames
    expected = x[n_fft - n_synthesis :][: len(y)]
    error = y[late:].astype(np.float64) - expected[late:]
    assert np.sum(error**2) <= 1e-12 * np.sum(expected.astype(np.float64) ** 2)
    # What is left open is the signal, fading out.
    weight = fading_out(analysis, synthesis, hop)[:, None]
    behind = x[n_fft - n_synthesis + len(y) :]
    assert len(behind) == len(tail)
    assert np.abs(tail - weight * behind).max() < 1e-5


@engines
def test_a_short_synthesis_is_a_long_one_with_zeros(backend: str, simd: str) -> None:
    analysis, synthesis = window_pair(N_FFT, HOP, 128)
    padded = np.concatenate([np.zeros(N_FFT - 128, np.float32), synthesis])
    short = make(
        backend,
        simd,
        n_synthesis=128,
        analysis_window=analysis,
        synthesis_window=synthesis,
    )
    long = make(backend, simd, analysis_window=analysis, synthesis_window=padded)
    X, _ = analyse(long, samples(long, 9))
    mask = random_mask(long, 9)
    tail = np.zeros((128 - HOP, 2), np.float32)
    y, tail = synthesise(short, mask, X, tail)
    z = np.concatenate(synthesise(long, mask, X))
    assert np.concatenate([y, tail]).tobytes() == z[N_FFT - 128 :].tobytes()


def test_a_full_synthesis_is_the_hann_pair() -> None:
    for got, expected in zip(
        window_pair(256, 64, 256), hann_pair(256, 64), strict=True
    ):
        assert np.array_equal(got, expected)
    for n_synthesis in (64, 100, 300):
        with pytest.raises(ValueError, match="n_synthesis: expected an even"):
            window_pair(256, 64, n_synthesis)


@engines
@settings(max_examples=15, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 9), max_size=6),
    offset=st.integers(0, 15),
    channels=st.integers(1, 2),
)
def test_output_is_independent_of_grouping_and_alignment(
    backend: str, simd: str, cuts: list[int], offset: int, channels: int
) -> None:
    s = make(backend, simd, n_channels=channels, n_features=3)
    x, mask = samples(s, 9), random_mask(s, 9)
    X, features = analyse(s, x)
    y, tail = synthesise(s, mask, X)
    bounds = sorted({0, 9, *cuts})
    parts, tail_again = [], None
    for start, stop in pairwise(bounds):
        piece = x[start * HOP : (stop - 1) * HOP + N_FFT]
        moved = np.zeros(piece.size + 16, np.float32)[offset : offset + piece.size]
        moved = moved.reshape(piece.shape)
        moved[:] = piece
        Z, codes = analyse(s, moved)
        assert Z.tobytes() == X[start:stop].tobytes()
        assert codes.tobytes() == features[start:stop].tobytes()
        out, tail_again = synthesise(s, mask[start:stop], Z, tail_again)
        parts.append(out)
    assert np.concatenate(parts).tobytes() == y.tobytes()
    assert tail_again is not None
    assert tail_again.tobytes() == tail.tobytes()


@engines
@cases
def test_silence_is_silence(backend: str, simd: str, case: dict[str, Any]) -> None:
    s = make(backend, simd, **case)
    X, features = analyse(s, np.zeros_like(samples(s, 2)))
    assert not X.any()
    assert (features == -128).all()
    y, tail = synthesise(s, open_mask(s, 2), X)
    assert not y.any()
    assert not tail.any()


def test_subnormal_samples_are_silence_and_the_mode_is_restored() -> None:
    s = make()
    X, _ = analyse(s, np.full_like(samples(s, 1), 1e-42))
    assert not X.any()
    assert np.float32(1e-40) * np.float32(0.5) > 0


def test_threads_do_not_talk() -> None:
    inputs = [samples(make(), 200, seed) for seed in range(4)]

    def run(x: NDArray[np.float32]) -> bytes:
        s = make()
        X, _ = analyse(s, x)
        return synthesise(s, random_mask(s, 200), X)[0].tobytes()

    alone = [run(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, inputs)) == alone


@engines
def test_mono_is_left_and_right_at_once(backend: str, simd: str) -> None:
    mono = make(backend, simd, n_channels=1, n_features=3)
    stereo = make(backend, simd, n_channels=2, n_features=3)
    x = samples(mono, 3)
    X, features = analyse(mono, x)
    Y, _ = analyse(stereo, np.repeat(x, 2, axis=1))
    assert np.abs(X - Y[:, :1]).max() <= 1e-6 * np.abs(X).max()
    assert np.array_equal(features[..., 0], features[..., 1])
    assert (features[..., 2] == -128).all()


@engines
def test_no_frames_is_nothing(backend: str, simd: str) -> None:
    s = make(backend, simd)
    tail = noise((N_FFT - HOP, 2))
    before = tail.copy()
    X = np.zeros((0, 2, s.n_bins), np.complex64)
    codes = np.zeros((0, s.n_bands, 2), np.int8)
    s.analyse(np.zeros((N_FFT - HOP, 2), np.float32), 1.0, X, codes)
    s.synthesise(codes, X, s.memory(tail=tail), np.zeros((0, 2), np.float32))
    assert np.array_equal(tail, before)


# ---- Places -----------------------------------------------------------------------


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


def filtered(
    X: NDArray[Any], gains: NDArray[Any], decay: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The definition in complex matrices, bin by bin: vocals and covariances."""
    n_bins, Y = X.shape[2], np.zeros(X.shape, complex)
    C = np.zeros((2, n_bins, 2, 2), complex)
    for k, frame in enumerate(X.astype(complex)):
        for b, x in enumerate(frame.T):
            size = np.abs(x.real).sum() + np.abs(x.imag).sum()
            power = np.abs(x) ** 2
            g = (gains[k, b] * power).sum() / power.sum()
            shares = (g, 1 - g)
            R = []
            for c, share in zip(C[:, b], shares, strict=True):
                c *= decay
                c += share**3 * np.outer(x, x.conj()) / size
                mean = np.trace(c).real / 2
                R.append(share * (c / (mean or 1) + 0.01 * np.eye(2)))
            Y[k, :, b] = R[0] @ np.linalg.inv(R[0] + R[1]) @ x
    return Y, C


@engines
def test_the_filter_is_its_definition(backend: str, simd: str) -> None:
    s = make(backend, simd, decay=0.8, band_edges=np.arange(N_FFT // 2 + 2))
    X, _ = analyse(s, sum(panned(s, 9)) + 0.1 * samples(s, 9, seed=2))
    mask, covariance = random_mask(s, 9), state(s)
    mask[3], mask[4] = -128, 127
    y, tail = synthesise(s, mask, X, places=covariance)
    Y, C = filtered(X, LINEAR[mask.astype(int) + 128], 0.8)
    expected = overlap_added(s, Y)
    got = np.concatenate([y, tail])
    assert np.abs(got - expected).max() < 2e-6 * np.abs(expected).max()
    parts = [C[..., 0, 0], C[..., 1, 1], C[..., 0, 1], C[..., 0, 1]]
    expected = np.stack([p.imag if i == 3 else p.real for i, p in enumerate(parts)], 1)
    assert np.abs(covariance - expected).max() < 2e-6 * np.abs(expected).max()


def error_db(y: NDArray[Any], vocals: NDArray[Any]) -> float:
    inside = slice(40 * HOP, -N_FFT)  # where the places are known
    error = y[inside] - vocals[: len(y)][inside]
    return float(10 * np.log10(np.mean(error**2) / np.mean(vocals**2)))


@engines
def test_what_comes_from_elsewhere_is_no_vocals(backend: str, simd: str) -> None:
    s = make(backend, simd, decay=0.99, band_edges=np.arange(N_FFT // 2 + 2))
    vocals, rest = panned(s, 300)
    V, R = analyse(s, vocals)[0], analyse(s, rest)[0]
    X, mask = analyse(s, vocals + rest)[0], hints(V, R)
    plain = error_db(synthesise(s, mask, X)[0], vocals)
    placed = error_db(synthesise(s, mask, X, places=state(s))[0], vocals)
    assert placed < plain - 4


@engines
def test_one_place_or_one_stem_is_the_mask_alone(backend: str, simd: str) -> None:
    s = make(backend, simd, decay=0.9)
    mono = samples(s, 20)[:, :1] * np.float32([1, 0.5])
    stereo = samples(s, 20, seed=3)
    same = random_mask(s, 20)
    same[..., 1] = same[..., 0]
    closed, opened = np.full_like(same, -128), np.full_like(same, 127)
    for x, mask in ((mono, same), (stereo, closed), (stereo, opened)):
        X, _ = analyse(s, x)
        plain, _ = synthesise(s, mask, X)
        placed, _ = synthesise(s, mask, X, places=state(s))
        assert np.abs(placed - plain).max() < 1e-5 * np.abs(x).max()


@engines
def test_places_do_not_depend_on_grouping_or_loudness(backend: str, simd: str) -> None:
    s = make(backend, simd, decay=0.9)
    x = sum(panned(s, 12))
    mask = random_mask(s, 12)
    X, _ = analyse(s, x)
    check_grouping_and_loudness(s, mask, X, 6, lambda: {"places": state(s)})


@pytest.mark.parametrize("simd", native.simd_levels())
@cases
def test_levels_agree_on_places(simd: str, case: dict[str, Any]) -> None:
    s, scalar = (make("native", level, decay=0.9, **case) for level in (simd, "scalar"))
    X, _ = analyse(s, samples(s, 6))
    mask = random_mask(s, 6)
    states = state(s), state(s)
    y, z = (
        synthesise(e, mask, X, places=c)[0].tobytes()
        for e, c in zip((s, scalar), states, strict=True)
    )
    assert y == z
    assert states[0].tobytes() == states[1].tobytes()
    assert states[0].any() == (s.n_channels == 2)


@engines
@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_damage_leaves_no_trace_in_places(backend: str, simd: str, bad: float) -> None:
    s = make(backend, simd, decay=0.5)
    X, _ = analyse(s, sum(panned(s, 60)))
    X[3] = bad
    covariance = state(s)
    with np.errstate(over="ignore", invalid="ignore"):
        y, _ = synthesise(s, random_mask(s, 60), X, places=covariance)
    assert np.isfinite(covariance).all()
    assert np.isfinite(y[8 * HOP :]).all()


# ---- What repeats -------------------------------------------------------------------


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


def loops(s: Spectral, n_frames: int, n_loop: int) -> NDArray[np.float32]:
    """Noise whose spectrum changes from frame to frame and comes back."""
    one = samples(s, n_loop)[: n_loop * s.hop]
    tones = np.sin(np.arange(len(one))[:, None] ** 1.6 / 300)
    return np.resize(one + 3 * tones, (n_frames * s.hop + s.n_fft, s.n_channels))


@engines
@pytest.mark.parametrize("n_channels", [1, 2])
def test_repetition_is_its_definition(backend: str, simd: str, n_channels: int) -> None:
    n_past = 40
    s = make(backend, simd, decay=0.9, n_past=n_past, n_channels=n_channels)
    X, _ = analyse(s, loops(s, 70, 23).astype(np.float32))
    mask = random_mask(s, len(X))
    y, _ = synthesise(s, mask, X, repetition=memory(s))
    edges = np.arange(s.n_bands + 1)
    gains = np.array([gains_of(s, codes, edges, 8) for codes in mask])
    expected = learnt(X.astype(complex), gains, 0.9, n_past, s.n_bands)
    assert np.abs(expected - gains).max() > 0.1
    expected_y = overlap_added(s, expected * X)[: len(y)]
    assert np.abs(y - expected_y).max() < 1e-5 * np.abs(expected_y).max()


@engines
def test_a_loop_is_recognised_below_vocals(backend: str, simd: str) -> None:
    """Masks that are wrong at random: where the loop comes back, they are less so."""
    s = make(backend, simd, decay=0.99, n_past=200)
    rest = loops(s, 180, 30)
    vocals = samples(s, 1000, seed=9)[: len(rest)]
    vocals *= (np.arange(len(rest)) // (17 * HOP) % 2)[:, None]
    X, V = (analyse(s, np.float32(a))[0] for a in (vocals + rest, vocals))
    share = np.abs(V) / (np.abs(V) + np.abs(X - V) + 1e-9)
    noise = np.random.default_rng(3).normal(0, 0.4, share.shape)
    mask = np.clip((share + noise) * 255, 0, 255).swapaxes(1, 2)[:, : s.n_bands]
    codes = np.ascontiguousarray(np.round(mask) - 128).astype(np.int8)
    plain = error_db(synthesise(s, codes, X)[0], vocals)
    assert (
        error_db(synthesise(s, codes, X, repetition=memory(s))[0], vocals) < plain - 0.6
    )


@engines
def test_the_past_does_not_depend_on_grouping_or_loudness(
    backend: str, simd: str
) -> None:
    s = make(backend, simd, decay=0.9, n_past=9)
    X, _ = analyse(s, np.float32(loops(s, 30, 7)))
    mask = random_mask(s, len(X))
    check_grouping_and_loudness(s, mask, X, 17, lambda: {"repetition": memory(s)})


@pytest.mark.parametrize("simd", native.simd_levels())
@cases
def test_levels_agree_on_the_past(simd: str, case: dict[str, Any]) -> None:
    changes = {"decay": 0.9, "n_past": 12} | case
    s, scalar = (make("native", level, **changes) for level in (simd, "scalar"))
    X, _ = analyse(s, samples(s, 20))
    mask = random_mask(s, 20)
    pasts = memory(s), memory(s)
    y, z = (
        synthesise(e, mask, X, places=state(e), repetition=p)[0].tobytes()
        for e, p in zip((s, scalar), pasts, strict=True)
    )
    assert y == z
    assert pasts[0].tobytes() == pasts[1].tobytes()
    assert pasts[0][0] == 12


@engines
@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_damage_leaves_no_trace_in_the_past(
    backend: str, simd: str, bad: float
) -> None:
    s = make(backend, simd, decay=0.5, n_past=8)
    X, _ = analyse(s, samples(s, 60))
    X[3] = bad
    past = memory(s)
    with np.errstate(over="ignore", invalid="ignore"):
        y, _ = synthesise(s, random_mask(s, 60), X, repetition=past)
    assert np.isfinite(past).all()
    assert np.isfinite(y[8 * HOP :]).all()


def test_silence_and_a_first_frame_have_no_past() -> None:
    s = make(decay=0.9, n_past=8)
    X, _ = analyse(s, np.zeros((20 * HOP + N_FFT, 2), np.float32))
    y, _ = synthesise(s, random_mask(s, len(X)), X, repetition=memory(s))
    assert not y.any()
    X, _ = analyse(s, samples(s, 1))
    mask = random_mask(s, 1)
    plain, _ = synthesise(s, mask, X)
    assert np.array_equal(synthesise(s, mask, X, repetition=memory(s))[0], plain)


@pytest.mark.skipif(native.lib is None, reason="no compiled kernel")
@cases
def test_both_count_the_floats_of_the_past(case: dict[str, Any]) -> None:
    for n_past in (0, 1, 7):
        s = make("native", n_past=n_past, **case)
        assert native.lib.es_repetition_floats(s._engine._plan) == s.repetition_size


# ---- Doubt --------------------------------------------------------------------------

WEIGHTS = (3.0, -4.0, 0.7)


def unsure() -> NDArray[np.float32]:
    return np.zeros(UNDECIDED_SIZE, np.float32)


def softened(
    X: NDArray[Any], gains: NDArray[Any], decay: float, n_heard: int
) -> NDArray[Any]:
    """The definition in words, frame by frame: gains (n_frames, n_channels, n_bins)."""
    out = gains.copy()
    edges = [e for e in (0, 8, 16, 32, 64, 128, 256) if e < n_heard] + [n_heard]
    power = np.abs(X) ** 2
    for k in range(len(X)):
        age = decay ** np.arange(k, -1, -1.0)[:, None, None]
        g, p = gains[: k + 1, :, :n_heard], age * power[: k + 1, :, :n_heard]
        undecided, most = p * g * (1 - g), p * np.minimum(g, 1 - g)
        share = (undecided.sum() / (p * g).sum()) ** 0.25
        ends = [*edges[1:-1], X.shape[2]]  # what is above goes with the last region
        for a, b, end in zip(edges, edges[1:], ends, strict=False):
            sharp = undecided[:, :, a:b].sum() / most[:, :, a:b].sum()
            t = np.clip(WEIGHTS[0] + WEIGHTS[1] * sharp + WEIGHTS[2] * share, 0, 1)
            g = gains[k, :, a:end]
            rest = np.sqrt(np.maximum(1 - g, 1 / 512))
            soft = np.sqrt(g) / (np.sqrt(g) + rest)
            out[k, :, a:end] = g + t * (soft - g)
    return out


def lopsided_mask(s: Spectral, n_frames: int) -> NDArray[np.int8]:
    """Undecided below, sure of itself above."""
    codes = random_mask(s, n_frames)[:, :, :1].repeat(2, axis=2)
    sure = np.where(codes > 0, 120, -120)
    mask = np.where(np.arange(s.n_bands)[:, None] < 20, codes // 2, sure)
    return mask.astype(np.int8)


@engines
@pytest.mark.parametrize("n_channels", [1, 2])
def test_softness_is_its_definition(backend: str, simd: str, n_channels: int) -> None:
    s = make(backend, simd, decay=0.9, softness=WEIGHTS, n_channels=n_channels)
    X, _ = analyse(s, samples(s, 30))
    mask = lopsided_mask(s, len(X))
    y, _ = synthesise(s, mask, X, undecided=unsure())
    edges = np.arange(s.n_bands + 1)
    gains = np.array([gains_of(s, codes, edges, 8) for codes in mask])
    expected = softened(X.astype(complex), gains, 0.9, s.n_bands)
    changes = np.abs(expected - gains).max(axis=(0, 1))
    assert changes[:16].max() > 0.05
    assert changes[32:].max() < 1e-3
    expected_y = overlap_added(s, expected * X)[: len(y)]
    assert np.abs(y - expected_y).max() < 1e-5 * np.abs(expected_y).max()


@engines
def test_a_mask_without_doubt_stays_as_it_is(backend: str, simd: str) -> None:
    s = make(backend, simd, decay=0.9, softness=(1.0, -1.0, 0.5))
    X, _ = analyse(s, samples(s, 8))
    mask = np.where(random_mask(s, 8) > 0, 127, -128).astype(np.int8)
    plain, soft = (synthesise(s, mask, X, undecided=d)[0] for d in (None, unsure()))
    assert np.abs(plain - soft).max() < 1e-6 * np.abs(plain).max()


@engines
def test_doubt_does_not_depend_on_grouping_or_loudness(backend: str, simd: str) -> None:
    s = make(backend, simd, decay=0.9, softness=WEIGHTS)
    X, _ = analyse(s, samples(s, 30))
    mask = random_mask(s, len(X))
    check_grouping_and_loudness(s, mask, X, 17, lambda: {"undecided": unsure()})


@pytest.mark.parametrize("simd", native.simd_levels())
@cases
def test_levels_agree_on_doubt(simd: str, case: dict[str, Any]) -> None:
    changes = {"decay": 0.9, "softness": WEIGHTS} | case
    y, doubt = check_levels_agree(simd, changes, "undecided", unsure)
    assert doubt.any() == y.any()


@engines
@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_damage_and_silence_leave_doubt_finite(
    backend: str, simd: str, bad: float
) -> None:
    s = make(backend, simd, decay=0.5, softness=WEIGHTS)
    X, _ = analyse(s, samples(s, 200))
    X[3], X[100:] = bad, 0
    doubt = unsure()
    with np.errstate(over="ignore", invalid="ignore"):
        y, _ = synthesise(s, random_mask(s, 200), X, undecided=doubt)
    assert np.isfinite(doubt).all()
    assert np.isfinite(y[8 * HOP :]).all()


# ---- Directions -------------------------------------------------------------------


def anywhere() -> NDArray[np.float32]:
    return np.zeros(DIRECTIONS_SIZE, np.float32)


def direction(left: complex, right: complex) -> int:
    """Cell of a bin, as es_synthesise defines it."""
    powers = abs(left) ** 2, abs(right) ** 2
    cross = (left * np.conj(right)).real
    side = sum(
        powers[1] >= np.sin(k * np.pi / 18) ** 2 * sum(powers) for k in range(1, 9)
    )
    turn = sum(
        cross <= np.cos(k * np.pi / 6) * abs(left) * abs(right) for k in range(1, 6)
    )
    return 6 * side + turn


def turned(X: NDArray[Any], gains: NDArray[Any], decay: float, n: int) -> Any:
    """The definition in words, bin by bin: gains (n_frames, 2, n_bins), the sums."""
    out, sums = gains.copy(), np.zeros((2, 7, 54))
    regions = np.searchsorted((8, 16, 32, 64, 128, 256), np.arange(n), side="right")
    for k, (left, right) in enumerate(X[:, :, :n].astype(complex)):
        cells = [direction(*bin) for bin in zip(left, right, strict=True)]
        powers = np.abs(left) ** 2, np.abs(right) ** 2
        sums *= decay
        for b, at in enumerate(zip(regions, cells, strict=True)):
            power = powers[0][b] + powers[1][b]
            h = sum(gains[k, c, b] * powers[c][b] for c in (0, 1)) / power
            sums[0][at] += np.sqrt(power)
            sums[1][at] += np.sqrt(power) * h
        for b, (region, cell) in enumerate(zip(regions, cells, strict=True)):
            total, heard = sums[:, region].sum(axis=1)
            m, a = heard / total, 0.05 * total / 54
            p = (sums[1, region, cell] + a * m) / (sums[0, region, cell] + a)
            p, m = np.clip([p, m], 0.02, 0.98)
            e = (p * (1 - m) / ((1 - p) * m)) ** 1.5
            g = gains[k, :, b]
            out[k, :, b] = g * e / (g * e + 1 - g)
    return out, sums


@engines
def test_the_panorama_is_its_definition(backend: str, simd: str) -> None:
    s = make(backend, simd, decay=0.9)
    X, _ = analyse(s, sum(panned(s, 20)) + 0.3 * samples(s, 20, seed=2))
    mask, panorama = random_mask(s, 20), anywhere()
    mask[3], mask[4] = -128, 127
    y, _ = synthesise(s, mask, X, directions=panorama)
    edges = np.arange(s.n_bands + 1)
    gains = np.array([gains_of(s, codes, edges, 8) for codes in mask])
    expected, sums = turned(X, gains, 0.9, s.n_bands)
    assert np.abs(expected - gains).max() > 0.2
    expected_y = overlap_added(s, expected * X)[: len(y)]
    assert np.abs(y - expected_y).max() < 1e-5 * np.abs(expected_y).max()
    assert np.abs(panorama - sums.reshape(-1)).max() < 1e-5 * sums.max()


@engines
def test_an_undecided_mask_learns_where_vocals_are(backend: str, simd: str) -> None:
    s = make(backend, simd, decay=0.99, band_edges=np.arange(N_FFT // 2 + 2))
    vocals, rest = panned(s, 120)
    X = analyse(s, vocals + rest)[0]
    random = np.random.default_rng(3)
    hint = hints(analyse(s, vocals)[0], analyse(s, rest)[0])
    unsure = hint // 2 + random.integers(-40, 40, hint.shape[:2])[:, :, None]
    mask = np.clip(unsure, -128, 127).astype(np.int8)
    plain, turned_y = (
        error_db(synthesise(s, mask, X, directions=p)[0], vocals)
        for p in (None, anywhere())
    )
    assert turned_y < plain - 0.5


@engines
def test_where_all_comes_from_one_place_gains_stay(backend: str, simd: str) -> None:
    s = make(backend, simd, decay=0.9)
    X, _ = analyse(s, samples(s, 12)[:, :1].repeat(2, axis=1))
    mask = random_mask(s, 12)
    plain, turned_y = (
        synthesise(s, mask, X, directions=p)[0] for p in (None, anywhere())
    )
    assert np.abs(plain - turned_y).max() < 1e-5 * np.abs(plain).max()


@engines
def test_directions_do_not_depend_on_grouping_or_loudness(
    backend: str, simd: str
) -> None:
    s = make(backend, simd, decay=0.9)
    X, _ = analyse(s, samples(s, 30))
    mask = random_mask(s, len(X))
    check_grouping_and_loudness(s, mask, X, 17, lambda: {"directions": anywhere()})


@pytest.mark.parametrize("simd", native.simd_levels())
@cases
def test_levels_agree_on_directions(simd: str, case: dict[str, Any]) -> None:
    y, panorama = check_levels_agree(
        simd, {"decay": 0.9} | case, "directions", anywhere
    )
    assert panorama.any() == (y.shape[1] == 2)


@engines
@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_damage_and_silence_leave_directions_finite(
    backend: str, simd: str, bad: float
) -> None:
    s = make(backend, simd, decay=0.5)
    X, _ = analyse(s, samples(s, 200))
    X[3], X[100:] = bad, 0
    panorama = anywhere()
    with np.errstate(over="ignore", invalid="ignore"):
        y, _ = synthesise(s, random_mask(s, 200), X, directions=panorama)
    assert np.isfinite(panorama).all()
    assert np.isfinite(y[8 * HOP :]).all()


# ---- Refusals -----------------------------------------------------------------------


def arrays(s: Spectral) -> dict[str, NDArray[Any]]:
    return {
        "x": samples(s, 2),
        "X": np.full((2, 2, s.n_bins), 7, np.complex64),
        "features": np.full((2, s.n_bands, 2), 7, np.int8),
        "mask": np.full((2, s.n_bands, 2), 7, np.int8),
        "tail": np.full((N_FFT - HOP, 2), 7, np.float32),
        "y": np.full((2 * HOP, 2), 7, np.float32),
        "places": np.full((2, 4, s.n_bins), 7, np.float32),
        "repetition": np.full(s.repetition_size, 7, np.float32),
        "undecided": np.full(UNDECIDED_SIZE, 7, np.float32),
        "directions": np.full(DIRECTIONS_SIZE, 7, np.float32),
    }


def read_only(a: NDArray[Any]) -> NDArray[Any]:
    a = a.copy()
    a.setflags(write=False)
    return a


BREAKS = {
    "double": lambda a: a.astype(np.complex128 if a.dtype.kind == "c" else np.float64),
    "list": lambda a: a.tolist(),
    "short": lambda a: a[..., :-1].copy(),
    "flat": lambda a: a.reshape(-1),
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "read-only": read_only,
}


@engines
@pytest.mark.parametrize(
    "broken",
    [
        *("x", "X", "features", "mask", "tail", "y"),
        *("places", "repetition", "undecided", "directions"),
    ],
)
@pytest.mark.parametrize("how", BREAKS)
def test_wrong_arrays_are_refused_and_nothing_is_written(
    backend: str, simd: str, broken: str, how: str
) -> None:
    is_input = broken in ("x", "mask")
    if (how == "read-only" and is_input) or (
        how == "flat" and broken in ("repetition", "undecided", "directions")
    ):
        return
    s = make(backend, simd, n_past=3)
    good = arrays(s)
    bad = good | {broken: BREAKS[how](good[broken])}
    outputs = {k: np.copy(v) for k, v in good.items()}

    def call() -> None:
        if broken in ("x", "features") or (broken == "X" and how == "read-only"):
            s.analyse(bad["x"], 1.0, bad["X"], bad["features"])
        else:
            memory = s.memory(**{k: bad[k] for k in PARTS})
            s.synthesise(bad["mask"], bad["X"], memory, bad["y"])

    with pytest.raises((TypeError, ValueError), match=f"^{broken}: expected "):
        call()
    for name, before in outputs.items():
        assert np.array_equal(good[name], before), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_fft": 250}, r"n_fft: expected 2\^a"),
        ({"hop": 0}, "hop: expected 1 to 256, got 0"),
        ({"hop": 257}, "hop: expected 1 to 256, got 257"),
        ({"n_synthesis": 257}, "n_synthesis: expected 1 to 256, got 257"),
        ({"n_synthesis": 63}, "hop: expected 1 to 63, got 64"),
        ({"n_synthesis": 128}, "synthesis_window: expected shape"),
        ({"decay": 1.0}, "decay: expected 0 to below 1, got 1.0"),
        ({"decay": np.nan}, "decay: expected 0 to below 1, got nan"),
        ({"n_channels": 3}, "n_channels: expected 1 to 2, got 3"),
        ({"n_features": 1}, "n_features: expected 2 to 3, got 1"),
        ({"top_bands": -1}, "top_bands: expected 0 to 64, got -1"),
        ({"top_bands": 65}, "top_bands: expected 0 to 64, got 65"),
        ({"band_edges": [3]}, "band_edges: expected shape"),
        ({"band_edges": [0, 2, 2]}, "band_edges: expected increasing"),
        ({"band_edges": [-1, 2]}, "band_edges: expected increasing"),
        ({"thresholds": THRESHOLDS[1:]}, "thresholds: expected shape"),
        ({"thresholds": THRESHOLDS[::-1]}, "thresholds: expected numbers that"),
        ({"thresholds": np.full(255, np.nan)}, "thresholds: expected numbers that"),
        ({"thresholds": np.linspace(1, 1.1, 255)}, "thresholds: expected steps"),
        ({"thresholds": np.full(255, 1.0)}, "thresholds: expected steps"),
        ({"mask_table": LINEAR[:255]}, "mask_table: expected shape"),
        ({"mask_table": [np.inf] * 256}, "mask_table: expected finite"),
        ({"analysis_window": np.ones(255)}, "analysis_window: expected shape"),
        ({"synthesis_window": [np.nan] * 256}, "synthesis_window: expected finite"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match=message),
    ):
        changes: dict[str, Any] = {"top_bands": 0} | change
        analysis, synthesis = hann_pair(N_FFT, HOP)
        windows = {"analysis_window": analysis, "synthesis_window": synthesis}
        make(**(windows | changes))


def test_an_unknown_back_end_is_refused() -> None:
    with pytest.raises(ValueError, match="backend: expected auto or one of"):
        make("cuda")


def test_the_kernel_finds_steps_that_the_check_lets_pass() -> None:
    """The least step allowed must fit the kernel's cells at any exponent."""
    for start in (1e-30, 0.7, 1.0, 1.9, 3e20):
        make(thresholds=start * 1.0021 ** np.arange(255))
