"""What masks learn from what repeats."""

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
    engines,
    error_db,
    gains_of,
    learnt,
    make,
    memory,
    overlap_added,
    random_mask,
    samples,
    state,
    synthesise,
)

from edgestem import native
from edgestem.spectrum.spectral import Spectral


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
