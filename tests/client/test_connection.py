"""The client, when its daemon is not what it should be."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from daemons import WAIT_S, DaemonProcess, running
from jobs import RATE, make_song, new_files

from edgestem import Client, EdgestemError
from edgestem.client import link as client_link
from edgestem.wire.protocol import encode

HELLO = encode("hello", protocol=1, server="edgestem 0", models=["tiny"], device="cpu")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with running(tmp_path) as found:
        yield found


@contextlib.contextmanager
def peer(folder: Path, talk: Callable[[socket.socket], None]) -> Iterator[Path]:
    """Listen, and let `talk` have each connection."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "peer"))
        server.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        talk(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield folder / "peer"
        server.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def stopped(daemon: DaemonProcess) -> Iterator[None]:
    pid = daemon.process.pid
    os.kill(pid, signal.SIGSTOP)
    # It takes the kernel a moment: a thread may still answer until then.
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    try:
        yield
    finally:
        daemon.process.send_signal(signal.SIGCONT)


def refused(call: Callable[[], object]) -> EdgestemError:
    with pytest.raises(EdgestemError) as caught:
        call()
    return caught.value


def command(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "edgestem", *map(str, words)]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=WAIT_S, check=False
    )


@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_a_daemon_that_hangs_up_is_a_sentence(tmp_path: Path, pause: float) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(HELLO)
        time.sleep(pause)

    song = make_song(tmp_path / "song.wav")
    with peer(tmp_path, talk) as place:
        for words in (
            ("client", "status"),
            ("separate", song, "-o", tmp_path / "out"),
        ):
            done = command(*words, "--socket", place)
            assert done.returncode == 1
            assert "hung up" in done.stderr and "edgestem serve" in done.stderr
            assert "hung_up" in done.stderr
        with Client(place) as client:
            time.sleep(pause + 0.1)
            assert refused(client.status).code == "hung_up"
            assert refused(lambda: client.send("ping")).code == "hung_up"
        assert refused(client.status).code == "hung_up"  # closed here


def test_the_last_words_of_a_daemon_are_heard(tmp_path: Path) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(HELLO + encode("error", code="idle", text="nothing moved"))

    with peer(tmp_path, talk) as place, Client(place) as client:
        time.sleep(0.1)
        assert refused(lambda: client.send("ping")).code == "idle"


def test_a_stopped_daemon_is_given_up(
    daemon: DaemonProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_link, "CONNECT_S", 0.5)
    block = np.zeros((16384, 2), np.float32)
    with Client(daemon.socket, timeout_s=0.6) as client:
        stream = client.open(RATE)
        with stopped(daemon):
            started = time.monotonic()
            found = refused(client.status)
            assert found.code == "timeout" and "no sign of life for 0.6" in str(found)
            assert refused(lambda: Client(daemon.socket)).code == "timeout"
            assert refused(lambda: stream.push(block)).code == "timeout"
            assert refused(lambda: fill(client)).code == "timeout"
            assert time.monotonic() - started < WAIT_S


def fill(client: Client) -> None:
    for _ in range(1000):
        client.send("audio", bytes(1 << 17))


def test_a_full_queue_of_connections_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_link, "CONNECT_S", 0.4)
    with contextlib.ExitStack() as held, socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "full"))
        server.listen(0)
        for _ in range(2):
            one = held.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(str(tmp_path / "full"))
        found = refused(lambda: Client(tmp_path / "full"))
        assert found.code == "no_daemon" and "edgestem serve" in str(found)


def test_waiting_is_no_silence(daemon: DaemonProcess) -> None:
    """What is waited for comes after the patience: the daemon answers pings."""
    with Client(daemon.socket, timeout_s=0.5) as client:
        client.request("subscribe", "subscribed")
        late = threading.Timer(2.0, lambda: daemon.raw().close())
        late.start()
        assert client.receive("event").fields["event"] == "session"
        late.join()


def test_a_daemon_killed_in_a_job_is_a_sentence(tmp_path: Path) -> None:
    song = make_song(tmp_path / "long.wav", 300)
    daemon = DaemonProcess(tmp_path)
    daemon.wait_until_ready()
    try:
        with daemon.client() as client:
            fds = new_files(tmp_path)
            kill = threading.Timer(0.3, daemon.process.kill)
            kill.start()
            found = refused(lambda: client.separate_file(song, fds))
            assert found.code == "hung_up" and "edgestem serve" in str(found)
            for fd in fds:
                os.close(fd)
    finally:
        daemon.end(signal.SIGKILL)


@pytest.mark.parametrize(
    ("hello", "code"),
    [(encode("hello"), "bad_version"), (encode("error"), "error")],
)
def test_a_strange_greeting_is_a_sentence(
    tmp_path: Path, hello: bytes, code: str
) -> None:
    with peer(tmp_path, lambda connection: connection.sendall(hello)) as place:
        found = refused(lambda: Client(place))
        assert found.code == code and "None" not in str(found)


def test_wrong_patience_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        Client("nowhere", timeout_s=0)
