"""A hostile user: a crowd of clients that fuzz, flood, hesitate and leave.

What they send is counted when the kernel has taken its last byte for the daemon.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import random
import socket
import struct
import time
from collections import deque
from pathlib import Path
from typing import Any

from tools.siege.descriptors import Shrinking, close_all, kinds, one

KINDS: tuple[str, ...] = (
    "hello",
    "ping",
    "status",
    "models",
    "open",
    "audio",
    "set",
    "flush",
    "close",
)
KINDS += ("separate", "cancel", "subscribe", "nonsense", "")
FIELDS: tuple[str, ...] = (
    "seq",
    "fds",
    "sample_rate",
    "channels",
    "mode",
    "stems",
    "input",
    "format",
)
FIELDS += ("output_dir", "job", "payload_length", "events", "vocals_db", "type")
FIELDS += ("model", "subtype", "bitrate", "tags", "replace", "ramp_ms", "protocol")
VALUES: tuple[Any, ...] = (None, True, -1, 0, 1, 8, 44_100, 384_000, 1 << 64, 1e308, "")
VALUES += ("live", "file", "s16le", "\U0001f600" * 300, [], ["vocals"], [[[]]], {})
VALUES += ("/etc/passwd", "/proc/self/mem", "karaoke", "mp3", "x" * 3900, ["karaoke"])
GOOD: dict[str, dict[str, Any]] = {"cancel": {"job": 1}, "open": {"channels": 2}}
FLOOD = 400  # messages at once
LIFE = 20_000  # messages of a client, at most
RECEIVE = 1 << 18


class Counts:
    """Numbers that several processes add to; one writes each row."""

    NAMES = ("messages", "answers", "connections", "refused", "clients")

    def __init__(self, n_rows: int) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._n_rows, self._row = n_rows, 0
        self._layout = struct.Struct(f"{len(self.NAMES)}q")

    def of(self, row: int) -> Counts:
        """Write this row from now on."""
        self._row = row
        return self

    def add(self, **numbers: int) -> None:
        """Add to this process's row."""
        at = self._row * self._layout.size
        row = dict(zip(self.NAMES, self._layout.unpack_from(self._memory, at)))  # noqa: B905
        for name, number in numbers.items():
            row[name] += number
        self._layout.pack_into(self._memory, at, *row.values())

    def total(self) -> dict[str, int]:
        """Add the rows up."""
        size = self._layout.size
        rows = [
            self._layout.unpack_from(self._memory, i * size)
            for i in range(self._n_rows)
        ]
        return dict(zip(self.NAMES, map(sum, zip(*rows, strict=True)), strict=True))


class Speaker:
    """What a hostile user says."""

    def __init__(self, song: Path, rng: random.Random) -> None:
        self._song, self._rng = song, rng
        self._makers = kinds(song)
        self._shrinking = Shrinking(song, rng)

    def words(self) -> tuple[bytes, int, list[int]]:
        """Give bytes, how many messages they are, and descriptors to go with them."""
        rng = self._rng
        self._shrinking.move()
        if rng.random() < 0.25:
            return self._flood()
        data, fds = self._message()
        if rng.random() < 0.1:
            data = self._mutated(data)
        if rng.random() < 0.03:  # half a message, and no more of it for a while
            return data[: len(data) // 2], 0, fds
        return data, 1, fds

    def _flood(self) -> tuple[bytes, int, list[int]]:
        kind = self._rng.choice(KINDS)
        header = {"type": kind, **GOOD.get(kind, {})}
        count = self._rng.randrange(FLOOD)
        return (json.dumps(header).encode() + b"\n") * count, count, []

    def _message(self) -> tuple[bytes, list[int]]:
        rng = self._rng
        kind = rng.choice(KINDS)
        header: dict[str, Any] = {"type": kind, "sample_rate": 44_100}
        header |= GOOD.get(kind, {}) | {"mode": rng.choice(["live", "file"])}
        payload, fds = b"", []
        if kind == "audio":
            payload = rng.randbytes(rng.choice([0, 8, 800, 8000, 80_000]))
            header["payload_length"] = len(payload)
        if kind == "separate" or rng.random() < 0.05:
            fds = self._descriptors()
            header["fds"] = len(fds)
        for _ in range(rng.choice([0, 0, 0, 1, 3])):
            header[rng.choice(FIELDS)] = rng.choice(VALUES)
        text = json.dumps(header, ensure_ascii=rng.random() < 0.5)
        return text.encode() + b"\n" + payload, fds

    def _descriptors(self) -> list[int]:
        rng = self._rng
        if rng.random() < 0.5:  # a job that may well be done
            return [self._input(), os.memfd_create("v"), os.memfd_create("i")]
        n_fds = rng.choice([1, 2, 3, 3, 3, 8, 9, 100, 253])
        found = (one(rng, self._makers) for _ in range(n_fds))
        return [fd for fd in found if fd is not None]

    def _input(self) -> int:
        if self._rng.random() < 0.5:
            return self._shrinking.pass_on()
        return os.open(self._song, os.O_RDONLY)

    def _mutated(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self._rng.choice([1, 1, 3, 20])):
            changed[self._rng.randrange(min(len(data), 400))] = self._rng.randrange(256)
        return bytes(changed)


class OneOfMany:
    """One hostile client."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        self._rng = rng
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(False)
        self.socket.connect(str(path))
        self._left: deque[tuple[bytes, int, list[int]]] = deque()
        self.n_more = rng.randrange(1, LIFE)
        self._reads = rng.random() < 0.75  # the others never do
        self._slow = rng.random() < 0.1  # a few bytes at a time

    def speak(self, speaker: Speaker) -> int:
        """Send what the kernel takes; return how many messages went in whole."""
        if not self._left:
            self._left.append(speaker.words())
        data, count, fds = self._left.popleft()
        size = 7 if self._slow and len(data) > 7 else len(data)
        try:
            n_sent = socket.send_fds(self.socket, [data[:size]], fds)
        except BlockingIOError:
            self._left.appendleft((data, count, fds))
            return 0
        except BaseException:
            close_all(fds)
            raise
        close_all(fds)
        if n_sent < len(data):
            self._left.appendleft((data[n_sent:], count, []))
            return 0
        self.n_more -= max(count, 1)
        return count

    def listen(self) -> tuple[int, int]:
        """Read what is there; return how many answers, and refusals to serve us."""
        if not self._reads and self._rng.random() < 0.98:
            return 0, 0
        data = self.socket.recv(64 if self._slow else RECEIVE)
        if not data:
            raise ConnectionResetError
        is_refused = b"too_many_clients" in data
        return data.count(b'{"type":"'), int(is_refused)

    def leave(self) -> None:
        """Go, in one of several ways."""
        while self._left:
            close_all(self._left.pop()[2])
        with contextlib.suppress(OSError):
            way = self._rng.choice([None, socket.SHUT_WR, socket.SHUT_RD])
            if way is not None:
                self.socket.shutdown(way)
        self.socket.close()


def harass(
    path: Path, song: Path, n_clients: int, seed: int, pause_s: float, counts: Counts
) -> None:
    """Be a crowd for as long as the parent lives."""
    rng, parent = random.Random(seed), os.getppid()
    speaker = Speaker(song, rng)
    crowd: list[OneOfMany] = []
    counts.of(seed)
    while os.getppid() == parent:
        with contextlib.suppress(OSError):
            while len(crowd) < n_clients:
                crowd.append(OneOfMany(path, rng))
                counts.add(connections=1, clients=1)
        for client in rng.sample(crowd, min(12, len(crowd))):
            if not _turn(client, speaker, counts):
                crowd.remove(client)
                client.leave()
                counts.add(clients=-1)
        time.sleep(pause_s)


def _turn(client: OneOfMany, speaker: Speaker, counts: Counts) -> bool:
    """Let one client speak and listen; False: it has gone."""
    try:
        counts.add(messages=client.speak(speaker))
        n_answers, n_refused = client.listen()
        counts.add(answers=n_answers, refused=n_refused)
    except BlockingIOError:
        pass
    except (OSError, ValueError):  # hung up, or more descriptors than the kernel takes
        return False
    return client.n_more > 0


def start(uid: int, *args: Any) -> int:
    """Start `harass` as a user; return the process to end."""
    pid = os.fork()
    if pid:
        return pid
    try:
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
        os.nice(10)
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        harass(*args)
    finally:
        os._exit(0)
