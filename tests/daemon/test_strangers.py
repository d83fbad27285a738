"""The daemon among users who do not trust each other: each wastes its own share."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from daemons import DATA, WAIT_S, DaemonProcess, jobs_child, running, wait_for
from strangers import (
    ALICE,
    HELD,
    MAL,
    as_user,
    ask,
    needs_root,
    open_folder,
    open_place,
)

from edgestem import Client, EdgestemError

RATE = 8000


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with open_place() as folder:
        make_song(folder / "short.wav", 0.5)
        make_song(folder / "long.wav", 1200)
        yield folder


@pytest.fixture(scope="module")
def daemon(place: Path) -> Iterator[DaemonProcess]:
    flags = ["--input-dir", str(place / "in"), "--output-dir", str(place / "out")]
    limits = {"max_clients": 16, "max_streams": 6, "max_jobs": 6, "job_turn_s": 0.1}
    settings = {"socket_mode": "0666", "stall_s": 2, "output_mode": "0600"}
    with running(place, *flags, **limits, **settings) as found:
        yield found


def make_song(path: Path, seconds: float) -> Path:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((int(RATE * seconds), 1)) * 0.1
    soundfile.write(path, x, RATE, "PCM_16")
    path.chmod(0o644)
    return path


def connect(path: Path) -> Client:
    client = Client(path, timeout_s=WAIT_S)
    HELD.append(client)
    return client


def job_fds(song: Path) -> list[int]:
    return [os.open(song, os.O_RDONLY), os.memfd_create("v"), os.memfd_create("i")]


def do_job(path: Path, song: Path) -> str:
    """Do a job; return done or the error's code."""
    return ended(connect(path), fds=job_fds(song))


def ended(client: Client, **fields: Any) -> str:
    try:
        client.request("separate", "done", **fields)
    except EdgestemError as error:
        return error.code
    return "done"


# ---- a job's child -----------------------------------------------------------------


@pytest.mark.parametrize("end", [signal.SIGSEGV, signal.SIGSTOP, signal.SIGXCPU])
def test_a_child_that_crashes_or_hangs_is_its_jobs_error(
    daemon: DaemonProcess, place: Path, end: signal.Signals
) -> None:
    with daemon.client() as client:
        client.send("separate", fds=job_fds(place / "long.wav"))
        client.receive("progress")
        os.kill(jobs_child(daemon), end)
        with pytest.raises(EdgestemError) as caught:
            client.receive("done")
        assert caught.value.code == "stalled" if end is signal.SIGSTOP else "unwritable"
        assert do_job(daemon.socket, place / "short.wav") == "done"


def test_a_hanging_job_keeps_no_other_user_waiting(
    daemon: DaemonProcess, place: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has other users")
    with daemon.client() as client:
        client.send("separate", fds=job_fds(place / "long.wav"))
        client.receive("progress")
        os.kill(jobs_child(daemon), signal.SIGSTOP)
        assert ask(ALICE, do_job, daemon.socket, place / "short.wav") == "done"


def test_a_child_has_limits_and_no_descriptor_of_the_daemon(
    daemon: DaemonProcess, place: Path
) -> None:
    with daemon.client() as client:
        client.send("separate", fds=job_fds(place / "long.wav"))
        client.receive("progress")
        child = Path(f"/proc/{jobs_child(daemon)}")
        limits = (child / "limits").read_text()
        for name in ("Max address space", "Max cpu time", "Max file size"):
            (line,) = (x for x in limits.splitlines() if x.startswith(name))
            assert "unlimited" not in line
        fds = {str(fd.readlink()) for fd in (child / "fd").iterdir()}
        mine = {"/dev/null", str(place / "long.wav"), "/memfd:v (deleted)"}
        mine |= {"/memfd:i (deleted)"}
        assert all(fd in mine or fd.startswith("socket:") for fd in fds), fds
        assert sum(fd.startswith("socket:") for fd in fds) == 1


def test_a_path_of_any_length_gets_its_error(daemon: DaemonProcess) -> None:
    with daemon.client() as client:
        for letter in ("x", "\u6b4c", "\U0001f3a4", "\x01", '"'):
            n = 3900 // (len(json.dumps(letter)) - 2)
            long = f"/{letter * min(n, 1000)}"
            assert ended(client, input=long, output_dir="/nowhere") == "forbidden"


def test_no_thread_left_refuses_one_client(tmp_path: Path) -> None:
    with running(tmp_path) as daemon, daemon.client() as client:
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        (line,) = (x for x in status.splitlines() if x.startswith("VmSize"))
        few = int(line.split()[1]) * 1024 + (1 << 20)  # less than a stack
        old = resource.prlimit(daemon.process.pid, resource.RLIMIT_AS)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_AS, (few, old[1]))
        refused = 0
        for _ in range(12):
            refused += not can_connect(daemon)
        assert refused
        resource.prlimit(daemon.process.pid, resource.RLIMIT_AS, old)
        client.status()
        while HELD:
            HELD.pop().close()


def can_connect(daemon: DaemonProcess) -> bool:
    try:
        HELD.append(daemon.client())
    except EdgestemError:
        return False
    return True


# ---- shares ------------------------------------------------------------------------


def take_connections(path: Path) -> int:
    with contextlib.suppress(EdgestemError):
        for _ in range(100):
            client = Client(path, timeout_s=WAIT_S)
            client.request("subscribe", "subscribed")
            HELD.append(client)
    return len(HELD)


def take_streams(path: Path) -> int:
    client, count = connect(path), 0
    with contextlib.suppress(EdgestemError):
        for _ in range(100):
            client.open(RATE, 1)
            client, count = connect(path), count + 1
    return count


def take_jobs(path: Path, song: Path) -> int:
    client, count = connect(path), 0
    with contextlib.suppress(EdgestemError):
        for _ in range(100):
            client.request("separate", "queued", fds=job_fds(song))
            count += 1
    return count


def use_all(path: Path, song: Path) -> str:
    client = connect(path)
    client.separate(np.zeros((100, 1), np.float32), RATE)
    return ended(client, fds=job_fds(song))


@needs_root
def test_one_user_leaves_room_for_the_next(daemon: DaemonProcess, place: Path) -> None:
    wait_for(lambda: daemon.n_threads() < 8)
    taken = [
        (take_connections, [daemon.socket], 8),
        (take_streams, [daemon.socket], 3),
        (take_jobs, [daemon.socket, place / "long.wav"], 3),
    ]
    for take, arguments, n_expected in taken:
        with as_user(MAL, take, *arguments) as count:
            assert count == n_expected, take
            use = [daemon.socket, place / "short.wav"]
            assert ask(ALICE, use_all, *use) == "done", take
        wait_for(lambda: daemon.n_threads() < 8)


def test_streams_are_admitted_by_their_memory(tmp_path: Path) -> None:
    with running(tmp_path, max_memory_mb=24) as daemon:
        with daemon.client() as one, daemon.client() as two, daemon.client() as third:
            one.open(RATE, 1)
            two.open(RATE, 1)
            with pytest.raises(EdgestemError, match="max_memory_mb 24") as caught:
                third.open(RATE, 1)
            assert caught.value.code == "overloaded"
        with daemon.client() as client:
            wait_for(lambda: client.status()["n_streams"] == 0)
            client.open(RATE, 1)


def stay(path: Path) -> str:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(WAIT_S)
    connection.connect(str(path))
    found = b""
    HELD.append(connection)
    while b"allow_users" not in found:
        data = connection.recv(4096)
        if not data:
            return found.decode()
        found += data
    return "dropped"


@needs_root
def test_sighup_drops_users_who_may_stay_no_longer(tmp_path: Path) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("TOML needs Python 3.11")
    config = tmp_path / "c.toml"
    config.write_text(f'[serve]\nallow_users = ["0", "{MAL}"]\n')
    with open_folder() as folder:
        flags = ["--config", str(config)]
        with running(folder, *flags, socket_mode="0666") as daemon:
            wait_for(lambda: "ready" in daemon.log.read_text())
            config.write_text('[serve]\nallow_users = ["0"]\n')
            script = f"uid {MAL}"
            watcher = subprocess.Popen(
                ["sh", "-c", f"until grep -q '{script}' {daemon.log}; do sleep 0.1;"
                 f"done; sleep 0.3; kill -HUP {daemon.process.pid}"]
            )  # fmt: skip
            assert ask(MAL, stay, daemon.socket) == "dropped"
            assert watcher.wait(WAIT_S) == 0
            daemon.client().close()


# ---- paths -------------------------------------------------------------------------


def test_a_folder_is_made_at_once_and_held(daemon: DaemonProcess, place: Path) -> None:
    outside = place / "outside"
    outside.mkdir()
    folder, moved = place / "out" / "new", place / "out" / "moved"
    song = place / "in" / "song.wav"
    song.write_bytes((place / "short.wav").read_bytes())
    with daemon.client() as busy, daemon.client() as client:
        busy.send("separate", fds=job_fds(place / "long.wav"))
        busy.receive("progress")
        client.send("separate", input=str(song), output_dir=str(folder))
        client.receive("queued")
        folder.rename(moved)
        folder.symlink_to(outside)
        busy.close()
        client.receive("done")
    assert not list(outside.iterdir())
    names = {path.name for path in moved.iterdir()}
    assert names == {"vocals.wav", "instrumental.wav"}
    assert {p.stat().st_mode & 0o777 for p in moved.iterdir()} == {0o600}


def test_an_allowed_folder_is_the_one_that_was_there_at_the_start(
    tmp_path: Path,
) -> None:
    allowed, secret = tmp_path / "music", tmp_path / "secret"
    for folder in (allowed, secret):
        folder.mkdir()
        make_song(folder / "song.wav", 0.1)
    (secret / "private.wav").write_bytes((secret / "song.wav").read_bytes())
    flags = ["--input-dir", str(allowed), "--output-dir", str(tmp_path)]
    with running(tmp_path, *flags) as daemon, daemon.client() as client:
        allowed.rename(tmp_path / "old")
        allowed.symlink_to(secret)
        fields = {"output_dir": str(tmp_path / "stems"), "replace": True}
        for name, code in (("private.wav", "unreadable"), ("song.wav", "done")):
            assert ended(client, input=str(allowed / name), **fields) == code
        assert ended(client, input=str(secret / "song.wav"), **fields) == "forbidden"


def test_a_job_that_fails_leaves_no_folder(daemon: DaemonProcess, place: Path) -> None:
    (place / "in" / "no.wav").write_text("no song")
    folder = place / "out" / "never"
    with daemon.client() as client:
        source = str(place / "in" / "no.wav")
        code = ended(client, input=source, output_dir=str(folder))
        assert code == "unreadable"
    wait_for(lambda: not folder.exists())


# ---- the daemon's place --------------------------------------------------------------


def hold_lock(folder: Path) -> bool:
    fd = os.open(folder, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    HELD.append(fd)
    return True


@needs_root
def test_a_strangers_lock_keeps_no_daemon_from_starting() -> None:
    with open_folder() as folder, as_user(MAL, hold_lock, folder):
        with running(folder) as daemon:
            daemon.client().close()
        lock = (folder / "socket.lock").stat()
        assert stat.S_IMODE(lock.st_mode) == 0o600


def make_fifo(path: Path) -> bool:
    os.mkfifo(path, 0o666)
    path.chmod(0o666)
    return True


@needs_root
def test_a_strangers_fifo_gives_no_commands() -> None:
    from edgestem.live.control import Control

    with open_folder() as folder:
        folder.chmod(0o777)
        assert ask(MAL, make_fifo, folder / "ctl")
        with pytest.raises(EdgestemError, match="another user's"):
            Control(str, print, fifo=folder / "ctl")
        (folder / "ctl").unlink()
        os.mkfifo(folder / "ctl")
        (folder / "ctl").chmod(0o662)
        with pytest.raises(EdgestemError, match="everybody"):
            Control(str, print, fifo=folder / "ctl")


def test_modules_beside_a_song_are_not_imported(tmp_path: Path) -> None:
    for name in ("numpy", "json", "edgestem"):
        (tmp_path / f"{name}.py").write_text(
            f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()"
        )
    code = (
        "import os, sys, edgestem.devices.probe as p; os.chdir(sys.argv[1]);"
        "print(p.probe(p.Trial(*sys.argv[2:] * 2, './none.so', {}, None)).reason)"
    )
    model = str(DATA / "tiny.tflite")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), model],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "install it" in done.stdout, done
    assert not (tmp_path / "ran").exists()


def test_the_log_stays_and_its_lines_cannot_be_forged(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        with daemon.raw() as connection:
            header = {"type": "ping", "fds": "\n1 CRITICAL FORGED L\x1b[2J"}
            connection.sendall(json.dumps(header).encode() + b"\n")
            assert b"bad_header" in connection.recv(4096)
        wait_for(lambda: "bad_header" in daemon.log.read_text())
        log = daemon.log.read_text()
        assert "\\n1 CRITICAL" in log and "\n1 CRITICAL" not in log
        assert "\x1b" not in log


# ---- what was read and not right --------------------------------------------------


def test_never_is_a_long_time(tmp_path: Path) -> None:
    """poll(2) takes 24 days."""
    settings = {"idle_s": 1e8, "message_s": 1e8}
    with running(tmp_path, **settings) as daemon, daemon.client() as client:
        client.status()


def test_positions_of_a_flush_move_on(daemon: DaemonProcess) -> None:
    with daemon.client() as client:
        client.open(48_000, 2)
        client.send("audio", np.zeros((100, 2), np.float32).tobytes())
        client.receive("stems")
        client.send("flush")
        position = 100
        while (message := client.receive("stems", "flushed")).type == "stems":
            assert message.fields["position"] == position
            position += len(message.payload) // 16


def test_audio_without_samples_is_answered(daemon: DaemonProcess) -> None:
    with daemon.client() as client:
        client.open(RATE, 1)
        client.send("audio", seq=3)
        message = client.receive("stems")
        assert (message.fields["seq"], message.payload) == (3, b"")
