"""Signals that ask the program to end, from its first line to its last.

An exception from a handler may be swallowed: an import, a C library or a destructor
turns what comes into an error of its own, or into nothing.  So the number is kept:
whoever catches an error asks `asked` first, whoever works for long calls `check`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SENTENCE = "interrupted"
_NUMBERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_asked = 0


class Stop(BaseException):
    """A signal asks to end."""


def asked() -> int:
    """Return the signal that asked to end, or 0."""
    return _asked


def check() -> None:
    """Raise Stop when a signal has asked to end and nobody obeyed."""
    if _asked:
        raise Stop(_asked)


def leave(number: int, _: object) -> None:
    """End at once: nothing has begun yet, there is nothing to tidy up."""
    if number == signal.SIGINT:
        with contextlib.suppress(OSError):
            os.write(2, f"edgestem: error: {SENTENCE} [interrupted]\n".encode())
    os._exit(128 + number)


def leave_early() -> None:
    """Obey from now on, while the program is still being loaded.

    What the parent chose to ignore (nohup, a shell's background) stays ignored.
    """
    for number in _NUMBERS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, leave)


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """End tidily: raise Stop where a signal would have ended the process.

    A program that calls `main` gets its handlers back, also those that the daemon
    replaced; in another thread than its main one they stay untouched.
    """
    global _asked
    _asked = 0
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    usual = (signal.SIG_DFL, signal.default_int_handler, leave)
    try:
        for number in _NUMBERS:
            if before[number] in usual:
                signal.signal(number, _stop)
    except ValueError:  # not the main thread
        yield
        return
    hook, sys.unraisablehook = sys.unraisablehook, _unraisable
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            if handler is not None:  # not Python's: it cannot be put back
                signal.signal(number, handler)


def _stop(number: int, _: object) -> None:
    global _asked
    _asked = number
    raise Stop(number)


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    """Say nothing of a Stop that fell into a destructor: `check` will find it."""
    if not issubclass(found.exc_type, Stop):
        sys.__unraisablehook__(found)
