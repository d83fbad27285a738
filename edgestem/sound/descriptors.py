"""Descriptors that edgestem did not open itself: a pipe, a redirected stdout.

Whatever they are, what is written arrives whole or an OSError says why not: a write
may take a part, and a descriptor that somebody made non-blocking may take nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from edgestem.errors import AudioError
from edgestem.sound.wav import WavFormat, header

SURE = 1 << 31  # bytes: a WAV that may get longer keeps room for RF64

_WAYS_OUT = {
    errno.EACCES: "ask its owner, or choose another place",
    errno.EPERM: "ask its owner, or choose another place",
    errno.EROFS: "nothing can be written there; choose another folder",
    errno.ENAMETOOLONG: "use a shorter name for the song or the folder",
    errno.ENOSPC: "make room there, or choose a folder on another disk",
    errno.EDQUOT: "make room there, or choose a folder on another disk",
    errno.EFBIG: "raise the limit (ulimit -f), or choose another disk",
    errno.ELOOP: "the links lead in a circle; name the file itself",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "the machine has too many open files; end another program",
    errno.ENOMEM: "end other programs, or use fewer threads",
    errno.EAGAIN: "the machine is at its limit of processes; end another program",
    errno.EIO: "the disk or the card seems to fail; copy the file elsewhere",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.ESTALE: "the network drive has gone; mount it again",
    errno.ENODEV: "the device has gone; plug it in again",
    errno.ENOENT: "check the name",
}


def way_out(cause: OSError, otherwise: str = "") -> str:
    """Say what to do about an error of the system; `otherwise` where nobody knows."""
    return _WAYS_OUT.get(cause.errno or 0, otherwise)


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


class WavOutput:
    """WAV into a descriptor: the header of a stream, put right at the end of a file.

    Nothing is written before the first samples or the end, so that what fails
    earlier leaves nothing.

    Parameters
    ----------
    fd : int
        Stays the caller's.
    wav : WavFormat
        `n_samples` is the expected length, None when nobody knows.
    """

    def __init__(self, fd: int, wav: WavFormat) -> None:
        self._fd, self._wav = fd, replace(wav, n_samples=None)
        self._start = _place(fd)
        expected = wav.n_samples
        is_sure = expected is not None and expected * wav.bytes_per_sample <= SURE
        self._with_room = self._start is not None and not is_sure
        self._n_bytes = 0
        self._has_begun = False

    def write(self, data: bytes | memoryview) -> None:
        """Append whole samples."""
        self.begin()
        write_all(self._fd, data)
        self._n_bytes += len(data)

    def finish(self) -> None:
        """Complete the output; in a file the header gets the sizes."""
        self.begin()
        if self._start is None:
            return
        if self._n_bytes % 2:
            write_all(self._fd, b"\0")
        n_samples = self._n_bytes // self._wav.bytes_per_sample
        head = self._header(replace(self._wav, n_samples=n_samples))
        n_done = 0
        while n_done < len(head):
            n_done += os.pwrite(self._fd, head[n_done:], self._start + n_done)

    def begin(self) -> None:
        """Write the header now, for a reader that waits for it."""
        if not self._has_begun:
            self._has_begun = True
            write_all(self._fd, self._header(self._wav))

    def _header(self, wav: WavFormat) -> bytes:
        return header(wav, with_room=self._with_room)


def _place(fd: int) -> int | None:
    """Find where a file stands; None when it can only be appended to."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return None
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND:
        return None
    return os.lseek(fd, 0, os.SEEK_CUR)


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


def unwritable(cause: OSError) -> AudioError:
    """Make the error of a stdout that cannot be written."""
    if cause.errno == errno.EBADF:
        text = "standard output is closed: send it to a file or a program"
    else:
        text = f"standard output cannot be written: {cause.strerror or cause}"
    return AudioError(text, code="unwritable", path="-")
