"""What is said of a song or an output that the system refuses, and the way out."""

from __future__ import annotations

import errno

from edgestem.errors import AudioError

_WAYS_OUT = {
    errno.EACCES: "ask its owner, or choose another place",
    errno.EPERM: "ask its owner, or choose another place",
    errno.EROFS: "nothing can be written there; choose another folder",
    errno.ENAMETOOLONG: "use a shorter name for the song or the folder",
    errno.ENOSPC: "make room there, or choose a folder on another disk",
    errno.EDQUOT: "make room there, or choose a folder on another disk",
    errno.EFBIG: "raise the limit (ulimit -f), or choose another disk",
    errno.ELOOP: "the links lead in a circle; name the file itself",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "the machine has too many open files; end another program",
    errno.ENOMEM: "end other programs, or use fewer threads",
    errno.EAGAIN: "the machine is at its limit of processes; end another program",
    errno.EIO: "the disk or the card seems to fail; copy the file elsewhere",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.ESTALE: "the network drive has gone; mount it again",
    errno.ENODEV: "the device has gone; plug it in again",
    errno.ENOENT: "check the name",
}


def way_out(cause: OSError, otherwise: str = "") -> str:
    """Say what to do about an error of the system; `otherwise` where nobody knows."""
    return _WAYS_OUT.get(cause.errno or 0, otherwise)


def unreadable(name: str, what: str) -> AudioError:
    """Make the error of a song that cannot be read: "<name> <what>"."""
    return AudioError(f"{name} {what}", code="unreadable", path=name)


def unwritable(cause: OSError) -> AudioError:
    """Make the error of a stdout that cannot be written."""
    if cause.errno == errno.EBADF:
        text = "standard output is closed: send it to a file or a program"
    else:
        text = f"standard output cannot be written: {cause.strerror or cause}"
    return AudioError(text, code="unwritable", path="-")
