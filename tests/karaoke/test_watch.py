"""A watched folder: every song once, none while it grows, and kills lose nothing."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from edgestem.cli import interrupts
from edgestem.cli.watch import _Watcher
from edgestem.errors import AudioError, EdgestemError
from edgestem.karaoke.changes import Told
from edgestem.karaoke.items import find_items, kind_of
from edgestem.karaoke.state import Entry, State
from edgestem.karaoke.watch import Scan, sign_of
from edgestem.sound.tags import is_stem

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(command: Callable[..., list[str]], tiny_model: Path) -> Iterator[Start]:
    running: list[subprocess.Popen[str]] = []

    def call(*words: object, **env: str) -> subprocess.Popen[str]:
        line = command("watch", *words, "--json", "--model", tiny_model)
        process = subprocess.Popen(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | env,
        )
        running.append(process)
        return process

    yield call
    for process in running:
        process.kill()
        process.communicate()


def once(start: Start, *words: object) -> tuple[int, list[dict]]:
    process = start(*words, "--once", "--interval", 0.2, "--settle", 0.2)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, [json.loads(line) for line in out.splitlines()]


def song(path: Path, seconds: float = 0.5, seed: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    x = np.random.default_rng(seed).normal(0, 0.1, (int(44100 * seconds), 2))
    soundfile.write(path, x, 44100)
    return path


def words_of(events: list[dict]) -> list[str]:
    return [e["event"] for e in events if e["event"] not in ("scan", "begin")]


# ---- the loop --------------------------------------------------------------------


def test_every_song_once_and_again_when_it_changes(start, tmp_path) -> None:
    library, out = tmp_path / "in", tmp_path / "out"
    for number in range(3):
        song(library / f"{number}.wav")
    words = (library, "-o", out, "--layout", "flat", "--format", "flac")
    status, events = once(start, *words)
    assert (status, words_of(events)) == (0, ["written"] * 3)
    status, events = once(start, *words)
    assert (status, words_of(events)) == (0, [])
    song(library / "1.wav", seed=2)
    song(library / "new.wav")
    status, events = once(start, *words)
    inputs = {Path(e["input"]).name for e in events if e["event"] == "written"}
    assert (status, inputs) == (0, {"1.wav", "new.wav"})


def test_ultrastars_song_counts_beside_its_text(start, tmp_path) -> None:
    """A changed song is separated again, a late one at last; the text stays."""
    library = tmp_path / "in"
    library.mkdir()
    (library / "a.txt").write_bytes(b"#TITLE:A\n#MP3:a.wav\n: 0 1 0 la\nE\n")
    (library / "readme.txt").write_bytes(b"no song")
    words = (library, "--layout", "ultrastar", "--format", "flac")
    status, events = once(start, *words)
    assert (status, words_of(events)) == (1, ["failed"])  # there is no song yet
    assert once(start, *words)[0] == 0
    for seed in (1, 2):
        song(library / "a.wav", seed=seed)
        status, events = once(start, *words)
        assert (status, words_of(events)) == (0, ["written"])
        vocals, _ = soundfile.read(library / "a [VOC].flac")
        backing, _ = soundfile.read(library / "a [INSTR].flac")
        both, _ = soundfile.read(library / "a.wav")
        assert np.array_equal(vocals + backing, both)
        assert words_of(once(start, *words)[1]) == []


def test_a_broken_song_is_named_once(start, tmp_path) -> None:
    library, out = tmp_path / "in", tmp_path / "out"
    song(library / "good.wav")
    (library / "bad.mp3").write_bytes(b"no sound at all")
    words = (library, "-o", out, "--layout", "flat")
    status, events = once(start, *words)
    assert (status, sorted(words_of(events))) == (1, ["failed", "written"])
    assert once(start, *words)[0] == 0
    assert is_stem(out / "good (vocals).mp3")


def test_a_damaged_song_is_done_and_said(start, tmp_path) -> None:
    library, out = tmp_path / "in", tmp_path / "out"
    data = song(library / "half.wav").read_bytes()
    (library / "half.wav").write_bytes(data[: len(data) // 2])
    status, events = once(start, library, "-o", out, "--layout", "flat")
    (event,) = (e for e in events if e["event"] == "written")
    assert status == 0
    assert "half.wav" in event["warnings"][0]


def test_a_growing_file_waits_and_a_download_too(start, tmp_path) -> None:
    library, out = tmp_path / "in", tmp_path / "out"
    library.mkdir()
    whole = song(tmp_path / "whole.wav", 3.0).read_bytes()
    words = (library, "-o", out, "--layout", "flat", "--format", "flac")
    process = start(*words, "--interval", 0.1, "--settle", 1.0)
    shutil.copy(song(tmp_path / "b.wav"), library / "load.wav")
    (library / "load.wav.part").touch()
    with (library / "slow.wav").open("wb", buffering=0) as file:
        for at in range(0, len(whole), len(whole) // 12):
            file.write(whole[at : at + len(whole) // 12])
            time.sleep(0.25)
            assert not list(out.glob("*.flac"))
    (library / "load.wav.part").unlink()
    events: list[dict] = []
    while words_of(events).count("written") < 2:
        events.append(json.loads(process.stdout.readline()))
    frames = soundfile.info(out / "slow (vocals).flac").frames
    assert frames == soundfile.info(tmp_path / "whole.wav").frames
    process.send_signal(signal.SIGTERM)
    found, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert err.count("error") == 0
    events += map(json.loads, found.splitlines())
    assert words_of(events) == ["written"] * 2
    assert len(list(out.glob("*.flac"))) == 4


def test_a_disk_that_vanishes_holds_all_and_deletes_nothing(start, tmp_path) -> None:
    library, out = tmp_path / "in", tmp_path / "out"
    for number in range(5):
        song(library / f"{number}.wav")
    words = (library, "-o", out, "--layout", "flat", "--format", "flac")
    assert once(start, *words)[0] == 0
    made = sorted(p.name for p in out.glob("*.flac"))
    library.rename(tmp_path / "away")
    library.mkdir()  # as a mount point without its disk
    song(library / "stray.wav")
    status, events = once(start, *words)
    assert (status, words_of(events)) == (3, ["hold"])
    assert sorted(p.name for p in out.glob("*.flac")) == made
    shutil.rmtree(library)
    (tmp_path / "away").rename(library)
    assert once(start, *words) == (
        0,
        [pytest.approx(e) for e in once(start, *words)[1]],
    )


def test_a_second_watcher_is_refused(start, tmp_path) -> None:
    song(tmp_path / "in" / "a.wav")
    words = (tmp_path / "in", "-o", tmp_path / "out", "--layout", "flat")
    with State(tmp_path / "out" / ".edgestem-watch.jsonl"):
        process = start(*words, "--once")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "another edgestem watch" in err


def test_systemd_is_told(start, tmp_path) -> None:
    song(tmp_path / "in" / "a.wav")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(20)
        words = (tmp_path / "in", "-o", tmp_path / "out", "--layout", "flat", "--once")
        process = start(*words, "--settle", 0, NOTIFY_SOCKET=str(tmp_path / "notify"))
        said = []
        while not said or not said[-1].startswith("STATUS=1 written"):
            said.append(server.recv(4096).decode())
        process.communicate(timeout=20)
    assert said[0] == "READY=1"
    assert "WATCHDOG=1" in said
    assert any(line.startswith("STATUS=song 1 of 1") for line in said)


def test_looks_that_take_long_are_seldom(tmp_path, monkeypatch) -> None:
    """20,000 songs on a disk that tells nothing: a tenth of the time at most."""
    slept: list[float] = []
    scan = Scan(n_items=1, n_settling=1)

    def look() -> Scan:
        now[0] += 3.0
        if len(slept) == 2:
            raise interrupts.Stop
        return scan

    now = [0.0]
    monkeypatch.setattr("edgestem.cli.watch.time.monotonic", lambda: now[0])
    args = argparse.Namespace(
        once=False, quiet=True, settle=5.0, interval=10.0, json=False
    )
    watcher = _Watcher(args)
    monkeypatch.setattr(watcher._changes, "follow", lambda _: Told.NOTHING)
    monkeypatch.setattr(watcher, "_sleep", slept.append)
    with closing(watcher._changes), pytest.raises(interrupts.Stop):
        watcher.run(SimpleNamespace(look=look))
    assert slept == [27.0, 27.0]


def test_a_picture_that_comes_later_makes_a_pair(tmp_path: Path) -> None:
    """And the listing says what asking the disk says, in either case of .cdg."""
    for name in ("a.mp3", "b.mp3", "B.MP3", "c.wav", "c.cdg"):
        (tmp_path / name).touch()
    kinds = {i.path.name: i.kind for i in find_items([str(tmp_path)], tmp_path).items}
    assert set(kinds.values()) == {"song"}
    before = [sign_of(i) for i in find_items([str(tmp_path)], tmp_path).items]
    (tmp_path / "a.cdg").touch()
    (tmp_path / "B.CDG").touch()
    items = find_items([str(tmp_path)], tmp_path).items
    assert {i.path.name for i in items if i.kind == "cdg"} == {"a.mp3", "B.MP3"}
    assert all(i.kind == kind_of(i.path) for i in items)
    assert sum(len(sign_of(i)) for i in items) == sum(map(len, before)) + 4


# ---- what survives -----------------------------------------------------------------


def digest(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name[0] != "."}


def test_kills_at_random_moments_change_nothing(start, tmp_path) -> None:
    """EDGESTEM_KILLS says how many; the outputs are those of an undisturbed run."""
    n_kills = int(os.environ.get("EDGESTEM_KILLS", "8"))
    rng = random.Random(8)
    library, out, quiet = tmp_path / "in", tmp_path / "out", tmp_path / "quiet"
    for number in range(6):
        song(library / f"{number}.wav", 2.0, seed=number)
    words = ("--layout", "flat", "--format", "flac")
    assert once(start, library, "-o", quiet, *words)[0] == 0
    for _ in range(n_kills):
        process = start(library, "-o", out, *words, "--interval", 0.1, "--settle", 0.1)
        time.sleep(rng.uniform(0.3, 1.6))
        process.kill()
        process.communicate()
        for name, data in digest(out).items() if out.exists() else ():
            assert data == digest(quiet)[name]  # whole, or not there
        if out.exists() and len(digest(out)) == 12:
            shutil.rmtree(out)  # all is done: from the start
    assert once(start, library, "-o", out, *words)[0] == 0
    assert digest(out) == digest(quiet)
    assert [p for p in out.iterdir() if p.suffix == ".part"] == []
    assert words_of(once(start, library, "-o", out, *words)[1]) == []


def test_a_state_that_was_cut_anywhere_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with State(path) as state:
        for number in range(4):
            state.add(Path(f"/s/ü{number}"), Entry((number, 7), (f"o{number}",)))
        state.forget("/s/ü1")
    data = path.read_bytes()
    for end in range(len(data) + 1):
        path.write_bytes(data[:end])
        with State(path) as state:
            assert set(state.entries) <= {f"/s/ü{n}" for n in range(4)}
            state.add(Path("x"), Entry((1, 2)))
        with State(path) as state:
            assert state.entries["x"] == Entry((1, 2))
    path.write_bytes(data)
    with State(path) as state:
        assert set(state.entries) == {"/s/ü0", "/s/ü2", "/s/ü3"}
        assert state.entries["/s/ü3"] == Entry((3, 7), ("o3",))
        with pytest.raises(EdgestemError) as caught:
            State(path)
        assert caught.value.code == "watched"


def test_a_state_on_a_full_disk_is_said(tmp_path: Path) -> None:
    with State(tmp_path / "state") as state:
        full = os.open("/dev/full", os.O_WRONLY)
        state._fd, fd = full, state._fd
        with pytest.raises(AudioError, match="make room"):
            state.add(Path("a"), Entry((1, 2)))
        os.close(fd)
