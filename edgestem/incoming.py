"""Bytes that come through a descriptor: a pipe, a FIFO, a socket.

Whoever made the descriptor may have made it non-blocking, and a read may return a
part: here a read waits, and gives all that was asked for or all there was.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress

AFTER_S = 0.5  # what follows a song comes at once, or is not waited for
MAX_NOTES = 1 << 24  # bytes of what follows a song that are looked through


def read_some(fd: int, n_bytes: int) -> bytes:
    """Read what is there, at most `n_bytes`; wait for it; nothing is the end.

    Raises
    ------
    OSError
        The device or the network behind it fails.
    """
    while True:
        with suppress(BlockingIOError):  # somebody's O_NONBLOCK
            return os.read(fd, n_bytes)
        _wait(fd, None)


def _wait(fd: int, seconds: float | None) -> bool:
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(None if seconds is None else seconds * 1000))


class Incoming:
    """A descriptor that is read in order; what was looked at can be read again.

    Parameters
    ----------
    fd : int
        Stays the caller's.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._ahead = b""

    def some(self, n_bytes: int) -> bytes:
        """Read what is there, 1 to `n_bytes`; nothing at the end."""
        if not self._ahead:
            return read_some(self.fd, n_bytes)
        data, self._ahead = self._ahead[:n_bytes], self._ahead[n_bytes:]
        return data

    def read(self, n_bytes: int) -> bytes:
        """Read exactly `n_bytes`, fewer only at the end."""
        parts, left = [], n_bytes
        while left > 0 and (data := self.some(left)):
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def peek(self, n_bytes: int) -> bytes:
        """Look at the next `n_bytes`, fewer only at the end."""
        self._ahead = self.read(n_bytes)
        return self._ahead

    def has_more(self) -> bool:
        """Say whether something follows at once; a silent sender is not waited for."""
        return bool(self._ahead) or (_wait(self.fd, AFTER_S) and bool(self.peek(1)))
