"""What became of a song that failed, and whether trying again can help.

A disk that stumbles, a network drive that went away or a killed process are worth
another try; a damaged song, a missing permission or a bug are not.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgestem.errors import EdgestemError

AGAIN, SONG, MACHINE, FULL = "again", "song", "machine", "full"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PASSING = (
    *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR),
    *(errno.ECONNRESET, errno.ECONNABORTED, errno.ENETDOWN, errno.ENETUNREACH),
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN, errno.EREMOTEIO),
    *(errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EBUSY, errno.ETXTBSY),
)
_PASSING_CODES = ("device_lost", "no_memory", "no_thread", "source_changed")
# Another song would fail as well.
_MACHINE_CODES = (
    *("model_not_found", "model_mismatch", "runtime_missing", "kernel_missing"),
    *("unknown_device", "device_refused", "libsndfile_missing", "es_err_abi"),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a song, or a whole machine, failed."""

    code: str
    """Word of `errors.CODES`."""
    text: str
    """Sentence for a person."""
    kind: str
    """AGAIN: trying may help; SONG: it does not; MACHINE: nor for any other song;
    FULL: the disk is full."""

    @classmethod
    def of(cls, cause: BaseException) -> Failure:
        """Judge an exception."""
        if isinstance(cause, EdgestemError):
            return cls(cause.code, str(cause), _kind(cause, cause.code))
        if isinstance(cause, OSError):
            what = cause.strerror or type(cause).__name__
            where = "" if cause.filename is None else f"{_text(cause.filename)}: "
            return cls("os_error", f"{where}{what}", _kind(cause, "os_error"))
        if isinstance(cause, MemoryError):
            return cls("no_memory", "there is not enough memory", AGAIN)
        return cls("internal", f"a bug, {type(cause).__name__}: {cause}", SONG)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Failure:
        """Read what a child or a file says."""
        return cls(str(found["code"]), str(found["text"]), str(found["kind"]))


def _kind(cause: BaseException, code: str) -> str:
    numbers = {e.errno for e in _chain(cause) if isinstance(e, OSError)}
    if numbers.intersection(_FULL):
        return FULL
    if numbers.intersection(_PASSING) or code in _PASSING_CODES:
        return AGAIN
    return MACHINE if code in _MACHINE_CODES else SONG


def _chain(cause: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = cause
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__


def _text(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, (str, bytes)) else str(name)
