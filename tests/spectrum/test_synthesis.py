"""From masks to samples: every back end and level, the same laws."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from spectra import (
    CASES,
    HOP,
    N_FFT,
    analyse,
    cases,
    engines,
    gains_of,
    make,
    noise,
    open_mask,
    overlap_added,
    random_mask,
    samples,
    synthesise,
    widening,
)

from edgestem import native
from edgestem.spectrum.tables import is_supported_size
from edgestem.spectrum.windows import fading_out, hann_pair, window_pair


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
