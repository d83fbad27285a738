"""Catalogues: each song once, whatever dies; what is done is known by its receipt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from catalogues import (
    TINY,
    batch,
    begin,
    is_there,
    kill,
    leftovers,
    line,
    receipts,
    wait_for,
    workers,
    write_songs,
)

OTHER = TINY.with_name("short1.tflite")


@pytest.fixture
def src(tmp_path: Path) -> Path:
    write_songs(tmp_path / "src", 12)
    return tmp_path / "src"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_each_song_once_with_the_bytes_of_separate(src: Path, out: Path) -> None:
    first = batch(src, "-o", out, "--jobs", 2, "--json")
    assert first.returncode == 0, first.stderr
    *songs, last = map(json.loads, first.stdout.splitlines())
    assert len({song["song"] for song in songs}) == len(songs) == 12
    assert last["summary"]["done"] == 12 and last["summary"]["failed"] == 0
    subprocess.run(
        line("separate", src, "-o", out.with_name("plain")), check=True, timeout=60
    )
    stems = list(out.with_name("plain").rglob("*.wav"))
    assert len(stems) == 24
    for stem in stems:
        twin = out / stem.relative_to(out.with_name("plain"))
        assert twin.read_bytes() == stem.read_bytes()
    assert leftovers(out) == [] and not (out / "failed.jsonl").exists()


def test_a_receipt_says_what_was_made_of_what(src: Path, out: Path) -> None:
    song = src / "album 0" / "song 3.wav"
    assert batch(song, "-o", out).returncode == 0
    (made,) = receipts(out)
    assert made["song"] == "song 3.wav" and made["model_name"] == "tiny"
    assert made["source"]["size"] == song.stat().st_size
    assert made["decoded"]["samples"] == 8820
    assert made["decoded"]["decoder"].startswith("libsndfile 1")
    assert set(made["outputs"]) == {"vocals.wav", "instrumental.wav"}
    for name, output in made["outputs"].items():
        assert (out / "song 3" / name).stat().st_size == output["size"]
        assert output["samples"] == 8820 and len(output["sha256"]) == 64


def test_a_second_run_does_nothing_and_says_so(src: Path, out: Path) -> None:
    batch(src, "-o", out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    again = batch(src, "-o", out)
    assert again.returncode == 0
    assert "12 done before, 0 to do" in again.stderr
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()} == before


def test_a_cut_output_or_receipt_is_not_done(src: Path, out: Path) -> None:
    batch(src, "-o", out)
    stem = out / "album 0" / "song 1" / "vocals.wav"
    whole = stem.read_bytes()
    stem.write_bytes(whole[:-2])
    cut = out / "album 0" / "song 2" / "edgestem.json"
    cut.write_bytes(cut.read_bytes()[:100])
    again = batch(src, "-o", out)
    assert "10 done before, 2 to do" in again.stderr, again.stderr
    assert stem.read_bytes() == whole and len(receipts(out)) == 12


def test_broken_songs_are_listed_and_tried_alone(src: Path, out: Path) -> None:
    bad = [src / "text.mp3", src / "album 0" / "empty.wav"]
    bad[0].write_text("no song at all")
    bad[1].touch()
    first = batch(src, "-o", out, "--jobs", 2)
    assert first.returncode == 5  # trying again is useless
    listed = [json.loads(x) for x in (out / "failed.jsonl").read_text().splitlines()]
    assert {x["path"] for x in listed} == set(map(str, bad))
    assert {(x["code"], x["attempts"]) for x in listed} == {("unreadable", 1)}
    assert all(x["text"] and x["host"] for x in listed)
    assert len(receipts(out)) == 12
    write_songs(src / "new", 1)
    subprocess.run(["cp", src / "album 0" / "song 1.wav", bad[1]], check=True)
    third = batch(src, "-o", out, "--only-failed")
    assert "12 done before, 2 to do" in third.stderr and third.returncode == 5
    (left,) = (out / "failed.jsonl").read_text().splitlines()
    assert json.loads(left)["song"] == "text.mp3"
    status = batch(src, "-o", out, "--status", "--json")
    found = json.loads(status.stdout)
    assert (found["songs"], found["done"], found["to_do"]) == (15, 13, 2)
    assert found["failed"] == {"unreadable": 1} and status.returncode == 3


def test_another_model_is_said_and_done_only_when_asked(src: Path, out: Path) -> None:
    batch(src, "-o", out)
    before = (out / "album 0" / "song 1" / "vocals.wav").read_bytes()
    other = batch(src, "-o", out, model=OTHER)
    assert other.returncode == 5
    assert "12 songs were published with another model" in other.stderr
    assert (out / "album 0" / "song 1" / "vocals.wav").read_bytes() == before
    redone = batch(src, "-o", out, "--redo", model=OTHER)
    assert redone.returncode == 0, redone.stderr
    assert {made["model_name"] for made in receipts(out)} == {"short1"}
    assert (out / "album 0" / "song 1" / "vocals.wav").read_bytes() != before
    assert leftovers(out) == []


def test_redo_in_another_format_takes_the_old_stems_away(src: Path, out: Path) -> None:
    song = src / "album 0" / "song 1.wav"
    batch(song, "-o", out)
    options = batch(song, "-o", out, "--format", "flac")
    assert "published with another options" in options.stderr
    assert batch(song, "-o", out, "--format", "flac", "--redo").returncode == 0
    names = sorted(p.name for p in (out / "song 1").iterdir())
    assert names == ["edgestem.json", "instrumental.flac", "vocals.flac"]


def test_a_changed_song_is_done_again_a_copied_one_is_not(src: Path, out: Path) -> None:
    batch(src, "-o", out)
    songs = sorted(src.rglob("*.wav"))
    os.utime(songs[0])
    songs[1].write_bytes(songs[2].read_bytes())
    again = batch(src, "-o", out)
    assert "10 done before, 2 to do" in again.stderr
    assert "1 done, 11 done before" in again.stderr
    assert "12 done before, 0 to do" in batch(src, "-o", out).stderr


def test_stems_of_others_are_not_replaced(src: Path, out: Path) -> None:
    song = src / "album 0" / "song 1.wav"
    stem = out / "song 1" / "vocals.wav"
    stem.parent.mkdir(parents=True)
    stem.write_text("precious")
    refused = batch(song, "-o", out)
    assert refused.returncode == 5 and "[exists]" in refused.stderr
    assert stem.read_text() == "precious"


def test_a_kill_between_two_names_is_made_good(src: Path, out: Path) -> None:
    """The claim of a dead process says that the lonely stem is a catalogue's."""
    song = src / "album 0" / "song 1.wav"
    batch(song, "-o", out)
    folder = out / "song 1"
    whole = (folder / "vocals.wav").read_bytes()
    (folder / "edgestem.json").unlink()
    (folder / "instrumental.wav").unlink()
    (folder / ".edgestem.claim.0").write_text('{"token": "x", "place": "elsewhere"}')
    assert batch(song, "-o", out).returncode == 0
    assert (folder / "vocals.wav").read_bytes() == whole
    assert len(receipts(out)) == 1 and leftovers(out) == []


def test_killed_workers_cost_nothing_but_time(tmp_path: Path, out: Path) -> None:
    write_songs(tmp_path / "src", 60)
    run = begin(tmp_path / "src", "-o", out, "--jobs", 2, "--retries", 20)
    n_killed = n_before = 0
    while run.poll() is None:
        if (n := len(receipts(out))) > n_before + 5:  # whoever came last is ready
            n_killed += sum(map(kill, workers(run.pid)[:1]))
            n_before = n
        time.sleep(0.2)
    assert run.communicate() and run.returncode == 0
    assert n_killed >= 2
    made = receipts(out)
    assert len({x["song"] for x in made}) == len(made) == 60
    assert leftovers(out) == []


def test_whoever_kills_every_worker_gets_it_said(tmp_path: Path, out: Path) -> None:
    write_songs(tmp_path / "src", 1, seconds=60)
    run = begin(tmp_path / "src", "-o", out, "--retries", 1)
    for _ in range(2):
        wait_for(lambda: list(out.rglob(".*.wav.*.part")) and workers(run.pid))
        for pid in workers(run.pid):
            kill(pid)
            wait_for(lambda pid=pid: not is_there(pid))
        for part in out.rglob(".*.wav.*.part"):
            part.unlink()
    _, said = run.communicate(timeout=60)
    assert run.returncode == 3 and "SIGKILL" in said and "(2 attempts)" in said
    (listed,) = (out / "failed.jsonl").read_text().splitlines()
    assert json.loads(listed)["code"] == "worker_died"


def test_a_song_that_is_being_written_is_tried_again(tmp_path, out: Path) -> None:
    (song,) = write_songs(tmp_path / "src", 1, seconds=60)
    with (tmp_path / "json").open("w") as file:
        run = begin(tmp_path / "src", "-o", out, "--json", stdout=file)
        wait_for(lambda: list(out.rglob(".*.part")))
        os.utime(song)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 0, said
    told = json.loads((tmp_path / "json").read_text().splitlines()[0])
    assert (told["state"], told["attempts"]) == ("done", 2)
    assert receipts(out)[0]["source"]["mtime_ns"] == song.stat().st_mtime_ns
    assert leftovers(out) == []


def test_songs_of_several_rates_in_one_process(tmp_path: Path, out: Path) -> None:
    """What one song leaves in a loaded model does not reach the next one."""
    x = np.random.default_rng(0).normal(0, 0.1, (9600, 2))
    for i, (rate, n_channels) in enumerate([(44100, 2), (48000, 2), (44100, 1)] * 2):
        path = tmp_path / "src" / f"{i}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, x[:, :n_channels], rate)
    assert batch(tmp_path / "src", "-o", out).returncode == 0
    for i in range(3):
        for stem in ("vocals.wav", "instrumental.wav"):
            first, second = (out / f"{j}" / stem for j in (i, i + 3))
            assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_run(tmp_path: Path, out: Path, number: int) -> None:
    write_songs(tmp_path / "src", 2, seconds=150)
    run = begin(tmp_path / "src", "-o", out, "--jobs", 2)
    wait_for(lambda: len(list(out.rglob(".*.part"))) == 4)
    children = workers(run.pid)
    run.send_signal(number)
    run.communicate(timeout=30)
    wait_for(lambda: not any(map(is_there, children)), 5)
    assert run.returncode == (128 + number if number != signal.SIGKILL else -9)
    assert not [name for name in leftovers(out) if name.endswith(".part")]


def test_runs_that_are_killed_and_started_again(tmp_path: Path, out: Path) -> None:
    write_songs(tmp_path / "src", 40)
    for _ in range(4):
        run = begin(tmp_path / "src", "-o", out, "--jobs", 2)
        n = len(receipts(out))
        wait_for(lambda n=n, run=run: len(receipts(out)) > n + 3 or run.poll() == 0)
        kill(run.pid)
        run.communicate()
    assert batch(tmp_path / "src", "-o", out, "--jobs", 2).returncode == 0
    assert len(receipts(out)) == 40 and leftovers(out) == []
    verified = batch(tmp_path / "src", "-o", out, "--verify")
    assert "40 fit" in verified.stdout and verified.returncode == 0


def test_verify_finds_a_single_bit(src: Path, out: Path) -> None:
    batch(src, "-o", out)
    stem = out / "album 1" / "song 10" / "instrumental.wav"
    data = bytearray(stem.read_bytes())
    data[5000] ^= 1
    stem.write_bytes(data)
    found = batch(src, "-o", out, "--verify", "--jobs", 2)
    assert found.returncode == 3 and "11 fit, 1 differ" in found.stdout
    assert "instrumental.wav is not what its receipt says" in found.stderr
    some = batch(src, "-o", out, "--verify", "--sample", 3)
    assert some.stdout.startswith("3 of 12 songs were read again")


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_stops_the_run(src: Path, small_disk: Path) -> None:
    out = small_disk / "out"
    full = batch(src, "-o", out)
    assert full.returncode == 4, full.stderr
    assert "stopped:" in full.stderr and "not tried" in full.stderr
    n_done = len(receipts(out))
    assert 0 < n_done < 12 and leftovers(out) == []
    subprocess.run(["mount", "-o", "remount,size=40m", small_disk], check=True)
    rest = batch(src, "-o", out)
    assert f"{n_done} done before, {12 - n_done} to do" in rest.stderr
    assert rest.returncode == 0


def test_no_model_is_useless_to_try_again(src: Path, out: Path) -> None:
    found = batch(src, "-o", out, model=Path("nothing.tflite"))
    assert found.returncode == 5 and "[model_not_found]" in found.stderr
    assert not out.exists()


def test_contradictions_are_usage(src: Path, out: Path) -> None:
    assert batch(src, "-o", out, "--sample", 3).returncode == 2
    assert batch(src, "-o", out, "--status", "--verify").returncode == 2
    assert batch(src, model=TINY).returncode == 2
