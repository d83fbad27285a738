"""What the world does to a program, as sentences with a way out.

No disk, folder, memory or library that fails is a bug of ours.  Where an error is
not wrapped at its place, it is here: `as_error` is asked by the roofs, one for a
song of a batch and one for the command line.
"""

from __future__ import annotations

import os

from edgestem.errors import EdgestemError
from edgestem.sound.refusals import way_out

_MEMORY = "there is not enough memory: end other programs, or use fewer threads"
_NO_FOLDER = "no folder for temporary files can be written: set TMPDIR to one that can"
_NO_THREAD = "the system gives no more threads: end other programs, or raise ulimit -u"


def as_error(cause: Exception) -> EdgestemError | None:
    """Turn an exception into an error for a person; None: it is a bug of ours.

    Codes: `os_error`, `no_memory`, `no_thread`, `unreadable`.
    """
    if isinstance(cause, EdgestemError):
        return cause
    if isinstance(cause, OSError):
        return EdgestemError(_os_sentence(cause), code="os_error")
    if isinstance(cause, MemoryError):
        return EdgestemError(_MEMORY, code="no_memory")
    if "can't start new thread" in str(cause):
        return EdgestemError(_NO_THREAD, code="no_thread")
    if type(cause).__module__.split(".")[0] == "soundfile":
        return EdgestemError(f"libsndfile: {cause}", code="unreadable")
    return None


def bug(cause: Exception) -> EdgestemError:
    """Make the error of what should not have happened."""
    what = f"{type(cause).__name__}: {cause}"
    return EdgestemError(f"a bug, {what}; --debug shows where", code="internal")


def _os_sentence(cause: OSError) -> str:
    if "No usable temporary directory" in str(cause):
        return _NO_FOLDER
    what = cause.strerror or str(cause) or type(cause).__name__
    names = [name for name in (cause.filename, cause.filename2) if name is not None]
    where = "".join(f"{_text(name)}: " for name in names[:1])
    way = way_out(cause)
    return f"{where}{what}" + (f"; {way}" if way else "")


def _text(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, (str, bytes)) else str(name)
