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
