"""Descriptors of every kind that a hostile client can pass."""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import select
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

_IO_URING_SETUP = 425  # the same number on every architecture
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def kinds(song: Path) -> list[Callable[[], int]]:
    """List what makes descriptors; each opens one, or raises OSError."""
    names = ["/", "/dev/zero", "/dev/null", "/dev/full", "/proc/self/maps"]
    names += ["/proc/self/status", "/proc/kmsg", "/etc/passwd", "/proc/self/fd"]
    found: list[Callable[[], int]] = [
        lambda name=name: os.open(name, os.O_RDONLY | os.O_NONBLOCK)  # type: ignore[misc]
        for name in names
    ]
    found += [lambda flags=flags: os.open(song, flags) for flags in (os.O_PATH, 0)]  # type: ignore[misc]
    found += [_pipe_end, _socket, _pair_end, _epoll, _event, _pidfd, _io_uring]
    return [*found, _of_the_dead, _sealed, _unsealed, lambda: _hole(song)]


def one(rng: random.Random, makers: list[Callable[[], int]]) -> int | None:
    """Open one of any kind; None where this kernel or user may not."""
    try:
        return rng.choice(makers)()
    except OSError:
        return None


def close_all(fds: list[int]) -> None:
    """Close them, and forget them."""
    while fds:
        os.close(fds.pop())


def _pipe_end() -> int:
    mine, theirs = os.pipe()
    os.close(theirs)
    return mine


def _socket() -> int:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach()


def _pair_end() -> int:
    mine, theirs = socket.socketpair()
    theirs.close()
    return mine.detach()


def _of_the_dead() -> int:
    """Open what belongs to a process that has ended: nobody can say what it is."""
    process = subprocess.Popen(["sleep", "60"])
    try:
        return os.open(f"/proc/{process.pid}/fd", os.O_RDONLY)
    finally:
        process.kill()
        process.wait()


def _epoll() -> int:
    poll = select.epoll()
    fd = os.dup(poll.fileno())
    poll.close()
    return fd


def _event() -> int:
    return int(ctypes.CDLL(None).eventfd(0, 0))


def _pidfd() -> int:
    return os.pidfd_open(os.getpid())


def _io_uring() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(_IO_URING_SETUP, 4, ctypes.create_string_buffer(512)))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    mine, theirs = socket.socketpair()
    with mine, theirs:
        try:
            socket.send_fds(mine, [b"x"], [fd])
        except OSError:  # newer kernels pass none on
            os.close(fd)
            raise
    return fd


def _sealed() -> int:
    fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def _unsealed() -> int:
    return os.memfd_create("unsealed")


def _hole(song: Path) -> int:
    """Make a song whose samples are a hole of 16 MB."""
    fd = os.memfd_create("hole")
    os.write(fd, song.read_bytes()[:200])
    os.ftruncate(fd, 1 << 24)
    return fd


class Shrinking:
    """A song in memory that shrinks and grows while the daemon reads it."""

    def __init__(self, song: Path, rng: random.Random) -> None:
        self._song, self._rng = song.read_bytes(), rng
        self._fd = os.memfd_create("shrinks")
        self.move()

    def pass_on(self) -> int:
        """Give a descriptor of it."""
        return os.dup(self._fd)

    def move(self) -> None:
        """Change its length, or what it holds."""
        if self._rng.random() < 0.5:
            os.pwrite(self._fd, self._song, 0)
            return
        os.ftruncate(self._fd, self._rng.randrange(len(self._song)))
