"""A real daemon in a process of its own, for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edgestem import Client

DATA = Path(__file__).parent.parent / "data"
WAIT_S = 20.0  # for anything that takes milliseconds on an idle machine


class DaemonProcess:
    """`edgestem serve` with its socket in a folder."""

    def __init__(self, folder: Path, *flags: str, **settings: object) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        self.log = folder / "log"
        line = [sys.executable, "-m", "edgestem", "serve", *flags]
        if "--model" not in flags:
            line += ["--model", str(DATA / "tiny.tflite")]
        line += ["--socket", str(self.socket)]
        for name, value in settings.items():
            line += ["--set", f"{name}={value}"]
        env = {k: v for k, v in os.environ.items() if not k.startswith("EDGESTEM_")}
        env |= {"XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(WAIT_S)
                probe.connect(str(self.socket))
                if probe.recv(1):
                    return
            time.sleep(0.02)
        raise AssertionError(f"no daemon: {self.log.read_text()}")

    def client(self) -> Client:
        return Client(self.socket, timeout_s=WAIT_S)

    def raw(self) -> socket.socket:
        """Connect and read the greeting."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(WAIT_S)
        connection.connect(str(self.socket))
        greeting = b""
        while not greeting.endswith(b"\n"):
            data = connection.recv(1)
            assert data, "no greeting"
            greeting += data
        assert greeting.startswith(b'{"type":"hello"'), greeting
        return connection

    def rss(self) -> int:
        text = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGESIZE")

    def n_fds(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def n_threads(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextlib.contextmanager
def running(folder: Path, *flags: str, **settings: object) -> Iterator[DaemonProcess]:
    daemon = DaemonProcess(folder, *flags, **settings)
    try:
        daemon.wait_until_ready()
        yield daemon
        assert daemon.process.poll() is None, daemon.log.read_text()
        assert "Traceback" not in daemon.log.read_text(), daemon.log.read_text()
    finally:
        daemon.end()


def read_all(connection: socket.socket) -> bytes:
    """Read to the end; a reset after data is an end as well."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(1 << 16):
            found += data
    return found


def wait_for(condition: Callable[[], object], wait_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    """Find the jobs' children: those of the nursery."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(folder.name))
    return found


def jobs_child(daemon: DaemonProcess) -> int:
    (nursery,) = children_of(daemon.process.pid)
    wait_for(lambda: children_of(nursery))
    return children_of(nursery)[0]
