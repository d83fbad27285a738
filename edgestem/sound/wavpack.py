"""WavPack with damage, made readable behind it.

ffmpeg gives a WavPack file up when a block does not follow a block.  Each block says
at which sample it begins (WavPack 4 & 5 Binary File / Block Format, section 2.0), so
that a copy of the whole blocks is read to the end, with silence where one is missing.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from edgestem.sound.chunks import before_tags

# Magic, size, version, high bytes of sample and total, total, sample, samples.
_HEAD = struct.Struct("<4sIHBBIII")
_MAX_BLOCK = 1 << 20  # bytes, by the format's own rule
_WINDOW = 1 << 18


class _Block(NamedTuple):
    at: int
    size: int
    end_sample: int


def mended(file: BinaryIO) -> tuple[BinaryIO, int] | None:
    """Return a copy of the whole blocks, and the sample at which others are missing.

    None: no WavPack, nothing is torn, or there is no room for the copy.
    """
    fd = file.fileno()
    if os.pread(fd, 4, 0) != b"wvpk":
        return None
    at = sample = 0
    for block in _blocks(fd):
        if block.at != at:
            copy = _copy(file)
            return None if copy is None else (copy, sample)
        at, sample = block.at + block.size, block.end_sample
    return None


def _blocks(fd: int) -> Iterator[_Block]:
    """Yield the blocks that another one follows, or the end."""
    end = before_tags(fd, 0, os.fstat(fd).st_size)
    at: int | None = 0
    while at is not None and at < end:
        block = _block(fd, at, end)
        if block is None:
            at = _find(fd, at + 1, end)
        else:
            yield block
            at += block.size


def _block(fd: int, at: int, end: int) -> _Block | None:
    head = os.pread(fd, _HEAD.size, at)
    if len(head) < _HEAD.size:
        return None
    magic, size, _, high, _, _, sample, n_samples = _HEAD.unpack(head)
    behind = at + 8 + size
    if magic != b"wvpk" or size > _MAX_BLOCK or behind > end:
        return None
    if behind < end and os.pread(fd, 4, behind) != b"wvpk":
        return None
    return _Block(at, 8 + size, (sample | high << 32) + n_samples)


def _find(fd: int, at: int, end: int) -> int | None:
    """Find where the next block may begin."""
    while at + 4 <= end:
        window = os.pread(fd, _WINDOW, at)
        i = window.find(b"wvpk")
        if i >= 0:
            return at + i
        at += max(len(window) - 3, 1)
    return None


def _copy(file: BinaryIO) -> BinaryIO | None:
    copy: Any = None
    try:
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the song
        for block in _blocks(file.fileno()):
            file.seek(block.at)
            copy.write(file.read(block.size))
        copy.flush()
    except OSError:
        if copy is not None:
            copy.close()
        return None
    return copy  # type: ignore[no-any-return]
