"""A process that is killed at any of its steps leaves what the next one makes good."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import forks
import numpy as np
import pytest
import soundfile
from catalogues import TINY, leftovers

from edgestem.catalogue import receipt
from edgestem.catalogue.claim import Claims, new_token
from edgestem.catalogue.failure import AGAIN, FULL, MACHINE, SONG, Failure
from edgestem.catalogue.identity import Recipe, identity
from edgestem.catalogue.listing import Song, make_list
from edgestem.catalogue.publish import Publisher
from edgestem.catalogue.verify import verify
from edgestem.errors import AudioError, EdgestemError

RECIPE = Recipe(model=str(TINY))
OTHER = Recipe(model=str(TINY.with_name("short1.tflite")))
# What a process asks of the system that another one could see.
_STEPS = ("open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.utime")


@pytest.fixture
def song(tmp_path: Path) -> Song:
    (tmp_path / "src").mkdir()
    x = np.random.default_rng(0).normal(0, 0.1, (8820, 2))
    soundfile.write(tmp_path / "src" / "song.wav", x, 44100)
    return Song(str(tmp_path / "src"), "song.wav")


def publisher(out: Path, recipe: Recipe, warm: Publisher | None = None) -> Publisher:
    """Make one for this process, with the loaded model of another one."""
    claims = Claims(str(out / ".edgestem"), new_token())
    made = Publisher(str(out), recipe, identity(recipe), claims, host="here")
    if warm is not None:
        made._separator, made._listener = warm._separator, warm._listener
    return made


def publish(out: Path, song: Song, made: Publisher, *, redo: bool = False) -> str:
    """Publish; a claim whose process was killed before it wrote its name is old."""
    for claim in out.rglob(".edgestem.claim.*"):
        if not claim.read_bytes():
            os.utime(claim, (0, 0))
    return made.publish(song.source, song.name, song.folder, redo=redo).state


def die_at(step: int, work: Callable[[], object]) -> bool:
    """Do something in another process, which is killed at a step; say whether."""
    pid = forks.fork()
    if pid == 0:
        left = [step]

        def watch(event: str, args: tuple[object, ...]) -> None:
            if event in _STEPS and not str(args[0]).startswith(("/proc", "/sys")):
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)

        sys.addaudithook(watch)
        try:
            work()
        finally:
            os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 9), f"step {step}: {code}"
    return code == 9


def check(out: Path, song: Song, model: str) -> None:
    (found,) = verify(str(out), [song], 1)
    assert found.is_published and not found.faults
    made = receipt.read(str(out / song.folder))
    assert made is not None and made["model_name"] == model
    assert leftovers(out) == []
    names = sorted(path.name for path in (out / song.folder).iterdir())
    assert names == ["edgestem.json", "instrumental.wav", "vocals.wav"]


def test_killed_at_every_step_of_a_first_time(tmp_path: Path, song: Song) -> None:
    made = publisher(tmp_path / "warm", RECIPE)
    publish(tmp_path / "warm", song, made)  # load everything before the forks
    step = 0
    while True:
        out = tmp_path / f"out {step}"
        is_killed = die_at(
            step, lambda o=out: publish(o, song, publisher(o, RECIPE, made))
        )
        after = publisher(out, RECIPE, made)
        assert publish(out, song, after) in ("done", "before")
        assert publish(out, song, after) == "before"
        check(out, song, "tiny")
        if not is_killed:
            break
        step += 1
    assert step > 15


@pytest.mark.parametrize("then", ["the new one", "the old one"])
def test_killed_at_every_step_of_a_redo(tmp_path: Path, song: Song, then: str) -> None:
    """Whatever is asked for next, no receipt stands beside stems of another model."""
    old, new = (publisher(tmp_path / "warm", recipe) for recipe in (RECIPE, OTHER))
    publish(tmp_path / "warm", song, old)
    publish(tmp_path / "warm", song, new, redo=True)
    step = 0
    while True:
        out = tmp_path / f"out {step}"
        publish(out, song, publisher(out, RECIPE, old))
        is_killed = die_at(
            step,
            lambda o=out: publish(o, song, publisher(o, OTHER, new), redo=True),
        )
        last = (OTHER, new) if then == "the new one" else (RECIPE, old)
        publish(out, song, publisher(out, *last), redo=True)
        check(out, song, "short1" if then == "the new one" else "tiny")
        if not is_killed:
            break
        step += 1
    assert step > 15


def test_what_is_worth_another_try() -> None:
    def wrapped(number: int) -> EdgestemError:
        error = AudioError("x cannot be written", code="unwritable")
        error.__cause__ = OSError(number, os.strerror(number))
        return error

    assert Failure.of(OSError(errno.EIO, "I/O error", "/x")).kind == AGAIN
    assert Failure.of(wrapped(errno.ESTALE)).kind == AGAIN
    assert Failure.of(wrapped(errno.ENOSPC)).kind == FULL
    assert Failure.of(wrapped(errno.EDQUOT)).kind == FULL
    assert Failure.of(wrapped(errno.EACCES)).kind == SONG
    assert Failure.of(AudioError("x", code="unreadable")).kind == SONG
    assert Failure.of(EdgestemError("x", code="runtime_missing")).kind == MACHINE
    assert Failure.of(ZeroDivisionError("x")).code == "internal"


def test_songs_of_one_name_keep_what_they_had(tmp_path: Path, song: Song) -> None:
    """A song that comes later does not move one that is published."""
    out = tmp_path / "out"
    publish(out, song, publisher(out, RECIPE))
    (tmp_path / "src" / "song.flac").touch()
    found = make_list([str(tmp_path / "src")], out)
    assert {s.name: s.folder for s in found.songs} == {
        "song.wav": "song",
        "song.flac": "song.flac",
    }
    fresh = make_list([str(tmp_path / "src")], tmp_path / "new")
    assert {s.folder for s in fresh.songs} == {"song.wav", "song.flac"}


@pytest.mark.parametrize("is_folding", [True, False])
def test_a_disk_without_case_has_one_song_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_folding: bool
) -> None:
    """Whoever was published first keeps it, whatever the order."""
    monkeypatch.setattr("edgestem.catalogue.listing.folds_case", lambda _: is_folding)
    src, out = tmp_path / "src", tmp_path / "out"
    src.mkdir()
    for name in ("Halo.wav", "HALO.wav", "halo.wav", "other.wav"):
        (src / name).touch()
    for had in ("", "halo"):
        if had:
            (out / had).mkdir(parents=True)
            made = {"receipt": 1, "decoded": {}, "outputs": {}}
            made["source"] = {"path": str(src / f"{had}.wav")}
            (out / had / "edgestem.json").write_text(json.dumps(made))
        found = make_list([str(src)], out)
        names = {song.name for song in found.songs}
        kept = f"{had or 'HALO'}.wav"
        assert names == {kept, "other.wav"} if is_folding else len(names) == 4
        codes = [problem.code for problem in found.problems]
        assert codes == ["same_name"] * (2 if is_folding else 0)


def test_two_roots_may_not_meet_in_one_folder(tmp_path: Path) -> None:
    for root in ("a", "b"):
        (tmp_path / root).mkdir()
        (tmp_path / root / "song.wav").touch()
    found = make_list([str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "out")
    assert len(found.songs) == 1
    assert [problem.code for problem in found.problems] == ["same_name"]


def test_receipts_that_are_none(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"receipt": 2}', json.dumps({"receipt": 1})):
        (tmp_path / "edgestem.json").write_text(text)
        assert receipt.read(str(tmp_path)) is None
    assert receipt.read(str(tmp_path / "nowhere")) is None


def test_a_folder_that_cannot_be_made_is_said_with_a_way_out(
    tmp_path: Path, song: Song
) -> None:
    """As on a disk that refuses a name, and with a file in its place."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / song.folder).touch()
    with pytest.raises(AudioError, match=r"song cannot be written: .*; choose another"):
        publish(tmp_path / "out", song, publisher(tmp_path / "out", RECIPE))
