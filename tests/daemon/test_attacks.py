"""What a hostile client may pass, hold and ask for: it costs nobody else anything."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from daemons import WAIT_S, DaemonProcess, jobs_child, running, wait_for
from strangers import HELD, MAL, as_user, ask, needs_root, open_place

from edgestem import Client, EdgestemError
from edgestem.daemon.system.notes import LINES
from tools.siege import descriptors

RATE = 8000


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with open_place() as folder:
        x = np.random.default_rng(0).standard_normal((RATE, 1)) * 0.1
        for name, mode in (("song", 0o644), ("private", 0o600), ("box", 0o622)):
            soundfile.write(folder / f"{name}.wav", x, RATE, "PCM_16")
            (folder / f"{name}.wav").chmod(mode)
        yield folder


@pytest.fixture(scope="module")
def daemon(place: Path) -> Iterator[DaemonProcess]:
    flags = ["--input-dir", str(place / "in"), "--output-dir", str(place / "out")]
    with running(place, *flags, socket_mode="0666") as found:
        yield found


def outputs() -> list[int]:
    return [os.memfd_create("v"), os.memfd_create("i")]


def ended(path: Path, **fields: Any) -> str:
    """Do a job; return done or the error's code."""
    with Client(path, timeout_s=WAIT_S) as client:
        try:
            client.request("separate", "done", **fields)
        except EdgestemError as error:
            return error.code
        finally:
            descriptors.close_all(fields.get("fds", []))
    return "done"


def of_descriptor(path: Path, song: Path, flags: int) -> str:
    return ended(path, fds=[os.open(song, flags), *outputs()])


# ---- descriptors -------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize(
    ("name", "flags"), [("private.wav", os.O_PATH), ("box.wav", os.O_WRONLY)]
)
def test_a_descriptor_gives_no_more_than_its_client_may(
    daemon: DaemonProcess, place: Path, name: str, flags: int
) -> None:
    """The daemon may read the file: by its name in /proc it would."""
    arguments = [daemon.socket, place / name, flags]
    assert ask(MAL, of_descriptor, *arguments) == "bad_field"
    arguments = [daemon.socket, place / "song.wav", os.O_RDONLY]
    assert ask(MAL, of_descriptor, *arguments) == "done"


def test_descriptors_of_every_kind_get_an_answer(
    daemon: DaemonProcess, place: Path
) -> None:
    n_before, n_tried = daemon.n_fds(), 0
    expected = {"bad_field", "unreadable", "unwritable", "too_large", "done"}
    song = place / "song.wav"
    for make in descriptors.kinds(song):
        with contextlib.suppress(OSError):  # not on this kernel
            for at in range(3):
                strange = make()
                fds = [os.open(song, os.O_RDONLY), *outputs()]
                os.dup2(strange, fds[at], inheritable=False)
                os.close(strange)
                assert ended(daemon.socket, fds=fds) in expected
                n_tried += 1
    assert n_tried > 40
    wait_for(lambda: daemon.n_fds() <= n_before + 2)


def test_a_song_that_shrinks_and_grows_while_it_is_read(
    daemon: DaemonProcess, place: Path
) -> None:
    moving = descriptors.Shrinking(place / "song.wav", random.Random(1))
    with Client(daemon.socket, timeout_s=WAIT_S) as client:
        for _ in range(10):
            client.send("separate", fds=[moving.pass_on(), *outputs()])
            for _ in range(50):
                moving.move()
            with contextlib.suppress(EdgestemError):
                client.receive("done")
    assert of_descriptor(daemon.socket, place / "song.wav", os.O_RDONLY) == "done"


def pass_own_end(path: Path, n_times: int) -> int:
    """Hand the daemon the client's own end of each connection, and go."""
    for _ in range(n_times):
        with socket.socket(socket.AF_UNIX) as mine:
            mine.settimeout(WAIT_S)
            mine.connect(str(path))
            socket.send_fds(mine, [b'{"type":"subscribe"}\n'], [mine.fileno()] * 2)
            while b"subscribed" not in mine.recv(4096):
                pass
    return n_times


@needs_root
def test_a_client_cannot_hold_its_connection_by_the_daemon(
    daemon: DaemonProcess,
) -> None:
    with daemon.client() as client:
        wait_for(lambda: client.status()["n_clients"] == 1)
        assert ask(MAL, pass_own_end, daemon.socket, 10) == 10
        wait_for(lambda: client.status()["n_clients"] == 1)


# ---- paths -------------------------------------------------------------------------


def lease(song: Path, copy: Path) -> str:
    """Put a song there and hold a lease: who opens it has to wait for 45 s."""
    copy.write_bytes(song.read_bytes())
    file = copy.open("r+b")
    HELD.append(file)
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    return "held"


@needs_root
def test_a_lease_on_a_song_keeps_nobody_busy(
    daemon: DaemonProcess, place: Path
) -> None:
    song, copy = place / "song.wav", place / "in" / "leased.wav"
    fields = {"input": str(copy), "output_dir": str(place / "out" / "leased")}
    with as_user(MAL, lease, song, copy) as said:
        assert said == "held"
        assert ended(daemon.socket, **fields) == "unreadable"
    fields["input"] = str(place / "in" / "song.wav")
    (place / "in" / "song.wav").write_bytes(song.read_bytes())
    assert ended(daemon.socket, **fields) == "done"


@pytest.mark.parametrize("name", ["vocals.wav", ".vocals.wav.1.part", "vocals.part"])
def test_what_lies_in_an_output_folder_holds_nobody(
    daemon: DaemonProcess, place: Path, name: str
) -> None:
    out = place / "out" / f"with-{name}"
    out.mkdir()
    (place / "in" / "song.wav").write_bytes((place / "song.wav").read_bytes())
    os.mkfifo(out / name)
    fields = {"input": str(place / "in" / "song.wav"), "output_dir": str(out)}
    code = ended(daemon.socket, **fields, replace=True)
    assert code in ("done", "unwritable", "exists")
    if code == "done":
        assert (out / "vocals.wav").is_file()


# ---- storms ------------------------------------------------------------------------


def queued(client: Client) -> int:
    """Wait for the number of a job, whatever is said of those before it."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(EdgestemError):
            return int(client.receive("queued").fields["job"])
    raise TimeoutError("the daemon takes no job")


def test_jobs_cancelled_at_every_moment(daemon: DaemonProcess, place: Path) -> None:
    with Client(daemon.socket, timeout_s=WAIT_S) as client:
        for i in range(40):
            fds = [os.open(place / "song.wav", os.O_RDONLY), *outputs()]
            client.send("separate", fds=fds)
            descriptors.close_all(fds)
            number = queued(client)
            time.sleep(0.002 * i)
            client.send("cancel", job=number)
            for other in range(number - 20, number + 20):
                client.send("cancel", job=other)
            client.send("ping")
            answered = False
            while not answered:
                with contextlib.suppress(EdgestemError):  # no such job, or cancelled
                    client.receive("pong")
                    answered = True
    assert of_descriptor(daemon.socket, place / "song.wav", os.O_RDONLY) == "done"
    with daemon.client() as other_client:
        wait_for(lambda: other_client.status()["n_jobs"] == 0)


def test_a_job_cancelled_while_it_writes_leaves_nothing(
    daemon: DaemonProcess, place: Path
) -> None:
    """Its child's last answer comes when nobody waits for that any more."""
    x = np.random.default_rng(0).standard_normal((600 * RATE, 1)) * 0.1
    soundfile.write(place / "in" / "long.wav", x, RATE, "PCM_16")
    fields = {"input": str(place / "in" / "long.wav")}
    for i in range(6):
        fields["output_dir"] = str(place / "out" / f"cancelled-{i}")
        with Client(daemon.socket, timeout_s=WAIT_S) as client:
            client.send("separate", **fields, replace=True)
            number = queued(client)
            client.receive("progress")
            child = jobs_child(daemon)
            os.kill(child, signal.SIGSTOP)
            client.send("cancel", job=number)
            time.sleep(0.1 + 0.05 * i)
            with contextlib.suppress(ProcessLookupError):  # cancelled already
                os.kill(child, signal.SIGCONT)
            with pytest.raises(EdgestemError) as caught:
                client.receive("done")
            assert caught.value.code == "cancelled"
    with daemon.client() as client:
        wait_for(lambda: client.status()["n_jobs"] == 0)
    wait_for(lambda: not list(place.glob("out/cancelled-*/.*")))
    assert "nonsense" not in daemon.log.read_text()


CONVERSATION = [
    {"type": "open", "sample_rate": RATE, "channels": 1, "mode": "live"},
    {"type": "audio", "payload_length": 8000},
    {"type": "flush"},
    {"type": "close"},
    {"type": "separate", "fds": 3},
    {"type": "status"},
]


@pytest.mark.parametrize("way", [None, socket.SHUT_WR, socket.SHUT_RD])
def test_who_goes_in_any_state_leaves_nothing(
    daemon: DaemonProcess, place: Path, way: int | None
) -> None:
    for stop in range(1, len(CONVERSATION) + 1):
        for wait_s in (0.0, 0.01, 0.1):
            fds = [os.open(place / "song.wav", os.O_RDONLY), *outputs()]
            with daemon.raw() as connection:
                for header in CONVERSATION[:stop]:
                    data = json.dumps(header).encode() + b"\n"
                    data += bytes(int(header.get("payload_length", 0)))  # type: ignore[call-overload]
                    passed = fds if "fds" in header else []
                    socket.send_fds(connection, [data], passed)
                time.sleep(wait_s)
                if way is not None:
                    connection.shutdown(way)
            descriptors.close_all(fds)
    with daemon.client() as client:
        wait_for(lambda: client.status()["n_clients"] == 1)
        wait_for(lambda: client.status()["n_jobs"] == 0)
        assert client.status()["n_streams"] == 0
    assert of_descriptor(daemon.socket, place / "song.wav", os.O_RDONLY) == "done"


def come_and_go(path: Path, n_times: int) -> int:
    for _ in range(n_times):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(WAIT_S)
            connection.connect(str(path))
            connection.recv(1)
    return n_times


@needs_root
def test_nobody_fills_the_log(daemon: DaemonProcess) -> None:
    before = daemon.log.read_text().count("\n")
    assert ask(MAL, come_and_go, daemon.socket, LINES) == LINES
    text = f"uid {MAL}: {LINES} lines about it"
    wait_for(lambda: text in daemon.log.read_text())
    daemon.client().close()
    with daemon.client() as client:
        wait_for(lambda: client.status()["n_clients"] == 1)
    log = daemon.log.read_text()
    assert "uid 0, gid 0 connects" in log[log.index(text) :]
    assert log.count("\n") - before < LINES + 20
