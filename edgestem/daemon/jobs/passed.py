"""Descriptors that a client passes: what they may be, and whose rights count.

A descriptor carries the client's rights, and no more is done with its file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import BinaryIO

from edgestem.errors import EdgestemError, ProtocolError

# O_NONBLOCK: a FIFO put in a song's place must not hold the daemon.
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def passed_input(fd: int, max_bytes: int) -> BinaryIO:
    """Take a passed input.

    Raises
    ------
    ProtocolError
        `bad_field`: not a regular file that can be read.
    EdgestemError
        `too_large`.
    """
    file = with_own_offset(as_file(fd, "rb"))
    try:
        os.pread(file.fileno(), 1, 0)
        check_size(file.fileno(), "the input", max_bytes)
    except OSError as cause:
        let_go(file)
        raise unfit("the input descriptor cannot be read") from cause
    except BaseException:
        let_go(file)
        raise
    return file


def with_own_offset(file: BinaryIO) -> BinaryIO:
    """Open a passed input once more: who passed it may move its offset.

    Where that is not permitted the descriptor itself is read.
    """
    try:
        fd = os.open(f"/proc/self/fd/{file.fileno()}", READ)
    except OSError:
        return file
    let_go(file)
    return os.fdopen(fd, "rb")


def let_go(file: BinaryIO) -> None:
    """Close a client's file; what its file system says to that is the client's."""
    with contextlib.suppress(OSError):
        file.close()


def as_file(fd: int, mode: str) -> BinaryIO:
    """Wrap a regular file's descriptor; it is closed with the file.

    It has to permit by itself what is done with the file: by its name in /proc the
    daemon would open it with the daemon's rights.
    """
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise unfit("a passed descriptor is not a regular file")
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        access = flags & os.O_ACCMODE
        if flags & os.O_PATH or ("r" in mode and access == os.O_WRONLY):
            raise unfit("the input descriptor is not open for reading")
        if "w" in mode and (flags & os.O_APPEND or access == os.O_RDONLY):
            raise unfit("an output descriptor is read-only or only appends")
        return os.fdopen(fd, mode)  # type: ignore[return-value]
    except OSError as cause:
        os.close(fd)
        raise unfit("a passed descriptor cannot be used") from cause
    except BaseException:
        os.close(fd)
        raise


def unfit(text: str) -> ProtocolError:
    return ProtocolError(text, code="bad_field")


def check_size(fd: int, name: str, max_bytes: int) -> None:
    if os.fstat(fd).st_size > max_bytes:
        raise EdgestemError(
            f"{name} is larger than {max_bytes >> 20} MiB (max_file_mb)",
            code="too_large",
        )
