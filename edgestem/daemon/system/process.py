"""What belongs to the daemon's process: logging, limits, memory, signals."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgestem.daemon.system.config import DaemonConfig

log = logging.getLogger(__name__)
SWITCH_S = 0.0005  # a thread keeps the interpreter for so long at most; Python: 5 ms
MAX_OPEN_FILES = 8192
# Of mallopt(3): a daemon of many short threads keeps memory in many arenas.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8


class OneLine(logging.Formatter):
    """A record is one line whatever a client put into it; a traceback is indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Escape what would begin a line or speak to a terminal."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """Indent each line, so that none looks like a record."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  | {visible(line)}" for line in lines)


def visible(text: str) -> str:
    """Escape everything that is not printed as itself."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def start_log(level: str) -> None:
    """Log to where stderr goes now: nobody can swap it later."""
    # The journal adds time and name by itself.
    stamp = "" if os.environ.get("JOURNAL_STREAM") else "%(asctime)s "
    stream = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine(stamp + "%(levelname)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def prepare(config: DaemonConfig) -> None:
    """Set up what belongs to the process: logging, limits, memory, switching."""
    start_log(config.log_level)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else hard
    with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, MAX_OPEN_FILES), hard))
    sys.setswitchinterval(SWITCH_S)
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 2)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def lower_priority() -> None:
    """Take back what the process has above others, for this thread: it is batch."""
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < 0:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 0)


def raise_priority(level: int) -> None:
    """Ask for real-time scheduling of this thread, if it is configured."""
    if level:
        policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
        try:
            os.sched_setscheduler(0, policy, os.sched_param(level))
        except OSError as error:
            log.warning("no real-time priority: %s", error.strerror)


def trim() -> None:
    """Give memory of sessions that are over back to the system."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def rss_bytes() -> int:
    """Measure the resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@contextlib.contextmanager
def wakeups() -> Iterator[socket.socket]:
    """Let signals end a `select`."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    reader.setblocking(False)
    old = signal.set_wakeup_fd(writer.fileno())
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(old)
        reader.close()
        writer.close()


def drain(wakeup: socket.socket) -> None:
    """Forget the signals that woke a `select`."""
    with contextlib.suppress(BlockingIOError):
        wakeup.recv(4096)
