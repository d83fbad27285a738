"""Keeping what C libraries print by themselves from the user's terminal.

libmpg123, inside libsndfile, writes "Warning: Xing stream size off ..." to C's
`stderr`, and nobody can tell it not to.  What it means is found and said by `sndfile`.
`stderr` is a variable in glibc: it points elsewhere for as long as a decoder runs.
Descriptor 2 is not touched, so that Python's messages, other threads, signals and child
processes write as ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_LOCK = threading.Lock()
_inside: list[int | None] = []
"""What `stderr` was, once for every thread that is inside."""


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Let C code print to nowhere; elsewhere than with glibc nothing happens."""
    found = _stderr()
    if found is None:
        yield
        return
    variable, nowhere = found
    with _LOCK:
        _inside.append(_inside[0] if _inside else variable.value)
        variable.value = nowhere
    try:
        yield
    finally:
        with _LOCK:
            before = _inside.pop()
            if not _inside:
                variable.value = before


@lru_cache(1)
def _stderr() -> tuple[Any, int] | None:
    """Give C's variable and a FILE that leads nowhere; None: there is none."""
    if platform.libc_ver()[0] != "glibc":  # it is a constant in musl
        return None
    try:
        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        nowhere = libc.fopen(b"/dev/null", b"we")
        # A program has a copy of its own, which comes first in this search.
        variable = ctypes.c_void_p.in_dll(libc, "stderr")
    except (OSError, ValueError, AttributeError):
        return None
    return (variable, nowhere) if nowhere else None
