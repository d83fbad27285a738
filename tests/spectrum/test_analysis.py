"""From samples to spectra, features and codes: the same on every back end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from spectra import (
    HOP,
    N_FFT,
    THRESHOLDS,
    analyse,
    band_powers,
    cases,
    count,
    engines,
    make,
    noise,
    samples,
    widening,
)

from edgestem.spectrum.windows import hann_pair


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
