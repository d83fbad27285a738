"""Set lists, loudness, click and count-in."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from shows import Show

from edgestem.errors import EdgestemError
from edgestem.play.chain import SongSettings
from edgestem.play.click import Beats
from edgestem.play.items import Item
from edgestem.play.loudness import Meter, even_gain, tagged_gain
from edgestem.play.routes import Routes, parse_route
from edgestem.play.setlist import read_set_list

RATE = 44100
SONG = Path(__file__).parents[2] / "examples" / "song.ogg"
SET = """\
# the first night
loudness = -18
next = "follow"
[[song]]
file = "a.wav"   # in this folder
key = 2
tempo = 95.5
vocals = "-inf"
[[song]]
file = 'b.wav'
title = "Last \\"one\\""
next = "wait"
bpm = 118
first_beat = 0.35
count_in = 2
click = true
start = 1
[song.sections]
chorus = [10, 20.5]
"""


def write_set(folder: Path, text: str) -> Path:
    for name in "ab":
        if not (folder / f"{name}.wav").exists():
            soundfile.write(folder / f"{name}.wav", np.zeros((RATE, 2)), RATE)
    path = folder / "set.toml"
    path.write_text(text)
    return path


def test_a_set_list_is_read(tmp_path: Path) -> None:
    found = read_set_list(write_set(tmp_path, SET))
    a, b = found.items
    assert found.loudness == -18 and not found.missing
    assert (a.settings.key, a.settings.tempo, a.vocals_db) == (2, 0.955, -100)
    assert (a.is_followed, b.is_followed) == (True, False)
    assert b.title == 'Last "one"' and b.settings.start == 1
    assert b.settings.beats == Beats(118, 0.35, 4, 2) and b.settings.has_click
    assert b.settings.sections == {"chorus": (10, 20.5)}


@pytest.mark.parametrize(
    ("old", "new", "line", "word"),
    [
        ("key = 2", "keys = 2", 6, "keys"),
        ("key = 2", "key = 13", 6, "key: expected"),
        ("key = 2", "key", 6, "key = value"),
        ("tempo = 95.5", 'tempo = "fast"', 7, "tempo"),
        ("tempo = 95.5", "tempo = 95.5 96", 7, "behind the value"),
        ("key = 2", "tempo = 96\ntempo = 97", 7, "twice"),
        ('next = "wait"', 'next = "maybe"', 12, "wait"),
        ("[[song]]", "[[songs]]", 4, "[[song]]"),
        ("chorus = [10, 20.5]", "chorus = [10]", 19, "chorus"),
        ('file = "a.wav"   # in this folder', "", 4, "no file"),
        ("click = true", "click = 1", 16, "click"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_key(
    tmp_path: Path, old: str, new: str, line: int, word: str
) -> None:
    path = write_set(tmp_path, SET.replace(old, new, 1))
    with pytest.raises(EdgestemError) as caught:
        read_set_list(path)
    assert caught.value.code == "bad_set"
    assert f"line {line}:" in str(caught.value) and word in str(caught.value)


def test_missing_songs_are_told_at_load(tmp_path: Path) -> None:
    path = write_set(tmp_path, SET + '[[song]]\nfile = "gone.mp3"\n')
    found = read_set_list(path)
    assert len(found.items) == 2 and "gone.mp3" in found.missing[0]
    for text, word in (("", "no song"), ('[[song]]\nfile = "x"', "mounted")):
        path.write_text(text)
        with pytest.raises(EdgestemError, match=word):
            read_set_list(path)
    playlist = tmp_path / "set.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,x\na.wav\n\nb.wav\n")
    assert [item.path.name for item in read_set_list(playlist).items] == [
        "a.wav",
        "b.wav",
    ]


def measure(path: Path) -> float:
    x, rate = soundfile.read(path, dtype="float32", always_2d=True)
    meter = Meter(rate)
    for i in range(0, len(x), 12345):
        meter.add(x[i : i + 12345])
    return meter.loudness()


def test_loudness_is_the_standards(tmp_path: Path, needs_ffmpeg: None) -> None:
    # The standard's own: a 997 Hz sine of 0 dBFS in one channel is -3.01 LUFS.
    t = np.arange(48000 * 5) / 48000
    x = np.stack([np.sin(2 * np.pi * 997 * t), np.zeros_like(t)], 1)
    sine = tmp_path / "sine.wav"
    soundfile.write(sine, x, 48000, "FLOAT")
    assert abs(measure(sine) + 3.01) < 0.02
    low = tmp_path / "low.wav"
    x, _ = soundfile.read(SONG)
    x[: len(x) // 3] *= 0.001  # the gates have something to do
    soundfile.write(low, x, 48000, "FLOAT")
    at_44 = tmp_path / "at44.wav"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", SONG, "-ar", "44100", at_44], check=True
    )
    words = ["-af", "ebur128", "-f", "null", "-"]
    for path in (SONG, low, at_44):
        said = subprocess.run(
            ["ffmpeg", "-i", path, *words], capture_output=True, text=True, check=True
        ).stderr
        theirs = float(re.findall(r"I:\s+(-?[\d.]+) LUFS", said)[-1])
        assert abs(measure(path) - theirs) < 0.1


def test_a_gain_never_clips() -> None:
    assert even_gain(-23, 0.1, -18) == pytest.approx(10 ** (5 / 20))
    assert even_gain(-30, 0.5, -18) == pytest.approx(10 ** (-1 / 20) / 0.5)
    assert even_gain(float("-inf"), 0.0, -18) == 1


def test_songs_are_evened_when_they_are_measured(
    write_song: Callable[..., Path],
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.1, (3 * RATE, 2)).astype(np.float32)
    items = [Item(write_song(f"{i}.wav", x * g)) for i, g in enumerate((0.5, 0.1))]
    with Show(items, loudness=-23.0) as show:
        show.wait(lambda: all(t.loudness is not None for t in show.player.tracks))
        for i in range(2):
            show.player.select(i, is_played=False)
            show.wait(lambda i=i: show.player.index == i)
            show.wait_cued()
            n = len(show.sound())
            show.player.play()
            show.wait(lambda n=n: len(show.sound()) >= n + len(x))
    for part in (show.sound()[: len(x)], show.sound()[-len(x) :]):
        meter = Meter(RATE)
        meter.add(part.astype(np.float32))
        assert abs(meter.loudness() + 23) < 0.3


def test_tags_name_a_gain() -> None:
    def gain(*values: str) -> float | None:
        names = ("replaygain_track_gain", "replaygain_track_peak")
        return tagged_gain(dict(zip(names, values, strict=False)))

    assert gain("-6.02 dB") == pytest.approx(0.5, abs=1e-3)
    assert gain("+6 dB", "0.25") == pytest.approx(10 ** (6 / 20))
    assert gain("+6 dB", "1.0") == pytest.approx(10 ** (-1 / 20))
    assert gain("+6 dB") == 1 and gain("-3", "loud") == pytest.approx(10 ** (-3 / 20))
    for bad in ("", "loud", "nan", "1e9 dB", "-99 dB"):
        assert gain(bad) in (None, 1.0)


@pytest.mark.parametrize("loudness", [None, -18.0])
def test_tags_count_when_the_set_says_so(
    tmp_path: Path, needs_ffmpeg: None, loudness: float | None
) -> None:
    soundfile.write(tmp_path / "x.wav", np.full((RATE, 2), 0.5), RATE)
    words = ["-metadata", "REPLAYGAIN_TRACK_GAIN=-6.02 dB"]
    for name in "ab":
        subprocess.run(
            ["ffmpeg", "-v", "error", "-i", tmp_path / "x.wav", *words,
             tmp_path / f"{name}.flac"], check=True,
        )  # fmt: skip
    path = tmp_path / "set.toml"
    path.write_text(
        'replaygain = true\nnext = "follow"\n[[song]]\nfile = "a.flac"\n'
        '[[song]]\nfile = "b.flac"\nreplaygain = false\nvocals = 0\n'
    )
    items = read_set_list(path).items
    items[0].vocals_db = 0.0
    with Show(items, loudness=loudness) as show:
        show.player.play()
        show.wait_state("ended")
    heard = np.abs(show.sound())
    first, second = heard[1000 : RATE - 1000].max(), heard[RATE + 1000 :].max()
    is_tagged = first == pytest.approx(0.25, abs=1e-3)
    assert is_tagged == (loudness is None)  # what is measured stands above it
    assert second == pytest.approx(0.5, abs=1e-3) or loudness is not None


def onsets(x: np.ndarray) -> list[int]:
    """Where the click begins: loud after 50 ms of nothing."""
    loud = np.flatnonzero(np.abs(x) > 0.01)
    return [int(i) for i, gap in zip(loud, np.diff(loud, prepend=-9999), strict=True)
            if gap > 2000]  # fmt: skip


@pytest.mark.parametrize("tempo", [1.0, 0.8])
def test_a_count_in_leads_to_the_downbeat(
    write_song: Callable[..., Path], tempo: float
) -> None:
    beats = Beats(bpm=120, first=0.35, count_in=2)
    x = np.zeros((4 * RATE, 2), np.float32)
    down = round(0.35 * RATE)
    x[down : down + 40] = 0.5
    item = Item(write_song(x=x), SongSettings(beats=beats, tempo=tempo))
    routes = Routes({"click": (1,), "backing": (3, 4)})
    with Show([item], routes=routes) as show:
        show.player.play()
        show.wait_state("ended")
    heard = show.sound()
    period = RATE / 2 / tempo
    clicks = onsets(heard[:, 0])
    assert len(clicks) == 6  # 1 and 3 of the first bar, all of the second
    gaps = np.diff(clicks) / period
    assert np.allclose(gaps, [2, 2, 1, 1, 1], atol=0.002)
    music = int(np.argmax(np.abs(heard[:, 2]) > 0.2))
    assert abs(music - clicks[-1] - period) < 0.001 * RATE * (1 if tempo == 1 else 2)
    before = np.abs(heard[: music - 4000, 2:]).max()
    assert before <= (0 if tempo == 1 else 2e-4)  # no click on the music's outputs
    assert np.all(heard[:, 1] == 0)


def test_routes_are_checked() -> None:
    assert parse_route("backing=1,2") == ("backing", (1, 2))
    assert parse_route("click=3") == ("click", (3,))
    for bad in ("click", "click=", "drums=1", "click=0", "backing=1,2,3", "click=x"):
        with pytest.raises(ValueError, match="expected"):
            parse_route(bad)
