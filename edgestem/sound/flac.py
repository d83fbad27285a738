"""Metadata blocks of FLAC files: reading them, and adding to them.

Behind "fLaC" and before the sound stand blocks, of which the last says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from edgestem.sound import ogg
from edgestem.sound.chunks import shift

COMMENTS, PICTURE = 4, 6  # kinds of blocks
_LAST = 0x80


def blocks(fd: int, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield the kind of each block, where its body starts, and the body's bytes.

    Parameters
    ----------
    at : int
        Where "fLaC" stands: an ID3 tag may come before.

    Raises
    ------
    IndexError
        The file ends before its last block.
    """
    at += 4
    is_last = False
    while not is_last:
        head = os.pread(fd, 4, at)
        is_last, size = bool(head[0] & _LAST), int.from_bytes(head[1:4], "big")
        yield head[0] & ~_LAST, at + 4, size
        at += 4 + size


def comments(fd: int) -> list[tuple[str, str]]:
    """List the comments of a file; names in lower case."""
    for kind, start, size in blocks(fd):
        if kind == COMMENTS:
            return ogg.split_comments(os.pread(fd, size, start), 0)
    return []


def add(file: BinaryIO, texts: list[tuple[str, str]], pictures: bytes) -> None:
    """Add to the blocks of a file, in place.

    Parameters
    ----------
    texts : list of (name, text)
        Comments.
    pictures : bytes
        Whole blocks, none of them the last.
    """
    fd, end = file.fileno(), 4
    old: list[tuple[int, bytes]] = []
    for kind, start, size in blocks(fd):
        old.append((kind, os.pread(fd, size, start)))
        end = start + size
    head = _head(old, texts, pictures)
    shift(file, end, len(head) - end)
    file.seek(0)
    file.write(head)


def _head(
    old: list[tuple[int, bytes]], texts: list[tuple[str, str]], pictures: bytes
) -> bytes:
    """Make all that stands before the sound."""
    if not any(kind == COMMENTS for kind, _ in old):
        old.insert(1, (COMMENTS, bytes(8)))
    made = b"fLaC"
    for number, (kind, body) in enumerate(old):
        body = ogg.join_comments(body, 0, texts) if kind == COMMENTS else body
        last = _LAST * (number == len(old) - 1)
        made += pictures * (number == 1)  # behind STREAMINFO, which is first
        made += bytes([kind | last]) + len(body).to_bytes(3, "big") + body
    return made
