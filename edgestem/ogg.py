"""What an Ogg file holds, page by page.

A decoder may stop at the end of the first of several chained streams, and reads over
missing pages without a word.  The pages' own headers tell.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

_CONTINUED, _FIRST, _LAST = 1, 2, 4  # flags of a page
_HEAD = 27  # bytes of a page's header before its table of segments


@dataclass(slots=True)
class Survey:
    """What all pages say together."""

    n_links: int = 0
    """Streams one after the other."""
    n_lost: int = 0
    """Places where pages are missing or are none."""
    has_end: bool = False
    """The last page is marked as the last."""
    is_torn: bool = False
    """The last page is not whole."""
    is_opus: bool = False

    @property
    def is_plain(self) -> bool:
        """A decoder that stops at the first link or loss reads all of it."""
        return self.n_links <= 1 and not self.n_lost


def survey(fd: int) -> Survey | None:
    """Walk the pages of an Ogg file; None when it does not begin as one.

    The descriptor's place does not move.
    """
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != b"OggS":
            return None
        found = Survey(is_opus=data[28:36] == b"OpusHead")
        _walk(data, found)
    return found


def _walk(data: mmap.mmap, found: Survey) -> None:
    at, numbers, was_first = 0, {}, False  # type: int, dict[bytes, int], bool
    while at < len(data):
        if data[at : at + 4] != b"OggS":
            after = data.find(b"OggS", at)
            found.n_lost += after >= 0
            if after < 0:
                return
            at = after
        table = (
            data[at + _HEAD : at + _HEAD + data[at + 26]]
            if at + 26 < len(data)
            else b""
        )
        size = _HEAD + len(table) + sum(table)
        if not table or at + size > len(data):
            found.is_torn = True
            return
        flags, serial = data[at + 5], data[at + 14 : at + 18]
        number = int.from_bytes(data[at + 18 : at + 22], "little")
        if flags & _FIRST:
            found.n_links += not was_first
            numbers[serial] = number
        elif number != numbers.get(serial, number - 1) + 1:
            found.n_lost += 1
        numbers[serial], was_first = number, bool(flags & _FIRST)
        found.has_end = bool(flags & _LAST)
        at += size
