"""MIDI out by a raw device: what a song sends when it is selected."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path


class MidiOut:
    """One raw device; nobody waits for it, and it may come and go.

    Parameters
    ----------
    path : Path
        As /dev/snd/midiC1D0, or a FIFO.
    say : callable
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._fd = -1
        self._is_told = False

    def start(self) -> None:
        """Nothing begins before the first message."""

    def close(self) -> None:
        """Let the device go."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def send(self, messages: Sequence[bytes]) -> None:
        """Send messages; a device that has gone is opened anew, once."""
        data = b"".join(messages)
        reason = self._write(data) and self._write(data)
        if reason and not self._is_told:
            self._say(f"MIDI {self._path}: {reason}; the song's messages are lost")
        self._is_told = bool(reason)

    def _write(self, data: bytes) -> str:
        """Write at once; return why not, or nothing."""
        try:
            if self._fd < 0:
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
                self._fd = os.open(self._path, flags)
            os.write(self._fd, data)
        except OSError as error:
            with contextlib.suppress(OSError):
                self.close()
            return error.strerror or str(error)
        return ""
