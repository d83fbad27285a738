"""What the gains learn of places: the filter, and what it may not do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from spectra import (
    HOP,
    LINEAR,
    N_FFT,
    analyse,
    cases,
    check_grouping_and_loudness,
    engines,
    error_db,
    hints,
    make,
    overlap_added,
    panned,
    random_mask,
    samples,
    state,
    synthesise,
)

from edgestem import native


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
