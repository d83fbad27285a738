"""Children for jobs: one process forks them, with their imports done.

Decoders read what strangers wrote, and writers write where strangers say: both live
in a child, one for each job, that may crash, hang or be ended without anybody
noticing but its job.  The nursery is started before the daemon has threads and has
none itself, so it may fork; a child then costs milliseconds.  It ends with the daemon.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from edgestem import child
from edgestem.errors import EdgestemError

MEMORY = 192 << 20  # bytes a child may take beyond what its imports took
MODEL_MEMORY = 2 << 30  # the same for one that tries a model
CPU_S = 2 * 3600  # of a child: 6 hours of audio take minutes
NICE = 5  # batch work goes behind what people wait for
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_M_ARENA_MAX = -8
_SIZE = 64  # bytes of a message to the nursery


class Born(NamedTuple):
    """A child, as its parent sees it."""

    number: int
    connection: socket.socket
    """To talk to it."""
    status: int
    """A descriptor that tells its exit status as text, and then ends."""


class Nursery:
    """The parent's side; `start` may be called by any thread.

    Raises
    ------
    OSError
        No process can be started.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._launch()

    def _launch(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = theirs.fileno()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import main; main({fd})"],
                stdin=subprocess.DEVNULL,
                pass_fds=[fd],
                cwd=child.FOLDER,
                # A library with threads of its own must not be forked.
                env=child.environment() | {"OPENBLAS_NUM_THREADS": "1"},
            )

    def start(self, word: str = "start") -> Born:
        """Start a child: `start` for a job, `try` for a model.

        Raises
        ------
        EdgestemError
            `overloaded`: the system gives no process.
        """
        with self._lock:
            number = next(self._numbers)
            try:
                if self._process.poll() is not None:  # the system ended it
                    self._control.close()
                    self._launch()
                return self._ask(f"{word} {number}")
            except OSError as cause:
                raise EdgestemError(
                    f"no process can be started for the job ({cause.strerror}): "
                    "try again later",
                    code="overloaded",
                ) from cause

    def _ask(self, request: str) -> Born:
        ours, theirs = socket.socketpair()
        reader, writer = os.pipe()
        try:
            socket.send_fds(
                self._control, [request.encode()], [theirs.fileno(), writer]
            )
        except OSError:
            ours.close()
            os.close(reader)
            raise
        finally:
            theirs.close()
            os.close(writer)
        return Born(int(request.split()[1]), ours, reader)

    def kill(self, number: int) -> None:
        """End a child, whatever it does."""
        with self._lock, contextlib.suppress(OSError):
            self._control.send(b"kill %d" % number)

    def close(self) -> None:
        """End all of them."""
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)


# ---- the nursery itself --------------------------------------------------------


def main(control_fd: int) -> None:
    """Fork children until the daemon is gone; the body of the process."""
    from edgestem.daemon.jobs.decoder import serve

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the daemon
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    children: dict[int, tuple[int, int]] = {}  # number -> process, status
    while True:
        ready, _, _ = select.select([control.fileno(), reader], [], [])
        if reader in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(reader, 4096)
            _reap(children)
        if control.fileno() in ready and not _obey(control, children, serve):
            break
    for pid, _ in children.values():
        os.kill(pid, signal.SIGKILL)


def _obey(
    control: socket.socket,
    children: dict[int, tuple[int, int]],
    serve: Callable[[socket.socket], None],
) -> bool:
    """Carry out one message; False: the daemon has gone."""
    data, fds, _, _ = socket.recv_fds(control, _SIZE, 2)
    if not data:
        return False
    word, _, number = data.decode().partition(" ")
    if word == "kill" and int(number) in children:
        os.kill(children[int(number)][0], signal.SIGKILL)
    elif word in ("start", "try"):
        connection, status = fds
        try:
            pid = os.fork()
        except OSError as error:
            os.write(status, f"fork: {error.strerror}".encode())
            os.close(status)
        else:
            if pid == 0:
                _live(connection, serve, MEMORY if word == "start" else MODEL_MEMORY)
            children[int(number)] = pid, status
        os.close(connection)
    return True


def _reap(children: dict[int, tuple[int, int]]) -> None:
    """Tell how children ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, result = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            for number, (other, status) in list(children.items()):
                if other == pid:
                    with contextlib.suppress(OSError):  # nobody listens any more
                        os.write(status, b"%d" % os.waitstatus_to_exitcode(result))
                    os.close(status)
                    del children[number]


def _live(
    connection: int, serve: Callable[[socket.socket], None], memory: int
) -> NoReturn:
    """Be a child: keep one descriptor, take the limits, serve one job."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):  # decoders talk to stderr
            os.dup2(nothing, fd)
        os.dup2(connection, 3)
        os.closerange(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        _limit(memory)
        serve(socket.socket(fileno=3))
        code = 0
    finally:
        os._exit(code)


def _limit(memory: int) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    with contextlib.suppress(AttributeError):  # not glibc
        libc.mallopt(_M_ARENA_MAX, 1)
    with open("/proc/self/statm") as file:  # noqa: PTH123 - before anything else
        pages = int(file.read().split()[0])
    limits = (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + memory),
        (resource.RLIMIT_CPU, CPU_S),
    )
    for kind, limit in limits:
        with contextlib.suppress(ValueError, OSError):  # a lower one is there
            resource.setrlimit(kind, (limit, limit))
    with contextlib.suppress(OSError):
        os.nice(NICE)
