"""Training mixtures from a small pool: needs torch, so only beside training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tools.pool.mixtures import Mixtures

N = 2 * 44100


def test_examples_are_sound_and_seeded(pool: Path) -> None:
    mixtures = Mixtures(pool, seed=1, n_frames=(64,))
    mixtures.rng = np.random.default_rng(1)
    mixtures._open()
    assert set(mixtures.songs) == {"One"}
    silent = alone = 0
    for _ in range(60):
        mixture, vocals, weight = mixtures.example(N)
        for x in (mixture, vocals):
            assert x.shape == (2, N)
            assert x.dtype == np.float32
            assert np.isfinite(x).all()
        assert 0 <= weight <= 1
        silent += not vocals.any()
        alone += vocals.any() and np.abs(mixture - vocals).max() < 1e-6
    assert 10 <= silent <= 33
    assert alone <= 12
    batches = [next(iter(Mixtures(pool, 7, (64,)))) for _ in range(2)]
    for a, b in zip(*batches, strict=True):
        np.testing.assert_array_equal(a, b)
    assert batches[0][0].shape == (8, 2, 63 * 1024 + 4096)


def test_mastering_keeps_the_sum_a_sum(pool: Path) -> None:
    """Whatever both go through, the backing is still mixture minus vocals."""
    mixtures = Mixtures(pool, seed=1, n_frames=(64,))
    mixtures.rng = np.random.default_rng(2)
    tone = np.sin(2 * np.pi * 440 * np.arange(N) / 44100)
    vocals = np.float32([tone, tone]) * np.float32(0.2)
    for _ in range(40):
        mixture, after = mixtures.master(vocals, 2 * vocals)
        np.testing.assert_allclose(mixture, 3 * after, atol=1e-5)
