"""Jobs of a real daemon: descriptors, paths, limits, fairness, cancelling, cache."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from daemons import DaemonProcess, read_all, running, wait_for
from jobs import local_stems, make_song, new_files, refused, submit

from edgestem import Client, EdgestemError
from edgestem.wire.protocol import encode


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    for name in ("in", "out", "elsewhere"):
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="module")
def daemon(place: Path) -> Iterator[DaemonProcess]:
    flags = ["--input-dir", str(place / "in"), "--output-dir", str(place / "out")]
    with running(place, *flags, cache_mb=50, max_file_mb=64, max_hours=0.1) as found:
        yield found


@pytest.fixture
def out(place: Path) -> Iterator[Path]:
    yield place / "out"  # the daemon holds it: only what is in it goes
    for path in (place / "out").iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_job_by_descriptor_writes_what_a_local_run_writes(
    daemon: DaemonProcess, tmp_path: Path, subtype: str
) -> None:
    song = make_song(tmp_path / "song.wav", subtype=subtype)
    expected = local_stems(song, tmp_path / "local")
    with daemon.client() as client:
        for is_cached in (False, True):
            fds = new_files(tmp_path)
            os.write(fds[0], b"x" * 1_000_000)  # what was there is no part of it
            done = client.separate_file(song, fds)
            assert done["is_cached"] is is_cached
            for i, name in enumerate(("vocals", "instrumental")):
                assert (tmp_path / f"{i}.bin").read_bytes() == expected[name]
                os.close(fds[i])


def test_formats_and_the_karaoke_stem(daemon: DaemonProcess, tmp_path: Path) -> None:
    song = make_song(tmp_path / "song.flac")
    options = {"stems": ("instrumental", "karaoke"), "vocals_db": -6.0}
    expected = local_stems(song, tmp_path / "local", file_format="flac", **options)
    with daemon.client() as client:
        fds = new_files(tmp_path)
        fields = {**options, "stems": ["instrumental", "karaoke"], "format": "flac"}
        done = client.separate_file(song, fds, **fields)
    assert done["subtype"] == "16"
    for i, name in enumerate(expected):
        assert (tmp_path / f"{i}.bin").read_bytes() == expected[name]


def test_a_job_by_path(daemon: DaemonProcess, place: Path, out: Path) -> None:
    song = make_song(place / "in" / "song.wav")
    expected = local_stems(song, place / "local")
    with daemon.client() as client:
        ask = {"input": str(song), "output_dir": str(out / "new")}
        client.request("separate", "done", **ask)
        for name, content in expected.items():
            assert (out / "new" / f"{name}.wav").read_bytes() == content
        assert refused(lambda: client.request("separate", "done", **ask)) == "exists"
        client.request("separate", "done", **ask, replace=True)
    assert sorted(p.name for p in (out / "new").iterdir()) == [
        "instrumental.wav",
        "vocals.wav",
    ]


def test_paths_stay_below_the_allowed_directories(
    daemon: DaemonProcess, place: Path, out: Path
) -> None:
    inside, outside = place / "in", place / "elsewhere"
    secret = make_song(outside / "secret.wav")
    for name, target in (("link.wav", secret), ("dir", outside)):
        (inside / name).unlink(missing_ok=True)
        (inside / name).symlink_to(target)
    (out / "link").symlink_to(outside)
    inputs = [secret, inside / "../elsewhere/secret.wav", inside / "link.wav"]
    inputs += [inside / "dir/secret.wav", Path("/proc/self/mem"), Path("/dev/zero")]
    with daemon.client() as client:

        def code(source: Path | str, folder: Path | str) -> str:
            fields = {"input": str(source), "output_dir": str(folder)}
            return refused(lambda: client.request("separate", "done", **fields))

        for source in inputs:
            assert code(source, out) == "forbidden"
        assert code("in/song.wav", out) == "forbidden"
        song = make_song(inside / "plain.wav")
        for folder in (outside, out / "link", out / "../elsewhere", "/", "out"):
            assert code(song, folder) == "forbidden"
        assert code(inside, out) == "unreadable"
        assert code(inside / "none.wav", out) == "unreadable"
        os.mkfifo(inside / "fifo.wav")
        assert code(inside / "fifo.wav", out) == "unreadable"
        assert code(song, out / "a" / "b") == "unwritable"
    assert not any(outside.glob("*.part")) and len(list(outside.iterdir())) == 1


def test_descriptors_that_are_no_good(daemon: DaemonProcess, tmp_path: Path) -> None:
    song = make_song(tmp_path / "song.wav")
    reading, writing = os.pipe()
    plain = os.open(song, os.O_RDONLY)
    appending = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    good = new_files(tmp_path)
    (tmp_path / "text.wav").write_text("no song at all " * 100)
    with daemon.client() as client:
        for source, outputs, code in (
            (reading, good, "bad_field"),
            (writing, good, "bad_field"),
            (good[0], good, "bad_field"),
            (plain, [plain, plain], "bad_field"),
            (plain, [good[0], writing], "bad_field"),
            (plain, [good[0], appending], "bad_field"),
            (plain, good[:1], "bad_field"),
            (plain, [*good, *good], "bad_field"),
            (tmp_path / "text.wav", good, "unreadable"),
        ):
            ask = [source, outputs]
            assert refused(lambda ask=ask: client.separate_file(*ask)) == code
        client.separate_file(song, good)  # the connection still works
    with daemon.raw() as connection:
        connection.sendall(encode("separate", fds=3))
        assert b"bad_header" in read_all(connection)


def test_limits_of_size_and_length(daemon: DaemonProcess, tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros((400 * 8000, 1)), 8000)
    large = tmp_path / "large.wav"
    large.touch()
    os.truncate(large, 65 << 20)
    with daemon.client() as client:
        for song in (long, large):
            fds = new_files(tmp_path)
            ask = (song, fds)
            assert refused(lambda ask=ask: client.separate_file(*ask)) == "too_large"


def test_jobs_wait_report_progress_and_can_be_cancelled(
    tmp_path: Path, place: Path
) -> None:
    song = make_song(tmp_path / "song.wav", seconds=240)
    fields: dict[str, Any] = {"fds": [0, 1, 2]}
    with (
        running(tmp_path, max_client_jobs=2, max_jobs=3) as daemon,
        daemon.client() as client,
        daemon.client() as other,
    ):
        source = os.open(song, os.O_RDONLY)
        fields["fds"] = [source, *new_files(tmp_path)]
        first = submit(client, fields)
        client.receive("progress")
        second = submit(client, fields)
        assert refused(lambda: submit(client, fields)) == "queue_full"
        third = submit(other, fields)
        assert refused(lambda: submit(other, fields)) == "queue_full"
        payload = json.loads(other.request("status", "status").payload)
        assert [j["job"] for j in payload["jobs"]] == [first, second, third]
        client.send("cancel", job=second)
        assert refused(lambda: client.receive("done")) == "cancelled"
        client.receive("cancelled")
        client.send("cancel", job=first)
        assert refused(lambda: client.receive("done")) == "cancelled"
        assert refused(lambda: client.request("cancel", "x", job=third)) == "no_job"
        other.close()
        wait_for(lambda: client.status()["n_jobs"] == 0)


def test_clients_take_turns(tmp_path: Path) -> None:
    song = make_song(tmp_path / "song.wav", seconds=20)
    ended: list[str] = []
    with (
        running(tmp_path) as daemon,
        daemon.client() as greedy,
        daemon.client() as modest,
    ):
        fields = {"fds": [os.open(song, os.O_RDONLY), *new_files(tmp_path)]}
        for _ in range(4):
            submit(greedy, fields)
        submit(modest, fields)

        def collect() -> None:
            for _ in range(4):
                greedy.receive("done")
                ended.append("greedy")

        thread = threading.Thread(target=collect)
        thread.start()
        modest.receive("done")
        ended.append("modest")
        thread.join()
    assert ended.index("modest") <= 2


def test_a_client_that_dies_cancels_its_jobs(tmp_path: Path) -> None:
    song = make_song(tmp_path / "song.wav", seconds=240)
    with running(tmp_path, "--output-dir", str(tmp_path)) as daemon:
        client = daemon.client()
        source = os.open(song, os.O_RDONLY)
        submit(client, {"fds": [source], "output_dir": str(tmp_path / "stems")})
        client.receive("progress")
        assert list((tmp_path / "stems").glob(".*.part"))
        client.close()
        wait_for(lambda: not (tmp_path / "stems").exists() or not any(
            (tmp_path / "stems").iterdir()
        ))  # fmt: skip


def test_a_damaged_cache_entry_is_not_used(
    daemon: DaemonProcess, place: Path, tmp_path: Path
) -> None:
    song = make_song(tmp_path / "cached.wav", seconds=2)
    expected = local_stems(song, tmp_path / "local")
    cache = place / "cache" / "edgestem"
    with daemon.client() as client:
        before = set(cache.iterdir())
        client.separate_file(song, new_files(tmp_path))
        (entry,) = set(cache.iterdir()) - before
        content = bytearray(entry.read_bytes())
        content[5000] ^= 1
        entry.write_bytes(content)
        assert client.separate_file(song, new_files(tmp_path))["is_cached"] is False
        assert (tmp_path / "0.bin").read_bytes() == expected["vocals"]
        assert client.separate_file(song, new_files(tmp_path))["is_cached"] is True
        assert (tmp_path / "0.bin").read_bytes() == expected["vocals"]


def test_the_cache_keeps_its_limit_and_forgets_the_oldest(tmp_path: Path) -> None:
    songs = [make_song(tmp_path / f"{i}.wav", seconds=2.5) for i in range(4)]
    with running(tmp_path, cache_mb=1) as daemon, daemon.client() as client:

        def is_cached(i: int) -> bool:
            fds = new_files(tmp_path)
            found: bool = client.separate_file(songs[i], fds)["is_cached"]
            return found

        assert [is_cached(i) for i in (0, 1, 0)] == [False, False, True]
        assert not is_cached(2)  # two of 430 kB fit: 1 has to go
        assert [is_cached(i) for i in (0, 1)] == [True, False]
        assert client.status()["cache_bytes"] <= 1 << 20


def test_separate_with_socket_is_separate(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    song = make_song(tmp_path / "song.wav")
    expected = local_stems(song, tmp_path / "local")
    line = [sys.executable, "-m", "edgestem", "separate", "--socket", daemon.socket]
    line += [song, "-o", tmp_path / "out", "--json"]
    for code in (0, 1):  # the second time the stems exist
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
    assert "exists" in done.stderr
    folder = tmp_path / "out" / "song"
    assert {p.stem: p.read_bytes() for p in folder.iterdir()} == expected
    line = [sys.executable, "-m", "edgestem", "separate", "--socket", daemon.socket]
    line += ["-", "-o", "-", "--only", "vocals"]
    with song.open("rb") as file:
        piped = subprocess.run(line, stdin=file, capture_output=True, check=True)
    assert piped.stdout == expected["vocals"]


def test_the_client_command(daemon: DaemonProcess) -> None:
    def run(*words: str) -> str:
        line = [sys.executable, "-m", "edgestem", "client", *words]
        line += ["--socket", str(daemon.socket)]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout

    assert "device: cpu" in run("status")
    assert json.loads(run("status", "--json"))["protocol"] == 1
    assert run("models").startswith("tiny: 44100 Hz")


def test_without_a_daemon_the_client_says_so(tmp_path: Path) -> None:
    with pytest.raises(EdgestemError) as caught:
        Client(tmp_path / "none")
    assert caught.value.code == "no_daemon"
    assert "edgestem serve" in str(caught.value)


def test_unclaimed_descriptors_are_bounded(daemon: DaemonProcess) -> None:
    n_before = daemon.n_fds()
    with daemon.raw() as connection:
        with contextlib.suppress(OSError):
            for _ in range(5):
                socket.send_fds(connection, [encode("ping")], [0, 1, 2])
        assert b"too_large" in read_all(connection)
    wait_for(lambda: daemon.n_fds() <= n_before)
