"""What the header of a file that libsndfile reads promises, and what is there.

libsndfile reads until the file ends and tells of a broken promise only in its log.
Where it does not even do that, the header is read here.
"""

from __future__ import annotations

import os
import re
from typing import Any

from edgestem.sound.wav import is_open_end

# What libsndfile logs, by container, when a header promises more bytes than there
# are.  A RIFF size alone is wrong in many whole files.
_BYTES = {
    "RF64": re.compile(r"Riff size : (\d+) \(should be (\d+)\)"),
    "W64": re.compile(r"riff : (\d+) \(should be (\d+)\)"),
    "WVE": re.compile(r"Data length (\d+) should be (\d+)"),
}
_ANY = re.compile(r"(?:data|SSND|Data Size)\s*:\s*(\d+) \(should be (\d+)\)")
# And the samples that a header counts: the last match.
_SAMPLES = {
    "AVR": re.compile(r"Frames +: (\d+)"),
    "MPC2K": re.compile(r"Frames +: (\d+)"),
    "MAT4": re.compile(r"Cols +: (\d+)"),
    "MAT5": re.compile(r"Cols +: (\d+)"),
}
_NIST_COUNT = re.compile(rb"sample_count -i (\d+)")


def broken_promise(sound: Any, fd: int) -> tuple[int, int] | None:
    """Return what a header promises and the less that is there, in one unit.

    Parameters
    ----------
    sound : soundfile.SoundFile
        Opened, so that its log is complete.
    fd : int
        The same file.
    """
    promised, there = _promise(sound, fd) or (0, 0)
    return (promised, there) if promised > there else None


def _promise(sound: Any, fd: int) -> tuple[int, int] | None:
    form, log = sound.format, sound.extra_info
    if form == "CAF":
        return caf_bytes(fd)
    if form == "NIST":
        count = _NIST_COUNT.search(os.pread(fd, 1024, 0))
        return (int(count[1]), sound.frames) if count else None
    if form in _SAMPLES:
        counts = _SAMPLES[form].findall(log)
        return (int(counts[-1]), sound.frames) if counts else None
    found = _BYTES.get(form, _ANY).search(log)
    if found is None or is_open_end(int(found[1])):
        return None
    return int(found[1]), int(found[2])


def caf_bytes(fd: int) -> tuple[int, int] | None:
    """Find the bytes of a CAF file's data chunk; -1 there means "until the end"."""
    at, end = 8, os.fstat(fd).st_size
    while at + 12 <= end:
        head = os.pread(fd, 12, at)
        size = int.from_bytes(head[4:], "big", signed=True)
        if head[:4] == b"data":
            return size, end - at - 12
        if size < 0:
            return None
        at += 12 + size
    return None
