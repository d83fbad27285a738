"""Key and tempo: bypass, time map, clicks, ramps, formants, block sizes."""

from __future__ import annotations

import ctypes.util
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgestem.errors import EdgestemError, NativeError
from edgestem.stretch import rubberband as stretch_rubberband
from edgestem.stretch import stretcher as stretch
from edgestem.stretch.kernel import NativeStretch
from edgestem.stretch.stretcher import Stretcher

RATE = 16000
Samples = NDArray[np.float32]
needs_rubberband = pytest.mark.skipif(
    not ctypes.util.find_library("rubberband"), reason="librubberband2 is missing"
)


def source_of(*stems: Samples) -> Any:
    """Read stems by place; silence around them."""

    def source(start: int, n: int) -> Sequence[Samples]:
        places = np.arange(start, start + n)
        inside = (places >= 0) & (places < len(stems[0]))
        outs = []
        for stem in stems:
            out = np.zeros((n, stem.shape[1]), np.float32)
            out[inside] = stem[places[inside]]
            outs.append(out)
        return outs

    return source


def noise(n: int, n_channels: int = 2, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, n_channels)).astype(np.float32) * np.float32(0.1)


def hits(seconds: float, rate: int = RATE) -> Samples:
    """A chord with a burst of noise each 0.23 s, stereo."""
    t = np.arange(round(seconds * rate)) / rate
    x = sum(np.sin(2 * np.pi * f * t) for f in (110.0, 277.2, 329.6)) * 0.1
    burst = noise(len(t), 1, 3)[:, 0] * np.exp(-(t % 0.23) / 0.02)
    return np.float32(np.stack([x + burst, x - 0.5 * burst], axis=1))


def whole(x: Samples, key: float, tempo: float, **options: Any) -> Samples:
    rate = options.pop("rate", RATE)
    options.setdefault("keeps_formants", [False])
    s = Stretcher(source_of(x), rate, x.shape[1], **options)
    s.set(key, tempo)
    s.seek(0)
    return s.render(round(len(x) / tempo))[0]


# ---- Bypass -----------------------------------------------------------------


def test_key_0_and_tempo_1_are_the_sources_bits() -> None:
    x, y = noise(RATE), noise(RATE, seed=1)
    x[5000:5010] = np.float32(1e-42)
    s = Stretcher(source_of(x, y), RATE, 2)
    s.seek(137)
    vocals, instrumental = s.render(9000)
    assert s.is_plain
    assert vocals.tobytes() == x[137:9137].tobytes()
    assert instrumental.tobytes() == y[137:9137].tobytes()


@pytest.mark.parametrize("key, tempo", [(3.0, 0.8), (-7.0, 1.0), (0.0, 1.7)])
def test_back_at_key_0_and_tempo_1_bits_are_the_sources_again(
    key: float, tempo: float
) -> None:
    x = noise(4 * RATE)
    s = Stretcher(source_of(x), RATE, 2, keeps_formants=[False])
    s.render(1000)
    s.set(key, tempo)
    s.render(12000)
    s.set(0.0, 1.0)
    s.render(9000)
    assert s.is_plain
    place = s.position_at(s.frame)
    assert place == int(place)
    out = s.render(500)[0]
    assert out.tobytes() == x[int(place) : int(place) + 500].tobytes()


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_stretcher_that_stretches_nothing_changes_nothing(n_channels: int) -> None:
    x = noise(RATE, n_channels)
    engine, read = NativeStretch(RATE, n_channels, False), source_of(x)
    engine.reset(5000.0, 0.0, 1.0)
    steps = [engine.step(lambda a, n: read(a, n)[0]) for _ in range(20)]
    y = np.concatenate(steps)
    assert np.abs(y - x[5000 : 5000 + len(y)]).max() < 1e-4


# ---- Blocks -----------------------------------------------------------------

SONG = hits(3.0)
SCRIPT = [(700, 3.0, 1.0), (4000, 3.0, 0.8), (7111, -2.0, 1.2), (12000, 0.0, 1.0)]


def played(cuts: list[int]) -> list[Samples]:
    """Play the script; render calls end at its places and at the cuts."""
    s = Stretcher(source_of(SONG, SONG[::-1].copy()), RATE, 2)
    wishes = {n: (key, tempo) for n, key, tempo in SCRIPT}
    ends = sorted({*cuts, *wishes, 24000} - {0})
    pieces = []
    for a, b in itertools.pairwise([0, *ends]):
        if a in wishes:
            s.set(*wishes[a])
        pieces.append(s.render(b - a))
    return [np.concatenate(stem) for stem in zip(*pieces, strict=True)]


ONE_PIECE = played([])


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 23999), max_size=40))
def test_output_is_independent_of_block_sizes(cuts: list[int]) -> None:
    for stem, expected in zip(played(cuts), ONE_PIECE, strict=True):
        assert stem.tobytes() == expected.tobytes()


@pytest.mark.parametrize("block", [64, 256, 1024])
def test_output_is_the_same_in_even_blocks(block: int) -> None:
    for stem, expected in zip(
        played([*range(0, 24000, block)]), ONE_PIECE, strict=True
    ):
        assert stem.tobytes() == expected.tobytes()


# ---- Time -------------------------------------------------------------------


@pytest.mark.parametrize(
    "key, tempo",
    [(3, 1), (0, 0.8), (0, 0.5), (0, 2), (12, 1), (-12, 1), (-4, 1.3), (7, 0.65)],
)
@pytest.mark.parametrize("keeps_formants", [True, False])
def test_clicks_sound_where_the_tempo_has_them(
    key: float, tempo: float, keeps_formants: bool
) -> None:
    rate = 48000
    x = np.zeros((3 * rate, 1), np.float32)
    places = np.round((0.3 + 0.2873 * np.arange(9)) * rate).astype(int)
    for place in places:
        x[place - 18 : place + 18, 0] = np.hanning(36)
    y = whole(x, key, tempo, rate=rate, keeps_formants=[keeps_formants])[:, 0]
    late = []
    for place in places / tempo:
        first = round(place) - rate // 20
        energy = np.cumsum(y[first : first + rate // 10].astype(float) ** 2)
        late.append(first + np.searchsorted(energy / energy[-1], 0.5) - place)
    assert np.ptp(late) < 0.001 * rate
    assert abs(np.median(late)) < 0.001 * rate


def test_the_time_map_is_the_integral_of_the_tempo() -> None:
    s = Stretcher(source_of(SONG, SONG), RATE, 2)
    s.seek(1000)
    s.render(500)
    s.set(0.0, 0.8)
    s.render(20000)
    places = np.array([s.position_at(n) for n in range(20500)])
    assert places[0] == 1000
    assert places[500] == 1500
    steps = np.diff(places)
    assert np.all(steps > 0.8 - 1e-9)
    assert np.all(steps < 1 + 1e-9)
    assert np.allclose(steps[-10000:], 0.8)
    assert np.abs(np.diff(steps)).max() < 0.1
    for n in (0, 499, 777, 5000, 20000):
        assert s.frame_at(s.position_at(n)) == pytest.approx(n)


def test_stems_stay_together_whatever_they_hold() -> None:
    engines = [NativeStretch(RATE, 2, formants) for formants in (True, False)]
    for engine, x in zip(engines, (SONG, noise(len(SONG))), strict=True):
        read = source_of(x)
        engine.set(5.0, 0.7)
        for _ in range(9):
            engine.step(lambda a, n, read=read: read(a, n)[0])
    assert engines[0].position(0) == engines[1].position(0)


def test_a_seek_starts_at_its_place() -> None:
    x = np.zeros((2 * RATE, 1), np.float32)
    x[RATE:] = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)[:, None]
    s = Stretcher(source_of(x), RATE, 1, keeps_formants=[False])
    s.set(0.0, 0.5)
    s.render(3000)
    s.seek(RATE - 1000)
    y = s.render(6000)[0][:, 0]
    assert s.position_at(0) == RATE - 1000
    assert np.abs(y[:900]).max() < 0.05
    assert np.abs(y[2500:]).max() > 0.8


# ---- Sound ------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("key, tempo", [(3.0, 1.0), (-5.0, 0.8)])
def test_a_tone_has_the_right_pitch_and_level(
    rate: int, key: float, tempo: float
) -> None:
    t = np.arange(round(1.5 * rate)) / rate
    x = np.float32(0.5 * np.sin(2 * np.pi * 440 * t))[:, None]
    y = whole(x, key, tempo, rate=rate)[rate // 4 : rate, 0]
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    peak = np.argmax(spectrum) * rate / len(y)
    assert abs(peak - 440 * 2 ** (key / 12)) < 2 * rate / len(y)
    assert np.std(y) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_ramps_and_the_way_to_them_do_not_click() -> None:
    t = np.arange(4 * RATE) / RATE
    x = np.float32(0.5 * np.sin(2 * np.pi * 220 * t))[:, None]
    s = Stretcher(source_of(x), RATE, 1, keeps_formants=[False])
    pieces = []
    for key, tempo in ((0, 1), (2, 1), (2, 0.8), (-2, 1.2), (0, 1), (0, 1)):
        s.set(key, tempo)
        pieces.append(s.render(7000)[0][:, 0])
    y = np.concatenate(pieces)
    # The greatest second difference of the highest tone that is played.
    bound = 0.5 * (2 * np.pi * 220 * 2 ** (2 / 12) / RATE) ** 2
    assert np.abs(np.diff(y, 2)).max() < 2 * bound


def vowel(f0: float, seconds: float = 1.5) -> Samples:
    """Impulses through three formants of an /a/."""
    n = round(seconds * RATE)
    f = np.fft.rfftfreq(n, 1 / RATE)
    peaks = ((700, 80, 1.0), (1220, 100, 0.5), (2600, 140, 0.3))
    envelope = sum(g / (1 + ((f - c) / w) ** 2) for c, w, g in peaks) + 0.003
    t = np.arange(n) / RATE
    harmonics = np.arange(1, int(7000 / f0))
    gains = np.interp(harmonics * f0, f, envelope)
    x = sum(
        g * np.cos(2 * np.pi * k * f0 * t)
        for k, g in zip(harmonics, gains, strict=True)
    )
    return np.float32(0.1 * x)[:, None]


def formant_levels(y: Samples) -> NDArray[np.float64]:
    """Level around each formant and between them, dB beside all."""
    x = y[RATE // 4 : RATE, 0]
    power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    f = np.fft.rfftfreq(len(x), 1 / RATE)
    bands = ((500, 950), (1000, 1450), (1600, 2200), (2300, 2900), (3300, 5000))
    levels = [power[(f > a) & (f < b)].sum() for a, b in bands]
    return 10 * np.log10(np.array(levels) / power.sum())


@pytest.mark.parametrize("key", [-5.0, 4.0, 7.0])
def test_a_voice_keeps_its_formants(key: float) -> None:
    x = vowel(130.0)
    own = formant_levels(x)
    kept = formant_levels(whole(x, key, 1.0, keeps_formants=[True])) - own
    moved = formant_levels(whole(x, key, 1.0, keeps_formants=[False])) - own
    assert np.abs(kept[[0, 1, 3]]).max() < 3  # the formants' own bands
    assert np.abs(kept).mean() < 0.5 * np.abs(moved).mean()


@pytest.mark.parametrize("keeps_formants", [True, False])
def test_silence_stays_silence(keeps_formants: bool) -> None:
    x = np.zeros((RATE, 2), np.float32)
    y = whole(x, 4.0, 0.7, keeps_formants=[keeps_formants])
    assert not y.any()


@pytest.mark.parametrize("key, tempo", [(0.0, 1.0), (2.0, 0.9)])
def test_what_is_not_finite_never_leaves(key: float, tempo: float) -> None:
    x = noise(RATE)
    x[3000:3100] = np.nan
    x[5000, 0], x[5001, 1], x[7000] = np.inf, -np.inf, 3e38
    assert np.isfinite(whole(x, key, tempo, keeps_formants=[True])).all()


def test_equal_channels_stay_equal() -> None:
    x = np.repeat(hits(1.5)[:, :1], 2, axis=1)
    y = whole(x, 3.0, 0.8)
    assert np.array_equal(y[:, 0], y[:, 1])


def test_attacks_stay_steep_and_chords_clean() -> None:
    from tools.bench.stretch import attack_db, chord, chord_db

    rate = 48000
    x = hits(2.0, rate)
    y = whole(x, 3.0, 0.8, rate=rate)
    assert attack_db(y) > attack_db(x) - 5  # of 67
    for name, key, tempo in (("chord", 3.0, 0.8), ("close", 3.0, 1.0)):
        tones = whole(chord(name, 4.0), key, tempo, rate=rate)
        assert chord_db(tones, name, 2 ** (key / 12)) < -20


# ---- Refusals ---------------------------------------------------------------


@pytest.mark.parametrize("key", [-12.1, 13, float("nan"), float("inf")])
def test_a_key_out_of_range_is_refused(key: float) -> None:
    s = Stretcher(source_of(SONG), RATE, 2)
    with pytest.raises(ValueError, match="key: expected -12 to 12"):
        s.set(key, 1.0)


@pytest.mark.parametrize("tempo", [0.49, 2.01, float("nan"), 0, -1])
def test_a_tempo_out_of_range_is_refused(tempo: float) -> None:
    s = Stretcher(source_of(SONG), RATE, 2)
    with pytest.raises(ValueError, match=r"tempo: expected 0\.5 to 2"):
        s.set(0.0, tempo)


@pytest.mark.parametrize("rate, n_channels", [(7999, 2), (192001, 1), (48000, 3)])
def test_what_the_kernel_cannot_do_is_refused(rate: int, n_channels: int) -> None:
    with pytest.raises(NativeError) as caught:
        NativeStretch(rate, n_channels, False)
    assert caught.value.code == "es_err_size"


def test_without_rubber_band_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stretch_rubberband._load.cache_clear()
    monkeypatch.setattr(stretch_rubberband, "LIBRARY", "libnot-there.so.2")
    with pytest.raises(EdgestemError, match="apt-get install librubberband2") as caught:
        Stretcher(source_of(SONG), RATE, 2, engine="rubberband")
    assert caught.value.code == "rubberband_missing"
    stretch_rubberband._load.cache_clear()


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="engine: expected one of"):
        stretch.make_engine("sox", RATE, 2, False)


# ---- Rubber Band ------------------------------------------------------------


@needs_rubberband
@pytest.mark.parametrize("key, tempo", [(3.0, 0.8), (0.0, 1.5)])
def test_rubber_band_plays_behind_the_same_interface(key: float, tempo: float) -> None:
    rate = 48000
    t = np.arange(3 * rate) / rate
    x = np.float32(0.3 * np.sin(2 * np.pi * 440 * t))[:, None]
    x[: rate // 2] = 0
    s = Stretcher(source_of(x), rate, 1, keeps_formants=[False], engine="rubberband")
    s.set(key, tempo)
    s.seek(0)
    y = s.render(round(2.5 * rate / tempo))[0][:, 0]
    start = np.argmax(np.abs(y) > 0.1)
    assert abs(s.position_at(start) - rate / 2) < 0.03 * rate
    part = y[-rate // 2 :]
    peak = np.argmax(np.abs(np.fft.rfft(part * np.hanning(len(part))))) * 2
    assert abs(peak - 440 * 2 ** (key / 12)) <= 12  # half a semitone


@needs_rubberband
def test_rubber_band_too_is_bypassed_to_the_bit() -> None:
    x = noise(RATE)
    s = Stretcher(source_of(x), RATE, 2, keeps_formants=[False], engine="rubberband")
    assert s.render(5000)[0].tobytes() == x[:5000].tobytes()
