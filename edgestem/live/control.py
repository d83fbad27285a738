"""Commands while it plays: lines of text on stdin and on a FIFO.

vocals -12          a fader, in decibels; -inf is silence
instrumental 0
status              one JSON object
quit
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from edgestem.errors import EdgestemError
from edgestem.pcm.decibels import parse_db
from edgestem.pcm.faders import Levels

MAX_LINE = 4096  # bytes; a longer line is no command


def obey(levels: Levels, n_ramp: int, line: str) -> str | None:
    """Move a fader; return what to answer, or None when it is no fader's line."""
    name, _, value = line.partition(" ")
    if name not in ("vocals", "instrumental"):
        return None
    try:
        level = parse_db(value.strip())
    except ValueError as error:
        return f"{name}: {error}"
    levels.set(
        level if name == "vocals" else None,
        level if name == "instrumental" else None,
        n_ramp,
    )
    return f"{name} {level:g} dB"


def _check_fifo(status: os.stat_result) -> None:
    """Refuse a FIFO into which strangers put commands."""
    if not stat.S_ISFIFO(status.st_mode):
        raise OSError(0, "it is no FIFO")
    if status.st_uid not in (0, os.geteuid()):
        raise OSError(0, "it is another user's")
    if status.st_mode & stat.S_IWOTH:
        raise OSError(0, "everybody may write to it")


class Control:
    """Reads lines in a thread of its own.

    Parameters
    ----------
    handle : callable
        Gets each line; its answer, if it has one, goes to `say`.
    say : callable
    stdin : int, optional
        A descriptor to read until it ends; not closed.
    fifo : Path, optional
        Made when it is not there, and removed then; one that is there has to be
        ours, or root's, and not everybody's to write to.

    Raises
    ------
    EdgestemError
        `unwritable`: the FIFO cannot be made, or something else has its name.
    """

    def __init__(
        self,
        handle: Callable[[str], str],
        say: Callable[[str], None],
        *,
        stdin: int | None = None,
        fifo: Path | None = None,
    ) -> None:
        self._handle, self._say = handle, say
        self._parts: dict[int, bytes] = {} if stdin is None else {stdin: b""}
        self._fifo, self._fd = fifo, -1
        self._is_ours = False
        if fifo is not None:
            self._open(fifo)
        self._wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _open(self, path: Path) -> None:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path, 0o660)
                self._is_ours = True
            # For both directions: then it never ends when a writer goes.
            self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            _check_fifo(os.fstat(self._fd))
        except OSError as error:
            raise EdgestemError(
                f"no commands from {path} ({error.strerror}); give --control a name "
                "that is free, in a folder that you may write to",
                code="unwritable",
            ) from error
        self._parts[self._fd] = b""

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """End, and remove the FIFO that was made."""
        os.write(self._stop, b"x")
        self._thread.join()
        for fd in (self._fd, self._wake, self._stop):
            if fd >= 0:
                os.close(fd)
        if self._fifo is not None and self._is_ours:
            with contextlib.suppress(OSError):
                self._fifo.unlink()

    def _run(self) -> None:
        """Never end without a word: nobody would know why the faders are dead."""
        try:
            self._listen()
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            self._say(f"no commands any more ({what}): start again, and report this")

    def _listen(self) -> None:
        while True:
            ready, _, _ = select.select([self._wake, *self._parts], [], [])
            if self._wake in ready:
                return
            for fd in ready:
                self._read(fd)

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, MAX_LINE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # nobody commands any more; the music goes on
            del self._parts[fd]
            return
        *lines, rest = (self._parts[fd] + data).split(b"\n")
        self._parts[fd] = rest[-MAX_LINE:]
        for line in lines:
            if text := line.decode(errors="replace").strip():
                self._say(self._handle(text))
