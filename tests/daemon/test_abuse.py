"""Hostile clients against a real daemon, while another's audio must stay the same.

Short forms; `python -m tools.siege.fuzz` does the same for long.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from daemons import DATA, DaemonProcess, running, wait_for

import edgestem
from edgestem.client.connection import ClientStream
from edgestem.wire.protocol import encode

RATE = 44100
CONVERSATION = b"".join(
    [
        encode("hello", client="x"),
        encode("open", seq=1, sample_rate=RATE, stems=["vocals"], mode="live"),
        encode("audio", b"\n{}\n" * 80, seq=2),
        encode("set", seq=3, vocals_db=-6),
        encode("separate", seq=4, input="/etc/passwd", output_dir="/tmp"),
        encode("flush", seq=5),
        encode("close", seq=6),
        encode("status", seq=7),
    ]
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    folder = tmp_path_factory.mktemp("daemon")
    with running(folder, message_s=2, max_clients=24, log_level="error") as found:
        yield found


@pytest.fixture(autouse=True)
def undisturbed(daemon: DaemonProcess) -> Iterator[None]:
    """Separate on another connection meanwhile: every bit as without company."""
    rng = np.random.default_rng(9)
    x = (rng.standard_normal((30_000, 2)) * 0.1).astype(np.float32)
    expected = edgestem.separate(x, RATE, model=DATA / "tiny.tflite")
    is_over, right = threading.Event(), []

    def separate(stream: ClientStream) -> None:
        while not is_over.is_set() or not right:
            pairs = zip(stream.push(x), stream.flush(), expected, strict=True)
            right.append(
                all(
                    np.array_equal(np.concatenate(pair[:2])[-len(x) :], pair[2])
                    for pair in pairs
                )
            )

    with daemon.client() as client:
        wait_for(lambda: client.status()["n_streams"] < 4)
        thread = threading.Thread(target=separate, args=[client.open(RATE, 2)])
        thread.start()
        yield
        is_over.set()
        thread.join(30)
    assert not thread.is_alive() and right and all(right)
    with daemon.client() as client:
        client.status()


def throw(daemon: DaemonProcess, data: bytes, *, half_close: bool = True) -> None:
    """Send bytes and go; the daemon may hang up at any time."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(daemon.socket))
        connection.settimeout(1)
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass


def test_prefixes_and_mutations_of_a_conversation(daemon: DaemonProcess) -> None:
    rng = random.Random(1)
    for _ in range(60):
        end = rng.randrange(len(CONVERSATION))
        throw(daemon, CONVERSATION[:end], half_close=rng.random() < 0.7)
        data = bytearray(CONVERSATION)
        data[rng.randrange(len(data))] = rng.randrange(256)
        throw(daemon, bytes(data), half_close=rng.random() < 0.7)


def test_garbage_and_extremes(daemon: DaemonProcess) -> None:
    rng = random.Random(2)
    for data in (
        b"",
        b"\n" * 10_000,
        b"{" * 100_000,
        b'{"type":"ping","x":' + b"[" * 4000 + b"\n",
        b'{"type":"audio","payload_length":99999999999999999999}\n',
        b'{"type":"audio","payload_length":1048576}\n',
        encode("open", sample_rate=RATE) + encode("audio", bytes(1 << 20)) * 8,
        encode("open", sample_rate=RATE) + encode("flush") * 300,
        encode("open", sample_rate=RATE) + encode("audio") * 5000,
        encode("open", sample_rate=384_000, channels=1) * 3,
        *(rng.randbytes(rng.randrange(9000)) for _ in range(20)),
    ):
        throw(daemon, data)
        throw(daemon, data, half_close=False)


def test_many_small_messages_from_one_who_does_not_read(daemon: DaemonProcess) -> None:
    throw(daemon, encode("ping") * 20_000)
    throw(daemon, encode("ping") * 20_000, half_close=False)
    throw(daemon, encode("status") * 2_000, half_close=False)


def test_more_clients_than_there_is_room(daemon: DaemonProcess) -> None:
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(150)]
    try:
        for connection in crowd:
            connection.connect(str(daemon.socket))
            connection.settimeout(20)
        refused = sum(b"too_many" in connection.recv(4096) for connection in crowd)
        assert refused >= 150 - 24
    finally:
        for connection in crowd:
            connection.close()
    wait_for(lambda: daemon.n_threads() < 40)


def test_slow_writers_hold_nobody_up(daemon: DaemonProcess) -> None:
    slow = [daemon.raw() for _ in range(10)]
    for connection in slow:
        connection.sendall(b'{"type":"open","sample')
    wait_for(lambda: all(is_hung_up(connection) for connection in slow))
    for connection in slow:
        connection.close()


def is_hung_up(connection: socket.socket) -> bool:
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        try:
            while connection.recv(4096):
                pass
        except ConnectionError:
            pass
        return True
    return False


def test_running_out_of_descriptors_is_survived(tmp_path: Path) -> None:
    import resource

    with running(tmp_path, log_level="error") as daemon:
        limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        few = daemon.n_fds() + 3
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (few, limits[1]))
        crowd = [socket.socket(socket.AF_UNIX) for _ in range(12)]
        for connection in crowd:
            connection.connect(str(daemon.socket))
            with contextlib.suppress(OSError):
                socket.send_fds(connection, [encode("ping", fds=4)], [0, 1, 2, 0])
        with contextlib.suppress(edgestem.EdgestemError), daemon.client() as client:
            client.separate(np.zeros((1000, 2), np.float32), RATE)
        for connection in crowd:
            connection.close()
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limits)
        with daemon.client() as client:
            client.separate(np.zeros((1000, 2), np.float32), RATE)


def test_memory_returns(daemon: DaemonProcess) -> None:
    def abuse() -> None:
        block = encode("audio", bytes(1 << 20))
        data = encode("open", sample_rate=RATE) + block * 6
        threads = [
            threading.Thread(target=throw, args=(daemon, data)) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    abuse()
    first = daemon.rss()
    for _ in range(4):
        abuse()
    wait_for(lambda: daemon.rss() < first + (24 << 20))
