"""The page's token, which outlives a show by some hours.

A player that ends and is started again (a power cut, a crash, another set) finds the
phones that it knew: they show its state without a new code to be read.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

from edgestem.errors import EdgestemError
from edgestem.store.store import own_folder

KEPT_S = 12 * 3600.0
"""After the last start: an evening, and no phone of last week."""
MAX_BYTES = 64


def new_token() -> str:
    """Make one of 72 random bits, 12 letters."""
    return secrets.token_urlsafe(9)


def default_token_path() -> Path:
    """Tell where the token is kept."""
    return own_folder("XDG_STATE_HOME", ".local/state") / "page-token"


def kept_token() -> str:
    """Return the token of the last 12 hours, or a new one, and keep it from now on.

    Where nothing can be kept, it is a new one.
    """
    try:
        path = default_token_path()
    except EdgestemError:
        return new_token()
    token = _read(path) or new_token()
    with contextlib.suppress(OSError):
        _write(path, token)
    return token


def _read(path: Path) -> str:
    """Return the file's token; of somebody else, too old or no token: nothing."""
    with contextlib.suppress(OSError, ValueError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            is_own = found.st_uid == os.geteuid() and not found.st_mode & 0o077
            is_fresh = 0 <= time.time() - found.st_mtime < KEPT_S
            token = file.read(MAX_BYTES).decode("ascii").strip()
            if is_own and is_fresh and len(token) >= len(new_token()):
                return token
    return ""


def _write(path: Path, token: str) -> None:
    """Replace the file whole; nobody else may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(part, flags, 0o600), "w") as file:
            file.write(token + "\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
