"""Where vocals are: thresholds on known levels, and every way of saying it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import warm

from edgestem.karaoke.activity import Activity, Meter, of_song
from edgestem.karaoke.markers import labels, lrc, webvtt
from edgestem.karaoke.picture import draw, encode, png, svg
from edgestem.sound.singing import DEFAULT, Thresholds

RATE = 8000


def activity(vocals_db: list[float], rest_db: float = -20.0) -> Activity:
    """Make stems of noise whose frames have these levels."""
    hop = RATE // 10
    rng = np.random.default_rng(1)
    meter = Meter(RATE)
    for level in vocals_db:
        signs = rng.choice((-1.0, 1.0), (2, hop, 2))
        meter.add(signs[0] * 10 ** (level / 20), signs[1] * 10 ** (rest_db / 20))
    return meter.result()


def spans(vocals_db: list[float], **changes: float) -> list[tuple[int, int]]:
    found = activity(vocals_db).spans(replace(DEFAULT, **changes))
    return [(a * 10 // RATE, b * 10 // RATE) for a, b in found]


def test_a_meter_measures_blocks_of_any_length() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(0, 0.1, (2, 5000, 2))
    whole = Meter(RATE)
    whole.add(x, y)
    parts = Meter(RATE)
    for at in range(0, 5000, 333):
        parts.add(x[at : at + 333], y[at : at + 333])
    a, b = whole.result(), parts.result()
    assert np.allclose(a.vocals_db, b.vocals_db)
    assert len(a.vocals_db) == 7  # the last is cut short
    expected = 10 * np.log10(np.mean(x[:800] ** 2))
    assert a.vocals_db[0] == pytest.approx(expected)


def test_spans_begin_at_on_and_end_at_off() -> None:
    level = [-90] * 5 + [-10] * 5 + [-33] * 3 + [-90] * 5 + [-33] * 4 + [-90]
    assert spans(level, on_db=-20, off_db=-25, heard_db=-30) == [(5, 13)]
    assert spans(level, on_db=-20, off_db=-20, heard_db=-30) == [(5, 10)]
    assert spans(level, on_db=-24, off_db=-25, heard_db=-30) == [(5, 13), (18, 22)]


def test_pauses_are_filled_and_coughs_dropped() -> None:
    level = [-10] * 5 + [-90] * 2 + [-10] * 5 + [-90] * 4 + [-10] + [-90] * 4
    assert spans(level) == [(0, 12)]
    assert spans(level, pause_s=0.1) == [(0, 5), (7, 12)]
    assert spans(level, span_s=0.1) == [(0, 12), (16, 17)]


def test_vocals_that_nobody_hears_do_not_count() -> None:
    assert spans([-45] * 20 + [-60] * 20) == []  # against an instrumental of -20 dB
    assert spans([-120] * 20) == []
    assert activity([]).spans() == []


def test_thresholds_that_contradict_are_refused() -> None:
    with pytest.raises(ValueError, match="off"):
        Thresholds(on_db=-20, off_db=-10)


def test_the_ways_of_saying_it() -> None:
    found = activity([-90] * 5 + [-10] * 10 + [-90] * 650 + [-10] * 5 + [-90] * 5)
    assert labels(found) == "0.500000\t1.500000\tvocals\n66.500000\t67.000000\tvocals\n"
    note = "\N{EIGHTH NOTE}"
    lines = ["[re:edgestem]", f"[00:00.50]{note}", "[00:01.50]"]
    assert lrc(found).splitlines() == [*lines, f"[01:06.50]{note}", "[01:07.00]"]
    assert webvtt(found).startswith(
        f"WEBVTT\n\n00:00:00.500 --> 00:00:01.500\n{note}\n\n00:01:06.500 -->"
    )
    root = ElementTree.fromstring(svg(found, title="a <&> b"))
    tags = [child.tag.rpartition("}")[2] for child in root]
    assert tags == ["title", "rect", "rect", "rect", "polygon", "polygon"]
    assert root[0].text == "a <&> b"
    assert found.to_json()["segments"] == [[4000, 12000], [532000, 536000]]


def test_a_picture_shows_levels_and_spans() -> None:
    """Vocals above, from the 6th to the 15th of 20 frames, the rest all along."""
    picture = draw(activity([-120] * 5 + [-10] * 10 + [-120] * 5)).astype(int)
    assert picture.shape == (200, 1200, 3)
    white, span = [255, 255, 255], [0xF6, 0xDF, 0xC6]
    assert picture[5, 100].tolist() == picture[5, 1100].tolist() == white
    assert picture[5, 600].tolist() == picture[195, 600].tolist() == span
    assert picture[50, 600].tolist() == [0xD5, 0x5E, 0x00]
    assert picture[50, 100].tolist() == white
    assert {tuple(p) for p in picture[150]} == {(0x00, 0x72, 0xB2)}
    # -10 dB is 5/6 of the way from -60 to 0: 39.7 pixels to each side.
    is_vocals = (picture[:100, 600] == [0xD5, 0x5E, 0x00]).all(axis=1)
    assert is_vocals.sum() == 78  # and two edges
    assert draw(activity([])).tolist() == np.full((200, 1200, 3), 255).tolist()


def test_a_png_is_read_by_others(needs_ffmpeg) -> None:
    x = np.random.default_rng(1).integers(0, 256, (7, 13, 3), np.uint8)
    line = ("ffmpeg", "-v", "error", "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24")
    done = warm.run([*line, "-"], input=encode(x), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == x.tobytes()


def test_the_command(command, write_song, tmp_path, tiny_model) -> None:
    song = write_song()
    for shape in ("spans", "json", "labels", "lrc", "vtt", "svg"):
        line = command("activity", song, "--as", shape, "--model", tiny_model)
        done = warm.run(line, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        if shape == "json":
            found = json.loads(done.stdout)
            assert (found["rate"], found["hop"]) == (44100, 4410)
            assert len(found["level_db"]) == 10
    line = command("activity", song, "--as", "png", "--model", tiny_model)
    done = warm.run(line, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == png(of_song(song, model=str(tiny_model)))
    separated = command("separate", song, "-o", tmp_path / "out")
    assert warm.run(separated, capture_output=True).returncode == 0
    line = command("activity", song, "--json", "--stems", tmp_path / "out")
    done = warm.run(line, capture_output=True, text=True)
    again = json.loads(done.stdout)
    assert np.allclose(again["level_db"], found["level_db"], atol=0.2)
    bad = command("activity", song, "--on", "-30", "--off", "-20")
    done = warm.run(bad, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_song_that_was_not_read_whole_is_said(
    command, write_song, tiny_model
) -> None:
    song = write_song()
    data = song.read_bytes()
    song.write_bytes(data[: len(data) // 2])
    line = command("activity", song, "--model", tiny_model, "--json")
    done = warm.run(line, capture_output=True, text=True, check=True)
    assert "could be read" in done.stderr
    assert json.loads(done.stdout)["warnings"]


def test_a_song_that_is_refused_is_named(command, tmp_path, tiny_model) -> None:
    soundfile.write(tmp_path / "six.wav", np.zeros((100, 6)), 44100)
    line = command("activity", tmp_path / "six.wav", "--model", tiny_model)
    done = warm.run(line, capture_output=True, text=True, check=False)
    assert f"error: {tmp_path}/six.wav: 6 channels" in done.stderr
