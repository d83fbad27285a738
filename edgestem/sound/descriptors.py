"""Descriptors that edgestem did not open itself: a pipe, a redirected stdout.

Whatever they are, what is written arrives whole or an OSError says why not: a write
may take a part, and a descriptor that somebody made non-blocking may take nothing.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

from edgestem.sound.refusals import unwritable


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of it, however little the descriptor takes at a time.

    Raises
    ------
    OSError
        A full disk, a limit of size, a reader that has gone.
    """
    left = memoryview(data)
    while left:
        left = left[_write_some(fd, left) :]


def _write_some(fd: int, data: memoryview) -> int:
    try:
        return os.write(fd, data)
    except BlockingIOError:  # somebody's O_NONBLOCK: wait for room
        _wait(fd, select.POLLOUT)
        return 0


def _wait(fd: int, event: int) -> None:
    waiting = select.poll()
    waiting.register(fd, event)
    waiting.poll()


def read_exactly(fd: int, n_bytes: int) -> bytes:
    """Read so many bytes, fewer only at the end, waiting as long as it takes."""
    parts: list[bytes] = []
    while n_bytes > 0 and (part := read_some(fd, min(n_bytes, 1 << 20))):
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)


def read_some(fd: int, n_bytes: int) -> bytes:
    """Read what is there, at least a byte before the end."""
    try:
        return os.read(fd, n_bytes)
    except BlockingIOError:
        _wait(fd, select.POLLIN)
        return read_some(fd, n_bytes)


@contextmanager
def writing_stdout() -> Iterator[None]:
    """Say it in a sentence when stdout cannot be written.

    Raises
    ------
    AudioError
        `unwritable`.
    BrokenPipeError
        The reader has had enough: that is no error.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as cause:
        raise unwritable(cause) from cause
