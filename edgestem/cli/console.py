"""What the command line says: results on stdout, all else on stderr.

Both belong to somebody else.  A result that cannot be written is an error; a
sentence that cannot be written is dropped, and the work goes on.  Nothing stays in
Python's buffers, which the interpreter would try to write once more at its end.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import sys
from typing import TextIO

from edgestem.sound.descriptors import write_all
from edgestem.sound.refusals import unwritable


def prepare() -> None:
    """Put something in the place of streams that the parent closed.

    Otherwise the next open file, a stem perhaps, would be "stderr".  What stands for
    stdout cannot be written: a result must not vanish without a word.
    """
    for fd, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        if not _is_open(fd):
            os.open(os.devnull, mode)  # the lowest free number: fd
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            file = open(fd, "w" if fd else "r", closefd=False)  # noqa: SIM115
            setattr(sys, name, file)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def put(result: str | bytes) -> None:
    """Write a line of results, or bytes as they are.

    Raises
    ------
    BrokenPipeError
        The reader has gone.
    EdgestemError
        `unwritable`: a full disk, a closed stream.
    """
    try:
        _write(sys.stdout, result if isinstance(result, bytes) else result + "\n")
    except BrokenPipeError:
        raise
    except OSError as cause:
        raise unwritable(cause) from cause


def check_stdout() -> None:
    """Refuse a closed stdout before the work begins."""
    if fcntl.fcntl(1, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise unwritable(OSError(errno.EBADF, ""))


def complain(kind: str, text: str, code: str = "") -> None:
    """Write an error or a warning: one line, over a progress bar."""
    tail = f" [{code}]" if code else ""
    say(f"edgestem: {kind}: {one_line(text)}{tail}")


def say(text: str) -> None:
    """Write a sentence for a person, over a progress bar or a display's line."""
    start = "\r\033[K" if sys.stderr.isatty() else ""
    tell(f"{start}{one_line(text)}\n")


def tell(text: str) -> None:
    """Write to stderr as it is; that it cannot be written is nobody's business."""
    with contextlib.suppress(OSError, ValueError):
        _write(sys.stderr, text)


def one_line(text: str) -> str:
    """Escape what would break a line or a terminal: file names hold anything."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _write(stream: TextIO, result: str | bytes) -> None:
    try:
        fd = stream.fileno()
    except (OSError, ValueError):  # a program's own object stands there
        (stream.buffer if isinstance(result, bytes) else stream).write(result)  # type: ignore[arg-type] # of its kind
        stream.flush()
        return
    stream.flush()
    if isinstance(result, str):
        result = result.encode(stream.encoding or "utf-8", "backslashreplace")
    write_all(fd, result)


def finish(status: int) -> int:
    """Empty the streams at the end of the program; return the exit status."""
    cause = _empty(sys.stdout)
    if cause is not None and status == 0:
        error = unwritable(cause)
        complain("error", str(error), error.code)
        status = 1
    _empty(sys.stderr)
    return status


def _empty(stream: TextIO) -> OSError | None:
    """Write what waits in a buffer; what cannot be written goes nowhere."""
    try:
        stream.flush()
    except OSError as cause:
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
            stream.flush()
        return cause
    except ValueError:  # closed by the program that called us
        pass
    return None


def stdout_reader_is_gone() -> bool:
    """Tell whether a broken pipe is that of stdout."""
    waiting = select.poll()
    try:
        waiting.register(sys.stdout.fileno(), select.POLLOUT)
    except (OSError, ValueError):
        return False
    return any(event & select.POLLERR for _, event in waiting.poll(0))
