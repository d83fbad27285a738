"""A set list that is written back: what changed, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from shows import Show

from edgestem.errors import EdgestemError
from edgestem.play.commands import Console, Refused
from edgestem.play.set_file import SetFile
from edgestem.play.setlist import read_set_list

RATE = 44100
SET = """\
# Friday   (nobody touches this)
next = "wait"

[[song]]
file = 'a.wav' # first
  key   =  2   # was 3
title = "A # b"

# the slow one
[[song]]
file = "b.wav"
[song.sections]
key = [0, 1]   # a section of that name

[[song]]
file = "gone.wav"

[[song]]   # last
file = "c.wav"
vocals = -14"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", np.full((RATE, 2), 0.1), RATE)
    found = tmp_path / "set.toml"
    found.write_bytes(SET.encode())
    return found


def test_only_the_songs_lines_change(path: Path) -> None:
    path.chmod(0o640)
    items, file = read_set_list(path).items, SetFile(path)
    items[0].settings.key, items[0].settings.tempo = -1.5, 0.95
    file.save(items, 0, {"vocals": -100.0, "instrumental": 0.0})
    want = SET.replace("key   =  2   #", "key   =  -1.5   #") + "\n"
    want = want.replace('title = "A # b"\n', 'title = "A # b"\ntempo = 95\n')
    assert path.read_text() == want
    assert path.stat().st_mode & 0o777 == 0o640
    items[1].settings.key = 4
    file.save(items, 1, {"vocals": -6.0, "instrumental": -3.5})
    more = 'file = "b.wav"\nkey = 4\nvocals = -6\ninstrumental = -3.5\n'
    assert path.read_text() == want.replace('file = "b.wav"\n', more)
    assert (path.parent / "set.toml~").read_bytes() == SET.encode()
    again = read_set_list(path).items
    for a, b in zip(items, again, strict=True):
        assert dataclasses.asdict(a) == dataclasses.asdict(b)


def test_songs_change_their_places_with_their_comments(path: Path) -> None:
    path.write_bytes(("\ufeff" + SET).replace("\n", "\r\n").encode())
    items, file = read_set_list(path).items, SetFile(path)
    items.insert(0, items.pop(1))
    file.save(items, 0)
    text = path.read_bytes().decode()
    assert text.startswith("\ufeff# Friday") and text.count("\n") == text.count("\r\n")
    order = [text.index(word) for word in ("slow", "b.wav", "gone", "a.wav", "c.wav")]
    assert order == sorted(order)
    assert [item.path.name for item in read_set_list(path).items] == [
        "b.wav", "a.wav", "c.wav",
    ]  # fmt: skip
    items.append(items.pop(0))
    items[2].settings.key = 1
    file.save(items, 2)
    found = read_set_list(path).items
    assert [(i.path.name, i.settings.key) for i in found] == [
        ("a.wav", 2), ("c.wav", 0), ("b.wav", 1),
    ]  # fmt: skip


def test_what_is_not_ours_is_left_alone(path: Path) -> None:
    items, file = read_set_list(path).items, SetFile(path)
    items[0].settings.key = 5
    other = SET.replace("nobody", "somebody")
    path.write_text(other)
    with pytest.raises(EdgestemError, match="another program"):
        file.save(items, 0)
    assert path.read_text() == other
    playlist = path.with_name("set.m3u8")
    playlist.write_text("a.wav\n")
    with pytest.raises(EdgestemError, match=r"\.toml"):
        SetFile(playlist).save(read_set_list(playlist).items, 0)
    link = path.with_name("link.toml")
    link.symlink_to(path)
    items = read_set_list(link).items
    items[0].settings.key = 5
    SetFile(link).save(items, 0)
    assert link.is_symlink() and "=  5 " in path.read_text()
    assert [p.name for p in path.parent.iterdir() if p.name.endswith(".new")] == []


def test_the_console_saves_and_reorders_while_it_plays(
    write_song: Callable[..., Path], tmp_path: Path
) -> None:
    for name, level in zip("abc", (0.1, 0.2, 0.3), strict=True):
        write_song(f"{name}.wav", np.full((20 * RATE, 2), level, np.float32))
    path = tmp_path / "set.toml"
    path.write_text("".join(f'[[song]]\nfile = "{name}.wav"\n' for name in "abc"))
    with Show(read_set_list(path).items, is_timed=True) as show:
        console = Console(show.player, is_locked=True)
        with pytest.raises(Refused, match="no set list"):
            console.do("save")
        console.set_file = SetFile(path)
        with pytest.raises(Refused, match="locked"):
            console.do("save", is_master=False)
        console.do("play")
        show.wait_state("playing")
        console.do("order 1 3")
        show.wait(lambda: show.player.index == 2)
        assert show.player.state == "playing" and show.player.title(2) == "a"
        console.do("tempo 90")
        console.do("vocals -12")
        show.wait(lambda: show.player.item.settings.tempo == 0.9)
        assert console.do("save") == "saved: a"
        songs = read_set_list(path).items
        assert [item.path.stem for item in songs] == ["b", "c", "a"]
        assert songs[2].settings.tempo == 0.9 and songs[2].vocals_db == -12
        console.do("previous")
        show.wait(lambda: show.player.index == 1 and show.player.title(1) == "c")
        show.wait_state("playing")
        before = len(show.sound())
        show.wait(lambda: len(show.sound()) > before + RATE)
        for bad in ("order 1", "order 0 1", "order 1 4", "save x"):
            with pytest.raises(Refused):
                console.do(bad)
