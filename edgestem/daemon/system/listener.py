"""The daemon's place in the system: sockets, peers, and talking to systemd."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import socket
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edgestem.daemon.system.config import (
    ConfigError,
    DaemonConfig,
)
from edgestem.errors import EdgestemError
from edgestem.wire.place import SYSTEM_SOCKET, default_socket

FIRST_FD = 3  # sd_listen_fds(3): passed sockets start here
BACKLOG = 1024  # connections that wait for accept; the kernel may allow fewer
LOCK_S = 5.0  # another daemon binds within milliseconds


class Peer(NamedTuple):
    """Who is on the other end, as the kernel says."""

    pid: int
    uid: int
    gid: int


def peer_of(connection: socket.socket) -> Peer:
    """Ask the kernel who connected."""
    layout = struct.Struct("iII")
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
    return Peer(*layout.unpack(data))


def is_allowed(peer: Peer, users: tuple[str, ...]) -> bool:
    """Look a peer up in the configured users; none configured allows all."""
    if not users:
        return True
    names = {str(peer.uid)}
    with contextlib.suppress(KeyError):
        names.add(pwd.getpwuid(peer.uid).pw_name)
    return not names.isdisjoint(users)


def passed_sockets() -> list[socket.socket]:
    """Take the listening sockets that systemd passed to this process.

    Raises
    ------
    ConfigError
        Something else than a listening UNIX stream socket was passed.
    """
    is_ours = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    count = os.environ.pop("LISTEN_FDS", "0")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not is_ours or not count.isdigit():
        return []
    found = []
    for fd in range(FIRST_FD, FIRST_FD + int(count)):
        try:
            os.set_inheritable(fd, False)
            listener = socket.socket(fileno=fd)
            is_right = listener.family == socket.AF_UNIX and listener.getsockopt(
                socket.SOL_SOCKET, socket.SO_ACCEPTCONN
            )
        except OSError:
            is_right = False
        if not is_right:
            raise ConfigError(
                f"descriptor {fd} is not a listening UNIX socket, but LISTEN_FDS says "
                f"{count[:20]}; unset it, or see ListenStream= of the socket unit"
            )
        found.append(listener)
    return found


@contextlib.contextmanager
def bound_socket(config: DaemonConfig) -> Iterator[socket.socket]:
    """Listen at the configured path; a stale socket is replaced, a live one kept.

    Raises
    ------
    EdgestemError
        `socket_in_use`: another daemon answers there, or it is not a socket.
    ConfigError
        The path or the group cannot be used.
    """
    path = Path(config.socket or default_socket())
    if str(path) == SYSTEM_SOCKET:  # systemd would have made the folder
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o755, exist_ok=True)
    _check_folder(path)
    try:
        with _lock(path):
            _remove_stale(path)
            listener = _bind(path, config)
    except OSError as cause:
        raise ConfigError(f"{path}: {cause.strerror or cause}") from cause
    status = path.stat()
    try:
        yield listener
    finally:
        listener.close()
        with contextlib.suppress(OSError):
            if os.path.samestat(path.stat(), status):
                path.unlink()


def check_place(config: DaemonConfig) -> None:
    """Check that a socket could be made, without making it.

    Raises
    ------
    ConfigError
        Its folder or its group is not there.
    """
    path = Path(config.socket or default_socket())
    if not str(path).startswith("/run/"):  # who starts the daemon makes it there
        _check_folder(path)
    if config.socket_group:
        _group_id(config.socket_group)


def _check_folder(path: Path) -> None:
    """Refuse a socket whose folder is not there, or not ours to write to."""
    folder = path.parent
    if not os.path.isdir(folder):  # noqa: PTH112 - it never raises
        what = f"there is no folder {folder}; make it"
    elif not os.access(folder, os.W_OK | os.X_OK):
        what = f"the folder {folder} may not be written to; ask its owner"
    else:
        return
    why = ""
    if str(path) == SYSTEM_SOCKET and not os.environ.get("XDG_RUNTIME_DIR"):
        why = " (a login sets XDG_RUNTIME_DIR, here it is not set)"
    raise ConfigError(
        f"socket: {what}, or choose --socket PATH, as --socket ~/edgestem.sock, for "
        f"the daemon and its clients{why}"
    )


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Let one daemon at a time look at a path and bind it.

    The lock is on a file of our own: others may open the folder, and hold it.
    """
    name = path.with_name(f"{path.name}.lock")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    fd = os.open(name, flags, 0o600)
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
            raise ConfigError(
                f"{name} is another user's: choose a --socket in a folder of your own"
            )
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield
    finally:
        os.close(fd)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise _in_use(f"{path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:  # its backlog is full: very much alive
            pass
        except OSError as cause:
            if cause.errno == errno.ENOENT:
                return
            raise
    raise _in_use(f"another daemon listens on {path}; choose another --socket")


def _in_use(text: str) -> EdgestemError:
    return EdgestemError(text, code="socket_in_use")


def _bind(path: Path, config: DaemonConfig) -> socket.socket:
    """Bind with the rights, give it its group, then listen: before, nobody connects.

    The mode is the socket's before it has a name; nothing is changed by that name.
    """
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0)
    try:
        os.fchmod(listener.fileno(), config.socket_mode)
        listener.bind(str(path))
        if config.socket_group:
            _give_group(path, _group_id(config.socket_group))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _give_group(path: Path, group: int) -> None:
    """Change the group of a socket of ours, and of nothing that took its place."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
            raise OSError(errno.EBUSY, "somebody who may write there exchanged it")
        os.chown(f"/proc/self/fd/{fd}", -1, group)
    finally:
        os.close(fd)


def _group_id(name: str) -> int:
    if name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"socket_group: there is no group {name!r}") from None


def notify(*lines: str) -> None:
    """Tell systemd, as sd_notify(3) does; nobody listening is fine."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        with contextlib.suppress(OSError):
            place = address.replace("@", "\0", 1) if address[0] == "@" else address
            channel.sendto("\n".join(lines).encode(), place)


def watchdog_s() -> float | None:
    """Seconds within which systemd wants to hear from us; None: it does not."""
    text = os.environ.get("WATCHDOG_USEC", "")
    is_ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(text) / 1e6 if text.isdigit() and is_ours and int(text) > 0 else None
