"""What masks learn from where the vocals come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from spectra import (
    HOP,
    N_FFT,
    analyse,
    cases,
    check_grouping_and_loudness,
    check_levels_agree,
    engines,
    error_db,
    gains_of,
    hints,
    make,
    overlap_added,
    panned,
    random_mask,
    samples,
    synthesise,
)

from edgestem import native
from edgestem.spectrum.learners import DIRECTIONS_SIZE


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
