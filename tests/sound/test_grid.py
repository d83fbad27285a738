"""Sample formats: the mixture law for any values, and WAV bytes on pipes."""

from __future__ import annotations

import io
from itertools import combinations, product

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from edgestem.sound import wav
from edgestem.sound.grid import GRIDS, convert, mix, split, to_float32
from edgestem.sound.wav import WavFormat

INTEGERS = ("8", "16", "24", "32")
FLOATS = ("float", "double")


def random_mixture(name: str, seed: int, loudness: float = 0.5) -> np.ndarray:
    grid, rng = GRIDS[name], np.random.default_rng(seed)
    x = rng.normal(0, loudness, (500, 2))
    return convert(x, GRIDS["double"], grid)[0]


@pytest.mark.parametrize("name", INTEGERS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), loudness=st.floats(0, 3), vocal=st.floats(0, 3))
def test_integer_stems_add_up_exactly_and_stay_in_range(
    name: str, seed: int, loudness: float, vocal: float
) -> None:
    grid = GRIDS[name]
    mixture = random_mixture(name, seed, loudness)
    rng = np.random.default_rng(seed + 1)
    y = rng.normal(0, vocal + 1e-9, mixture.shape).astype(np.float32)
    vocals, instrumental, n_adjusted = split(mixture, y, grid)
    assert np.array_equal(vocals + instrumental, mixture)
    for stem in (vocals, instrumental):
        assert stem.min() >= grid.lowest
        assert stem.max() <= grid.highest
    rounded = np.rint(y.astype(np.float64) * grid.full_scale)
    assert n_adjusted == np.count_nonzero(rounded != vocals)


@pytest.mark.parametrize("name", ["8", "16", "24"])
@pytest.mark.parametrize("vocal", [0.3, 3.0, 1e30, np.inf, np.nan])
def test_the_short_way_gives_the_long_ways_values(name: str, vocal: float) -> None:
    """Written out in float64 and int64, value by value."""
    grid = GRIDS[name]
    mixture = random_mixture(name, 7, 0.6)
    y = np.random.default_rng(8).normal(0, 0.4, mixture.shape).astype(np.float32)
    y[::50] = vocal if not np.isnan(vocal) else 0.5 / grid.full_scale  # a tie
    wide = mixture.astype(np.int64)
    rounded = np.rint(y.astype(np.float64) * grid.full_scale)
    low = np.maximum(grid.lowest, wide - grid.highest)
    high = np.minimum(grid.highest, wide - grid.lowest)
    expected = np.clip(rounded, low, high)
    vocals, instrumental, n_adjusted = split(mixture, y, grid)
    assert np.array_equal(vocals, expected)
    assert np.array_equal(instrumental, wide - expected)
    assert n_adjusted == np.count_nonzero(expected != rounded) > 0


def test_vocals_give_way_only_where_a_stem_would_leave_the_range() -> None:
    mixture = np.array([[32767], [-32768], [100]])
    vocals, instrumental, n_adjusted = split(
        mixture, np.array([[-0.5], [0.5], [0.25]], np.float32), GRIDS["16"]
    )
    assert vocals.ravel().tolist() == [0, 0, 8192]
    assert instrumental.ravel().tolist() == [32767, -32768, 100 - 8192]
    assert n_adjusted == 2


@pytest.mark.parametrize("name", FLOATS)
def test_float_stems_add_up_to_the_last_place(name: str) -> None:
    grid = GRIDS[name]
    mixture = random_mixture(name, 1)
    y = np.random.default_rng(2).normal(0, 0.5, mixture.shape).astype(np.float32)
    vocals, instrumental, n_adjusted = split(mixture, y, grid)
    assert vocals.dtype == instrumental.dtype == grid.dtype
    error = np.abs(vocals.astype(np.longdouble) + instrumental - mixture)
    assert np.all(error <= np.spacing(np.abs(instrumental)))
    assert n_adjusted == 0


@pytest.mark.parametrize("name", GRIDS)
def test_karaoke_at_0_db_is_the_song_and_below_it_is_quieter(name: str) -> None:
    grid = GRIDS[name]
    mixture = random_mixture(name, 3, 0.2)
    y = to_float32(mixture, grid) * np.float32(0.7)
    vocals, instrumental, _ = split(mixture, y, grid)
    same, n_clipped = mix(vocals, instrumental, 1.0, grid)
    assert np.allclose(same, mixture, rtol=1e-6, atol=0)
    assert n_clipped == 0
    none, _ = mix(vocals, instrumental, 0.0, grid)
    assert np.array_equal(none, instrumental)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        *combinations(INTEGERS, 2),
        *product(("8", "16", "24"), FLOATS),
        ("32", "double"),
        ("float", "double"),
    ],
)
def test_converting_to_a_wider_grid_and_back_changes_nothing(
    source: str, target: str
) -> None:
    a, b = GRIDS[source], GRIDS[target]
    x = random_mixture(source, 4)
    there, n_clipped = convert(x, a, b)
    assert n_clipped == 0
    assert np.array_equal(convert(there, b, a)[0], x)


def test_what_leaves_the_range_is_clipped_and_counted() -> None:
    x = np.array([[1.5], [-1.5], [0.5], [1.0]], np.float32)
    y, n_clipped = convert(x, GRIDS["float"], GRIDS["16"])
    assert y.ravel().tolist() == [32767, -32768, 16384, 32767]
    assert n_clipped == 3


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("n_samples", [0, 1, 77])
def test_wav_bytes_are_what_libsndfile_reads(
    name: str, n_channels: int, n_samples: int
) -> None:
    x = random_mixture(name, 5)[:n_samples, :n_channels]
    grid = GRIDS[name]
    for length in (n_samples, None):  # a file, and a stream
        head = WavFormat(grid, 48000, n_channels, length)
        data = wav.header(head) + wav.pack(x, grid)
        kind = grid.dtype if grid.is_float else np.int32
        sound, rate = soundfile.read(io.BytesIO(data), dtype=np.dtype(kind).name)
        shift = 0 if grid.is_float else 32 - grid.bits
        assert rate == 48000
        assert np.array_equal(sound.reshape(x.shape), x * (1 << shift) if shift else x)
        pipe = io.BytesIO(data)
        found = wav.parse(pipe.read)
        assert found is not None
        # A length of 0 is what some programs write to pipes.
        assert found == WavFormat(grid, 48000, n_channels, length or None)
        assert np.array_equal(wav.unpack(pipe.read(), found), x)


def test_header_of_a_long_file_is_rf64() -> None:
    grid = GRIDS["16"]
    n_samples = (5 << 30) // 4
    data = wav.header(WavFormat(grid, 44100, 2, n_samples), with_room=True)
    assert data[:4] == b"RF64"
    assert len(data) == len(wav.header(WavFormat(grid, 44100, 2, 9), with_room=True))
    found = wav.parse(io.BytesIO(data).read)
    assert found == WavFormat(grid, 44100, 2, n_samples)


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, 100), at=st.integers(0, 60), value=st.integers(0, 255))
def test_a_damaged_header_is_read_or_refused_but_never_crashes(
    cut: int, at: int, value: int
) -> None:
    good = bytearray(wav.header(WavFormat(GRIDS["24"], 44100, 2, 10)) + bytes(60))
    good[at % len(good)] = value
    found = wav.parse(io.BytesIO(good[:cut]).read)
    if found is not None:
        assert found.bytes_per_sample > 0
