"""Descriptors that somebody else opened: every byte is written, or it is said.

A pipe may take a part, and one that a parent made non-blocking may take nothing.
"""

from __future__ import annotations

import os
import select


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of it, waiting as long as it takes.

    Raises
    ------
    OSError
        What the kernel says: a full disk, a reader that has gone.
    """
    view = memoryview(data)
    while view:
        view = view[_write_some(fd, view) :]


def _write_some(fd: int, view: memoryview) -> int:
    try:
        return os.write(fd, view)
    except BlockingIOError:
        waiting = select.poll()
        waiting.register(fd, select.POLLOUT)
        waiting.poll()
        return 0


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
        waiting = select.poll()
        waiting.register(fd, select.POLLIN)
        waiting.poll()
        return read_some(fd, n_bytes)
