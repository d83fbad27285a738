"""The sums of tools.train.softness are the engine's: needs torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edgestem.spectrum.learners import N_REGIONS, REGION_ENDS, UNDECIDED_SIZE, Softness
from tools.train.softness import Listener, Songs, Sums

DATA = Path(__file__).parents[1] / "data"


def noise(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    swell = 1 + np.sin(np.arange(40_000) / 3000)[:, None]
    return np.float32(0.1 * swell * rng.normal(size=(40_000, 2)))


def test_sums_are_those_of_the_engine() -> None:
    listener = Listener(44100, 2, model=DATA / "tiny.tflite")
    vocals, rest = noise(1), noise(2)
    sums = Sums(listener, vocals, rest)
    codes = listener.masks_of(vocals + rest)
    X = sums.spectrum(listener, vocals + rest)
    edges = listener.config.band_edges()
    n_heard = min(int(edges[-1]), X.shape[2])
    doubt, weights = np.zeros(UNDECIDED_SIZE), np.array([1.5, -2.0, 0.9])
    engine = Softness(weights, n_heard, 1.0, doubt)
    bands = np.searchsorted(edges, np.arange(n_heard), side="right") - 1
    gains = listener.config.mask_table()[codes.astype(int) + 128]
    for g, frame in zip(gains[:, bands].swapaxes(1, 2), X, strict=False):
        engine(g, frame[:, :n_heard])
    starts = [0, *(end for end in REGION_ENDS if end < n_heard)]
    told = np.clip(sums.told @ weights, 0, 1)[: len(starts)]
    assert 0.05 < told.mean() < 0.95
    assert np.allclose(engine._share(n_heard)[starts], told, atol=1e-6)


def test_weights_are_found_that_gain_what_can_be_gained() -> None:
    rng = np.random.default_rng(3)
    table = np.linspace(0, 1, 256)
    soft = np.sqrt(table) / (np.sqrt(table) + np.sqrt(np.maximum(1 - table, 1 / 512)))
    weights = np.array([4.0, -7.0, 2.5])
    songs = []
    for _ in range(12):
        song = Sums.__new__(Sums)
        sharp = rng.uniform(0.5, 1, N_REGIONS)
        whole = np.full(N_REGIONS, rng.uniform(0.4, 0.9))
        song.told = np.stack([np.ones(N_REGIONS), sharp, whole], 1)
        t = np.clip(song.told @ weights, 0, 1)[:, None]
        song.power = rng.uniform(0, 1, (N_REGIONS, 256))
        truth = table + t * (soft - table)
        song.with_vocals = truth * song.power
        song.vocals = 1.02 * float((truth**2 * song.power).sum())
        songs.append(song)
    both = Songs(songs, table)
    best = both.gains_db((both.told @ torch.tensor(weights)).clamp(0, 1))
    found = both.gains_db((both.told @ both.choose([*range(12)])).clamp(0, 1))
    assert float(best.mean()) > 0.3
    assert float(found.mean()) > 0.9 * float(best.mean())
