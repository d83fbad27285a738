"""The five laws of the engine, for random signals, cuts, channels and rates."""

from __future__ import annotations

import json
import shutil
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import allocations

import edgestem
from edgestem.engine.separator import Separator
from edgestem.engine.whole import separate
from edgestem.network.geometry import frame_sizes
from edgestem.stems import Stems

DATA = Path(__file__).parent.parent / "data"
NETS = (
    "tiny",
    "twice",
    "stateful1",
    "stateful2",
    "stateful8",
    "stateful64",
    "short1",
    "short8",
    "slide",
    "front",
    "pair",
)
RATES = (16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000)


def net(name: str) -> Path:
    return DATA / f"{name}.tflite"


def noise(n_samples: int, n_channels: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, (n_samples, n_channels)).astype(np.float32)


def variant(folder: Path, of: str, name: str, **fields: object) -> Path:
    """Another model of a test model's network, with other values in its sidecar."""
    for suffix in (".tflite", ".json"):
        shutil.copy(DATA / f"{of}{suffix}", folder)
    about = {"name": name, "file": f"{of}.tflite"} | fields
    (folder / f"{name}.json").write_text(json.dumps(about))
    return folder / f"{name}.tflite"


def stream(separator: Separator, x: np.ndarray, cuts: list[int]) -> Stems:
    """Push x in blocks that end at the cuts, then flush."""
    separator.reset()
    edges = [0, *sorted(min(c, len(x)) for c in cuts), len(x)]
    parts = [separator.push(x[a:b]) for a, b in pairwise(edges)]
    parts.append(separator.flush())
    return Stems(*(np.concatenate(p) for p in zip(*parts, strict=True)))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_output_is_independent_of_block_sizes(name: str, n_channels: int) -> None:
    separator = Separator(44100, n_channels, model=net(name))
    x = noise(30_000, n_channels)
    whole = stream(separator, x, [])

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.integers(0, len(x)), max_size=12))
    def check(cuts: list[int]) -> None:
        cut = stream(separator, x, cuts)
        assert np.array_equal(cut.vocals, whole.vocals)
        assert np.array_equal(cut.instrumental, whole.instrumental)

    check()
    sample_by_sample = stream(separator, x[:700], list(range(700)))
    at_once = stream(separator, x[:700], [])
    assert np.array_equal(sample_by_sample.vocals, at_once.vocals)


class Anew(Separator):
    """Transforms every frame in every call that hears it."""

    def _analyse(self, gain: float) -> None:
        X, heard = self._X.rows[self.geometry.lookahead :], self._model.features()
        if self.config.levels:
            self._spectral.analyse(self._x.rows, gain, X, None)
            self._spectral.magnitudes(X, gain, heard)
        else:
            self._spectral.analyse(self._x.rows, gain, X, heard)


@pytest.mark.parametrize("name", NETS)
def test_frames_heard_again_are_as_if_transformed_anew(name: str) -> None:
    x = noise(40_000, 2)
    x *= np.repeat(np.float32([1, 0.1, 0.001, 1, 0.3]), 8000)[:, None]
    separator, anew = (kind(44100, 2, model=net(name)) for kind in (Separator, Anew))
    for _ in range(2):
        got, wanted = stream(separator, x, [12_345]), stream(anew, x, [])
        assert got.vocals.any()
        assert np.array_equal(got.vocals, wanted.vocals)


@pytest.mark.parametrize("name", ["tiny", "stateful2", "pair"])
def test_file_and_stream_give_the_same_samples(name: str) -> None:
    x = noise(20_000, 2)
    separator = Separator(48000, 2, model=net(name))
    streamed = stream(separator, x, [5, 7000])
    filed = separate(x, 48000, model=net(name))
    late = separator.latency_samples
    assert np.array_equal(streamed.vocals[late:], filed.vocals)
    assert np.array_equal(streamed.instrumental[late:], filed.instrumental)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("offset", [None, -1, 0, 1, 5000])
def test_stems_add_up_to_the_mixture(rate: int, n_channels: int, offset) -> None:
    hop = Separator(rate, 1, model=net("tiny")).geometry.hop
    for n_samples in {0, 1} if offset is None else {hop + offset, 3 * hop + offset}:
        x = noise(n_samples, n_channels)
        stems = separate(x, rate, model=net("tiny"))
        assert stems.vocals.shape == stems.instrumental.shape == x.shape
        # Float32: mixture - vocals + vocals differs by one rounding.
        spacing = np.spacing(np.maximum(np.abs(x), np.abs(stems.vocals)))
        error = np.abs(stems.vocals + stems.instrumental - x)
        assert np.all(error <= spacing)


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("name", NETS)
def test_impulse_arrives_exactly_latency_samples_later(name: str, rate: int) -> None:
    separator = Separator(rate, 2, model=net(name))
    late = separator.latency_samples
    x = np.zeros((9000, 2), np.float32)
    at = 4321
    x[at] = 0.5
    stems = stream(separator, x, [100, 5000])
    total = stems.vocals + stems.instrumental
    assert len(total) == len(x) + late
    expected = np.zeros_like(total)
    expected[at + late] = 0.5
    assert np.allclose(total, expected, atol=1e-7)
    # The vocals carry part of it at the very same place.
    vocals = np.abs(stems.vocals).sum(1)
    assert vocals.argmax() == at + late
    assert not stems.vocals[:late].any()
    assert not stems.instrumental[:late].any()


def test_memory_does_not_grow_with_the_stream() -> None:
    separator = Separator(44100, 2, model=net("stateful2"))
    x = noise(4096, 2)
    out = Stems(np.empty_like(x), np.empty_like(x))
    for _ in range(20):
        separator.push(x, out)
    growth, peak = allocations(lambda: separator.push(x, out))
    assert growth < 4096
    if separator.fft == "native":  # the other back ends allocate inside numpy
        assert peak < 8192, "a push allocates arrays"


@pytest.mark.parametrize("name", ["tiny", "stateful8", "pair"])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_digital_silence_stays_digital_silence(name: str, n_channels: int) -> None:
    x = np.zeros((12_345, n_channels), np.float32)
    stems = separate(x, 44100, model=net(name))
    assert not stems.vocals.any()
    assert not stems.instrumental.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_damage_is_counted_and_passes_as_silence(bad: float) -> None:
    separator = Separator(44100, 2, model=net("tiny"))
    x = noise(9000, 2)
    clean = x.copy()
    x[3000:3005, 1] = bad
    clean[3000:3005, 1] = 0
    got = stream(separator, x, [1000, 2999])
    assert separator.n_bad_samples == 5
    wanted = stream(separator, clean, [])
    assert separator.n_bad_samples == 0
    assert np.array_equal(got.vocals, wanted.vocals)
    assert np.array_equal(got.instrumental, wanted.instrumental)


def test_full_scale_noise_stays_finite() -> None:
    x = 1000 * noise(9000, 2)
    stems = separate(x, 44100, model=net("tiny"))
    assert np.isfinite(stems.vocals).all()


@pytest.mark.parametrize("rate", RATES)
def test_window_lasts_as_long_at_every_rate(rate: int) -> None:
    config = Separator(44100, 1, model=net("tiny")).config
    n_fft, hop = frame_sizes(config, rate)
    assert n_fft % hop == 0
    ratio = (n_fft / rate) / (config.n_fft / config.sample_rate)
    assert 0.88 < ratio < 1.13


def test_two_separators_do_not_talk() -> None:
    a = Separator(44100, 2, model=net("stateful2"))
    b = Separator(44100, 2, model=net("stateful2"))
    x, y = noise(20_000, 2, 1), noise(20_000, 2, 2)
    alone = stream(a, x, []).vocals
    a.reset()
    parts = []
    for i in range(0, 20_000, 777):
        parts.append(a.push(x[i : i + 777]).vocals)
        b.push(y[i : i + 777])
    assert np.array_equal(np.concatenate(parts), alone[: len(x)])


def test_four_threads_give_what_one_gives() -> None:
    x = noise(40_000, 2)
    alone = separate(x, 44100, model=net("tiny")).vocals
    results: list[np.ndarray] = []

    def work() -> None:
        results.append(separate(x, 44100, model=net("tiny")).vocals)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 4
    assert all(np.array_equal(r, alone) for r in results)
    threaded = Separator(44100, 2, model=net("tiny"), threads=4)
    late = threaded.latency_samples
    assert np.array_equal(stream(threaded, x, []).vocals[late:], alone)


@pytest.mark.parametrize("fft", ["native", "fftw", "numpy"])
def test_every_back_end_separates_alike(fft: str) -> None:
    if fft == "fftw":
        pytest.importorskip("pyfftw")
    x = noise(30_000, 2)
    reference = stream(Separator(44100, 2, model=net("tiny"), fft="numpy"), x, [])
    got = stream(Separator(44100, 2, model=net("tiny"), fft=fft), x, [])
    error = np.sum((got.vocals - reference.vocals) ** 2)
    # A feature on a rounding boundary may differ by one code, and a mask with it.
    assert error < 1e-4 * np.sum(reference.vocals**2)


def test_stateful_nets_give_the_same_samples_for_every_number_of_frames() -> None:
    x = noise(50_000, 2)
    first = separate(x, 44100, model=net("stateful1")).vocals
    assert first.any()
    for name in ("stateful2", "stateful8", "stateful64"):
        assert np.array_equal(separate(x, 44100, model=net(name)).vocals, first)


@pytest.mark.parametrize(("rate", "late"), [(44100, 512), (48000, 512), (96000, 1024)])
def test_latency_of_a_short_synthesis_is_its_length(rate: int, late: int) -> None:
    assert Separator(rate, 2, model=net("short1")).latency_samples == late
    x = noise(50_000, 2)
    one = separate(x, rate, model=net("short1")).vocals
    assert np.array_equal(separate(x, rate, model=net("short8")).vocals, one)


def test_masks_learn_from_what_repeats(tmp_path: Path) -> None:
    """At no latency."""
    x = np.resize(noise(9_000, 2), (60_000, 2))  # it repeats
    models = net("twice"), variant(tmp_path, "twice", "other", past_s=0)
    twice, other = (Separator(44100, 2, model=model) for model in models)
    assert twice.latency_samples == other.latency_samples
    assert twice.config.digest != other.config.digest
    start = twice.latency_samples
    first, second = (stream(s, x, []).vocals[start:] for s in (twice, other))
    assert np.abs(first - second).max() > 0.01 * np.abs(second).max()
    other.reset()
    assert np.array_equal(stream(other, x, []).vocals[start:], second)


def test_calls_take_turns_in_the_level_they_bring_blocks_to(tmp_path: Path) -> None:
    def at_levels(name: str, levels: list[float]) -> Separator:
        model = variant(tmp_path, "tiny", name, target_rms_db=levels)
        return Separator(44100, 1, model=model)

    soft, loud = at_levels("soft", [-18.0]), at_levels("loud", [-6.0])
    turns = at_levels("turns", [-18.0, -6.0])
    assert len({s.config.digest for s in (soft, loud, turns)}) == 3
    c = turns.config
    x = noise((c.frames_ahead + 5 * c.group) * c.hop, 1)
    ends = [(c.frames_ahead + n * c.group) * c.hop for n in range(6)]
    for _ in range(2):
        for call, (start, end) in enumerate(pairwise([0, *ends[1:]])):
            done = []
            for separator in (soft, loud, turns):
                separator.push(x[start:end])
                # What overlaps with no frame of the call before.
                done.append(separator.finished().vocals[c.n_fft - c.hop :].copy())
            assert not np.array_equal(done[0], done[1])
            assert np.array_equal(done[2], done[call % 2])
        for separator in (soft, loud, turns):
            separator.reset()  # the first level is the first again


@pytest.mark.parametrize("name", ["stateful2", "twice"])
def test_reset_gives_a_new_stream(name: str) -> None:
    separator = Separator(44100, 1, model=net(name))
    x = noise(10_000, 1)
    first = stream(separator, x, [])
    separator.reset()
    separator.push(noise(3333, 1, 9))
    again = stream(separator, x, [])
    assert np.array_equal(first.vocals, again.vocals)


def test_a_closed_stream_says_so() -> None:
    separator = Separator(44100, 1, model=net("tiny"))
    separator.flush()
    with pytest.raises(edgestem.StreamClosed) as caught:
        separator.push(noise(1, 1))
    assert caught.value.code == "stream_closed"
    with pytest.raises(edgestem.StreamClosed):
        separator.flush()
    separator.reset()
    separator.push(noise(1, 1))
    separator.close()
    with pytest.raises(edgestem.StreamClosed):
        separator.push(noise(1, 1))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.zeros((4, 2), np.uint8), r"block: expected float32 .* got uint8; convert"),
        (np.zeros((4, 2), complex), "block: expected float32 .* got complex128"),
        (np.zeros(4, np.float32), r"block: expected \(n, 2\), got \(4,\)"),
        (np.zeros((2, 9), np.float32), r"first \(2, N\): pass block\.T"),
        (np.zeros((4, 1), np.float32), r"block: expected \(n, 2\), got \(4, 1\)"),
        ([[0.0, 0.0]], r"block: expected a numpy array, got list; numpy\.asarray"),
    ],
)
def test_wrong_blocks_are_refused_with_both_shapes(block, message: str) -> None:
    separator = Separator(44100, 2, model=net("tiny"))
    with pytest.raises((TypeError, ValueError), match=message):
        separator.push(block)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("f8", 1), (">f4", 1), ("f2", 1), ("i2", 2**15), (">i2", 2**15), ("i4", 2**31)],
)
def test_arrays_that_mean_the_same_give_the_same_samples(
    dtype: str, scale: float
) -> None:
    x = (noise(6000, 2) * scale).astype(dtype)
    same = (x / scale).astype(np.float32)
    expected = separate(same, 44100, model=net("tiny"))
    found = separate(x, 44100, model=net("tiny"))
    pushed = Separator(44100, 2, model=net("tiny")).push(x)
    wanted = Separator(44100, 2, model=net("tiny")).push(same)
    for a, b in ((expected, found), (wanted, pushed)):
        assert a.vocals.dtype == b.vocals.dtype == np.float32
        assert np.array_equal(a.vocals, b.vocals)
        assert np.array_equal(a.instrumental, b.instrumental)


def test_mono_comes_back_as_it_was_given() -> None:
    x = noise(6000, 1)
    flat, upright = (separate(a, 44100, model=net("tiny")) for a in (x[:, 0], x))
    assert flat.vocals.shape == (6000,)
    assert upright.vocals.shape == (6000, 1)
    assert np.array_equal(flat.vocals, upright.vocals[:, 0])
    assert separate(x[:0, 0], 44100, model=net("tiny")).vocals.shape == (0,)


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        (np.zeros((2, 900)), r"first \(2, N\): pass mixture\.T"),
        (np.zeros((1, 900)), r"first \(1, N\): pass mixture\.T"),
        (
            np.zeros((3, 900, 2)),
            r"mixture: expected .* got \(3, 900, 2\)",
        ),
        (np.zeros((900, 2), np.int64), r"mixture: .* got int64; .* mixture\.astype"),
        ([0.0, 0.0], r"mixture: .* got list; numpy\.asarray\(mixture, 'float32'\)"),
        (None, "mixture: expected a numpy array, got NoneType"),
        ("song.wav", r"got str; of a file ask edgestem\.separate_file"),
        (Path("song.wav"), r"of a file ask edgestem\.separate_file"),
    ],
)
def test_a_mixture_that_is_none_is_refused_with_the_way_out(
    mixture, message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        separate(mixture, 44100, model=net("tiny"))


def test_a_rate_that_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match=r"sample_rate: .* got '44100'"):
        separate(noise(9, 2), "44100", model=net("tiny"))
    assert len(separate(noise(9, 2), np.float64(44100), model=net("tiny")).vocals) == 9


def test_out_is_written_and_returned() -> None:
    separator = Separator(44100, 2, model=net("tiny"))
    x = noise(6000, 2)
    out = Stems(np.full_like(x, 9), np.full_like(x, 9))
    assert separator.push(x, out) is out
    assert np.abs(out.vocals).max() < 9
    with pytest.raises(ValueError, match="out: expected"):
        separator.push(x[:10], out)


def test_inputs_that_are_views_work_like_copies() -> None:
    wide = noise(12_000, 4)
    separator = Separator(44100, 2, model=net("tiny"))
    view = stream(separator, wide[::2, 1:3], [])
    copy = stream(separator, np.ascontiguousarray(wide[::2, 1:3]), [])
    assert np.array_equal(view.vocals, copy.vocals)


@pytest.mark.parametrize(
    ("rate", "n_channels", "code"),
    [
        (44100, 8, "unsupported_channels"),
        (44100, 0, "unsupported_channels"),
        (4000, 2, "unsupported_sample_rate"),
        (1_000_000, 2, "unsupported_sample_rate"),
    ],
)
def test_impossible_streams_are_refused(rate: int, n_channels: int, code: str) -> None:
    with pytest.raises(edgestem.EdgestemError) as caught:
        Separator(rate, n_channels, model=net("tiny"))
    assert caught.value.code == code
