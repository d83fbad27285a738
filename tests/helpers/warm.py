"""`edgestem` to its end, in a process that has loaded its modules already.

`warm.run` is `subprocess.run` for `python -m edgestem ...`: a server beside the tests
has the modules and forks for each command, which saves three quarters of a short
command's time.  All else is as in a program of its own: arguments, folder,
environment, streams, exit.  What a test says of loading needs `subprocess.run`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

# What commands import by the way; and all of edgestem but what needs other programs.
MODULES = ("numpy", "soundfile", "csv", "email.message", "importlib.metadata",
           "ai_edge_litert.interpreter")  # fmt: skip
LEFT_OUT = ("edgestem.__main__", "edgestem.catalogue.cluster", "edgestem.live.jack",
            "edgestem.live.sound_card")  # fmt: skip
START = [sys.executable, "-m", "edgestem"]
# What Python and the C library read when they start.
EARLY = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC", "GLIBC", "OMP", "OPENBLAS")
_busy = threading.Lock()


@functools.cache
def _server(_of: int) -> socket.socket:
    """Start this process's server; it ends with the process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        child = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        child.wait(10)

    atexit.register(end)
    return ours


def _is_early(env: dict[str, str]) -> bool:
    """Whether a process that runs already cannot take this environment."""
    changed = {
        k for k in env.keys() | os.environ.keys() if env.get(k) != os.environ.get(k)
    }
    return any(name.startswith(EARLY) for name in changed)


def run(line: Sequence[object], **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a command to its end; what no server can do is done by a new process."""
    words = [os.fspath(w) for w in line]  # type: ignore[call-overload]
    known = {"text", "timeout", "cwd", "env", "check", "stdin", "input"}
    is_read = options.get("capture_output") or options.get("stdout") == subprocess.PIPE
    known |= {"capture_output", "stdout", "stderr"} if is_read else set()
    env = dict(options.get("env") or os.environ)
    is_other = words[:3] != START or not options.keys() <= known or _is_early(env)
    if is_other or not is_read or not _busy.acquire(False):
        return subprocess.run(words, **{"check": False} | options)
    try:
        return _ask(words, env, options)
    finally:
        _busy.release()


def _ask(words: list[str], env: dict[str, str], options: dict[str, Any]) -> Any:
    server = _server(os.getpid())
    pipes = [os.pipe(), os.pipe()]
    with _stdin(options.get("stdin"), options.get("input")) as first:
        cwd = os.fspath(options.get("cwd") or Path.cwd())
        message = json.dumps([words[3:], cwd, env]).encode()
        socket.send_fds(server, [message], [first, *(w for _, w in pipes)])
    for _, writer in pipes:
        os.close(writer)
    pid = int(server.recv(20))
    try:
        out = _read([r for r, _ in pipes], options.get("timeout"))
    finally:
        for reader, _ in pipes:
            os.close(reader)
        if sys.exc_info()[0]:
            os.kill(pid, signal.SIGKILL)
        status = int(server.recv(20))
    if options.get("text"):
        out = [o.decode().replace("\r\n", "\n") for o in out]
    done = subprocess.CompletedProcess(words, status, *out)
    if options.get("check"):
        done.check_returncode()
    return done


@contextlib.contextmanager
def _stdin(given: Any, data: Any) -> Iterator[int]:
    """Give what the command reads."""
    if data is not None:
        given, writer = os.pipe()
        data = data.encode() if isinstance(data, str) else data
        threading.Thread(target=_feed, args=(writer, data)).start()
    elif given == subprocess.DEVNULL:
        given = os.open(os.devnull, os.O_RDONLY)
    elif given is not None:
        given = os.dup(given if isinstance(given, int) else given.fileno())
    try:
        yield 0 if given is None else given
    finally:
        if given is not None:
            os.close(given)


def _feed(writer: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(writer, "wb", buffering=0) as file:
        while data:
            data = data[file.write(data) :]


def _read(pipes: list[int], timeout: float | None) -> list[Any]:
    """Read all of them to their ends."""
    found = {fd: b"" for fd in pipes}
    with selectors.DefaultSelector() as selector:
        for fd in pipes:
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(timeout)  # a command that says nothing for so long
            if not ready:
                raise subprocess.TimeoutExpired("edgestem", timeout or 0)
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                found[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
    return [found[fd] for fd in pipes]


def _load() -> None:
    import edgestem

    found = pkgutil.walk_packages(edgestem.__path__, "edgestem.")
    names = [m.name for m in found if not m.name.startswith(LEFT_OUT)]
    for name in (*MODULES, *names):
        with contextlib.suppress(ImportError):  # the command will say so
            importlib.import_module(name)


def _serve(connection: socket.socket) -> int:
    """Fork for each message; give the process, then its status."""
    while True:
        data, fds, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not data:
            return 0
        if (pid := os.fork()) == 0:
            connection.close()
            _be(*json.loads(data), fds)
        for fd in fds:
            os.close(fd)
        connection.send(b"%d" % pid)
        _, status = os.waitpid(pid, 0)
        connection.send(b"%d" % os.waitstatus_to_exitcode(status))


def _be(words: list[str], cwd: str, env: dict[str, str], fds: list[int]) -> NoReturn:
    """Be the program, to its end."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(cwd)
    for name in os.environ.keys() - env.keys():
        del os.environ[name]
    os.environ.update(env)
    sys.path[0] = cwd
    from edgestem import __main__

    sys.argv = [__main__.__file__, *words]
    status = __main__.main()
    # As Python ends, but for taking each module apart.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.path[0] = str(Path.cwd())
    _load()
    gc.freeze()  # what lies here is shared, not copied
    sys.exit(_serve(socket.socket(fileno=int(sys.argv[1]))))
