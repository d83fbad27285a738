"""Comments of Ogg files: reading them, and adding what libsndfile has no door for.

A picture makes the comments grow over several pages, so all pages behind get other
numbers.  A page's checksum is a remainder of polynomials over GF(2), hence linear:
that of a renumbered page comes from the old one without reading the page.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

_POLYNOMIAL = 0x104C11DB7  # of Ogg's checksum: no reflection, starts at 0
_MAX_PAGES = 1200  # of comments: 64 KiB each hold 16 MB of base64 and more
_SEGMENTS = 255  # of one page, up to 255 bytes each
_NUMBER_AT, _SUM_AT = 18, 22  # in a page's head of 27 bytes
_STARTS = {b"\3vor": 7, b"Opus": 8}  # what stands before the vendor's name


@dataclass(frozen=True, slots=True)
class _Page:
    at: int
    head: bytes
    table: bytes
    body: bytes

    @property
    def end(self) -> int:
        return self.at + len(self.head) + len(self.table) + len(self.body)


def comments(fd: int) -> Iterator[tuple[str, str]]:
    """Yield the comments of a file's first stream; names in lower case.

    Raises
    ------
    ValueError, struct.error
        It is no Ogg Vorbis or Opus file, or it is damaged.
    """
    packet = next(p for n, (p, _) in enumerate(_packets(fd)) if n == 1)
    yield from split_comments(packet, _start(packet))


def split_comments(packet: bytes, start: int) -> list[tuple[str, str]]:
    """Take comments apart; the maker's name begins at `start`.

    Raises
    ------
    ValueError, struct.error
        They are cut short.
    """
    at, ends = _ends(packet, start)
    found = []
    for end in ends:
        name, _, value = packet[at + 4 : end].decode("utf-8", "replace").partition("=")
        at = end
        found.append((name.lower(), value))
    return found


def join_comments(packet: bytes, start: int, new: list[tuple[str, str]]) -> bytes:
    """Add comments behind those that a packet has."""
    first, ends = _ends(packet, start)
    end = ends[-1] if ends else first
    added = [f"{name}={text}".encode() for name, text in new]
    body = b"".join(struct.pack("<I", len(one)) + one for one in added)
    head = packet[: first - 4] + struct.pack("<I", len(ends) + len(new))
    return head + packet[first:end] + body + packet[end:]


def _start(packet: bytes) -> int:
    start = _STARTS.get(packet[:4])
    if start is None:
        raise ValueError("no Vorbis or Opus file")
    return start


def _ends(packet: bytes, start: int) -> tuple[int, list[int]]:
    """Find where the first comment begins, and where each ends."""
    at = start + 4 + struct.unpack_from("<I", packet, start)[0]
    (count,) = struct.unpack_from("<I", packet, at)
    first, ends = at + 4, [at + 4]
    for _ in range(count):
        (n,) = struct.unpack_from("<I", packet, ends[-1])
        ends.append(ends[-1] + 4 + n)
        if ends[-1] > len(packet):
            raise ValueError("a comment is cut short")
    return first, ends[1:]


def add_comments(file: BinaryIO, new: list[tuple[str, str]]) -> None:
    """Add comments to a Vorbis or Opus file of one stream, in place.

    Raises
    ------
    ValueError, struct.error
        It is none; nothing was changed.
    """
    packets = _packets(file.fileno())
    _, first = next(packets)
    packet, last = next(packets)
    heads = [join_comments(packet, _start(packet), new)]
    if packet[:1] == b"\3":  # Vorbis has a third head, on the same pages
        setup, last = next(packets)
        heads.append(setup)
    pages = _pages(heads, first.head)
    old_number = _number(last.head)
    file.seek(0)
    rest = _renumbered(_split(file, last.end), len(pages) - old_number)
    tail = b"".join(rest)
    file.seek(first.end)
    file.write(b"".join(pages) + tail)
    file.truncate()
    file.flush()


def _read(fd: int, at: int) -> _Page:
    head = os.pread(fd, 27, at)
    if len(head) < 27 or head[:4] != b"OggS":
        raise ValueError("no page of an Ogg file")
    table = os.pread(fd, head[26], at + 27)
    return _Page(at, head, table, os.pread(fd, sum(table), at + 27 + len(table)))


def _packets(fd: int) -> Iterator[tuple[bytes, _Page]]:
    """Yield packets with the page that each ends on."""
    at, part = 0, bytearray()
    for _ in range(_MAX_PAGES):
        page = _read(fd, at)
        at, start = page.end, 0
        for size in page.table:
            part += page.body[start : start + size]
            start += size
            if size < _SEGMENTS:
                yield bytes(part), page
                part.clear()
    raise ValueError("the comments have no end")


def _pages(packets: list[bytes], like: bytes) -> list[bytes]:
    """Lay header packets on pages 1, 2 ..., as a stream of that serial number has."""
    segments: list[tuple[bytes, bool]] = []  # and whether a packet goes on with it
    for packet in packets:
        starts = range(0, len(packet) + 1, 255)
        segments += [(packet[at : at + 255], at > 0) for at in starts]
    made: list[bytes] = []
    for at in range(0, len(segments), _SEGMENTS):
        some = segments[at : at + _SEGMENTS]
        table = bytes(len(part) for part, _ in some)
        ends = any(size < 255 for size in table)
        place = bytes(8) if ends else b"\xff" * 8  # no packet ends here: no place
        head = b"OggS\0" + bytes([some[0][1]]) + place + like[14:18]
        head += struct.pack("<II", len(made) + 1, 0) + bytes([len(some)])
        page = head + table + b"".join(part for part, _ in some)
        made.append(_with_sum(page, _checksum(page)))
    return made


def _split(file: BinaryIO, at: int) -> Iterator[bytes]:
    end = os.fstat(file.fileno()).st_size
    while at < end:
        page = _read(file.fileno(), at)
        yield page.head + page.table + page.body
        at = page.end


def _renumbered(pages: Iterator[bytes], difference: int) -> Iterator[bytes]:
    for page in pages:
        before = _number(page)
        after = before + difference
        change = (before ^ after).to_bytes(4, "little")
        behind = len(page) - _NUMBER_AT - 4  # bytes
        factor = _power(32 + 8 * behind)
        (old,) = struct.unpack_from("<I", page, _SUM_AT)
        new = old ^ _times(int.from_bytes(change, "big"), factor)
        numbered = page[:_NUMBER_AT] + after.to_bytes(4, "little") + page[_SUM_AT:]
        yield _with_sum(numbered, new)


def _number(page: bytes) -> int:
    return int(struct.unpack_from("<I", page, _NUMBER_AT)[0])


def _with_sum(page: bytes, checksum: int) -> bytes:
    return page[:_SUM_AT] + struct.pack("<I", checksum) + page[_SUM_AT + 4 :]


# ---- checksums: polynomials over GF(2), bit n is x^n -------------------------------


def _times(a: int, b: int) -> int:
    """Multiply modulo the polynomial."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        b >>= 1
        a <<= 1
        if a >> 32:
            a ^= _POLYNOMIAL
    return product


@lru_cache(maxsize=4096)
def _power(n: int) -> int:
    """Return x^n modulo the polynomial."""
    found, base = 1, 2
    while n:
        if n & 1:
            found = _times(found, base)
        base = _times(base, base)
        n >>= 1
    return found


@lru_cache(maxsize=1)
def _table() -> tuple[int, ...]:
    return tuple(_times(byte, _power(32)) for byte in range(256))


def _checksum(page: bytes) -> int:
    table, found = _table(), 0
    for byte in page:
        found = (found << 8 & 0xFFFFFFFF) ^ table[found >> 24 ^ byte]
    return found
