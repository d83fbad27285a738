"""libmpg123 talks to stderr by itself; here it is kept from it.

Clean frames give it nothing to say: what is behind them it does not see.  Where the
frames themselves are damaged, stderr leads nowhere while it works, unless another
thread might want to say something meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator


class Window:
    """The first `end` bytes of a file, for libsndfile's callbacks."""

    def __init__(self, fd: int, end: int) -> None:
        self._fd, self._end, self.at = fd, end, 0

    def read(self, n_bytes: int = -1) -> bytes:
        """Read on; all that is left when nothing is said."""
        left = max(self._end - self.at, 0)
        data = os.pread(self._fd, left if n_bytes < 0 else min(n_bytes, left), self.at)
        self.at += len(data)
        return data

    def readinto(self, target: memoryview) -> int:
        """Read on into `target`."""
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        self.at = offset + {os.SEEK_CUR: self.at, os.SEEK_END: self._end}.get(whence, 0)
        return self.at

    def tell(self) -> int:
        """Return the place."""
        return self.at

    def write(self, _: bytes) -> int:
        """Take nothing: it is for reading."""
        return 0


@contextlib.contextmanager
def hushed(is_noisy: bool) -> Iterator[None]:
    """Keep C libraries from stderr while this runs."""
    if not is_noisy or threading.active_count() > 1:
        yield
        return
    kept = os.dup(2)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
