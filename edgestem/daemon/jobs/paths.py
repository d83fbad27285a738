"""Folders that jobs may name paths below, held by descriptor.

Each allowed folder is opened once, when the daemon starts and on SIGHUP; whoever may
write to its parent cannot exchange it afterwards.  A path is walked from there by the
kernel, which lets no `..` and no symlink lead out (openat2, RESOLVE_BENEATH), or by
us, name by name without symlinks, where it has no such call or a sandbox forbids it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable
from pathlib import PurePath
from typing import NamedTuple

from edgestem.daemon.system.config import ConfigError

_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_MAGICLINKS, _RESOLVE_BENEATH = 0x02, 0x08
_ABSENT = (errno.ENOSYS, errno.EPERM)
TRIES = 16  # somebody renames meanwhile, or holds a lease on the file (fcntl(2))
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _How(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "mode", "resolve")]


class Allowed(NamedTuple):
    """One allowed folder."""

    names: tuple[str, ...]
    """As configured, and where that led when it was opened."""
    fd: int
    """O_PATH."""


class Place(NamedTuple):
    """A path below an allowed folder."""

    fd: int
    """The allowed folder."""
    rest: str
    """The path from there, without `..`; `.` is the folder itself."""


class AllowedFolders:
    """The folders of one field of the configuration.

    Raises
    ------
    ConfigError
        One of them is not there.
    """

    def __init__(self, key: str, folders: tuple[str, ...]) -> None:
        self.key = key
        self._folders: list[Allowed] = []
        try:
            for folder in folders:
                self._folders.append(_hold(folder))
        except OSError as cause:
            self.close()
            raise ConfigError(
                f"{key}: {folder} cannot be opened: {cause.strerror}; make it, or "
                "name another folder"
            ) from cause

    def find(self, path: str) -> Place | None:
        """Find the folder that a path names, None when there is none."""
        if not path.startswith("/"):
            return None
        wanted = PurePath(os.path.normpath(path))
        for allowed in self._folders:
            for name in allowed.names:
                if wanted.is_relative_to(name):
                    return Place(allowed.fd, str(wanted.relative_to(name)))
        return None

    def close(self) -> None:
        """Let go of them."""
        for allowed in self._folders:
            os.close(allowed.fd)
        self._folders = []


def _hold(folder: str) -> Allowed:
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    real = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - no path of ours
    return Allowed((os.path.normpath(folder), real), fd)


def insecure_parents(folder: str) -> list[str]:
    """List the parents of a folder that others than root and us may change."""
    found = []
    for parent in PurePath(os.path.realpath(folder)).parents:
        status = os.stat(parent)  # noqa: PTH116 - PurePath
        is_open = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        is_sticky = status.st_mode & stat.S_ISVTX
        if status.st_uid not in (0, os.geteuid()) or (is_open and not is_sticky):
            found.append(str(parent))
    return found


def open_below(place: Place, flags: int) -> int:
    """Open what is below an allowed folder.

    Raises
    ------
    OSError
        As open(2); EXDEV when it leads out of the folder.
    """
    try:
        return _openat2(place, flags | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
    return _walk(place, flags | os.O_CLOEXEC)


def _openat2(place: Place, flags: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    how = _How(flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    name = os.fsencode(place.rest)
    for _ in range(TRIES):
        fd: int = libc.syscall(
            *(_OPENAT2, place.fd, name, ctypes.byref(how), ctypes.sizeof(how))
        )
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number), place.rest)


def _walk(place: Place, flags: int) -> int:
    """Open name by name; a symlink on the way is an error."""
    *parents, last = PurePath(place.rest).parts or (".",)
    if ".." in (*parents, last):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), place.rest)
    at = os.dup(place.fd)
    try:
        for name in parents:
            inner = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(last, flags | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)


def make_folder(place: Place, mode: int) -> tuple[int, Callable[[], None]]:
    """Open a folder, made when it is not there, and held from then on.

    Returns
    -------
    descriptor
    undo : removes the folder if it was made and is empty

    Raises
    ------
    OSError
        It cannot be made, or is no folder.
    """
    parent, name = os.path.split(place.rest)
    above = open_below(Place(place.fd, parent or "."), FOLDER)
    made = False
    try:
        if name not in ("", "."):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, mode, dir_fd=above)
                made = True
        if made:  # what is there now is what we made, or nothing that we take
            fd = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=above)
            if os.fstat(fd).st_uid == os.geteuid():
                os.fchmod(fd, mode)  # whatever the umask
            return fd, _undo(above, name)
        fd = open_below(place, FOLDER)
        os.close(above)
        return fd, _nothing
    except BaseException:
        os.close(above)
        raise


def _undo(above: int, name: str) -> Callable[[], None]:
    def undo() -> None:
        with contextlib.suppress(OSError):  # not empty, or another's by now
            os.rmdir(name, dir_fd=above)
        os.close(above)

    return undo


def _nothing() -> None:
    pass
