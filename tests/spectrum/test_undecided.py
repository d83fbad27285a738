"""What masks learn from how undecided they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from spectra import (
    HOP,
    analyse,
    cases,
    check_grouping_and_loudness,
    check_levels_agree,
    engines,
    gains_of,
    make,
    overlap_added,
    random_mask,
    samples,
    synthesise,
    unsure,
)

from edgestem import native
from edgestem.spectrum.spectral import Spectral

WEIGHTS = (3.0, -4.0, 0.7)


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
