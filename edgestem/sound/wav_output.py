"""WAV into a descriptor: a pipe, or a file whose length shows at the end."""

from __future__ import annotations

import fcntl
import os
import stat
from dataclasses import replace

from edgestem.sound.descriptors import write_all
from edgestem.sound.wav import WavFormat, header

SURE = 1 << 31  # bytes: a WAV that may get longer keeps room for RF64


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
