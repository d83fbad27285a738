"""Boxes of MP4 files: tags, covers and NI's `stem` box, without another program.

Only files whose `moov` is the last box are changed: nothing else moves then.  ffmpeg
writes such files unless it is asked for `faststart`.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

MAX_MOOV = 256 << 20  # bytes: an index of days
_TEXTS = {  # iTunes' boxes of the tags that `tags.NAMES` has
    "title": b"\xa9nam",
    "artist": b"\xa9ART",
    "album": b"\xa9alb",
    "date": b"\xa9day",
    "genre": b"\xa9gen",
    "comment": b"\xa9cmt",
    "copyright": b"cprt",
    "software": b"\xa9too",
}
TEXT, INTEGER, _JPEG, _PNG = 1, 21, 13, 14  # kinds of a `data` box


@dataclass(frozen=True, slots=True)
class Moov:
    """The index of a file."""

    at: int
    """Where its box begins."""
    payload: bytes
    """What is in it."""
    is_last: bool
    """Nothing follows it."""


def box(name: bytes, payload: bytes) -> bytes:
    """Make a box."""
    return struct.pack(">I4s", 8 + len(payload), name) + payload


def boxes(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, payload) of what a box holds.

    Raises
    ------
    ValueError
        A box is longer than what it lies in.
    """
    at = 0
    while at + 8 <= len(payload):
        size, name = struct.unpack_from(">I4s", payload, at)
        n_head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", payload, at + 8)
            n_head = 16
        size = size or len(payload) - at
        if size < n_head or at + size > len(payload):
            raise ValueError("a box is longer than what it lies in")
        yield name, payload[at + n_head : at + size]
        at += size


def read_moov(fd: int) -> Moov:
    """Find the index of an open file.

    Raises
    ------
    ValueError
        There is none, or it is damaged.
    """
    end, at = os.fstat(fd).st_size, 0
    while at + 8 <= end:
        size, name = struct.unpack(">I4s", os.pread(fd, 8, at))
        n_head = 8
        if size == 1:
            (size,) = struct.unpack(">Q", os.pread(fd, 8, at + 8))
            n_head = 16
        size = size or end - at
        if size < n_head or (name == b"moov" and size > MAX_MOOV):
            break
        if name == b"moov":
            payload = os.pread(fd, size - n_head, at + n_head)
            return Moov(at, payload, at + size >= end)
        at += size
    raise ValueError("no MP4 file with an index")


def find(payload: bytes, *names: bytes) -> bytes | None:
    """Follow names from box to box; None where one is missing."""
    for name in names:
        found = next((p for n, p in boxes(payload) if n == name), None)
        if found is None:
            return None
        payload = found[4:] if name == b"meta" else found
    return payload


def items(moov: bytes) -> dict[bytes, list[bytes]]:
    """Return iTunes' tags: box name -> values as they are stored."""
    found: dict[bytes, list[bytes]] = {}
    for name, item in boxes(find(moov, b"udta", b"meta", b"ilst") or b""):
        values = [payload[8:] for kind, payload in boxes(item) if kind == b"data"]
        found.setdefault(name, []).extend(values)
    return found


def user_data(
    tags: Mapping[str, str],
    covers: Sequence[tuple[str, bytes]] = (),
    *,
    stem: bytes = b"",
    more: Sequence[bytes] = (),
) -> bytes:
    """Make a `udta` box.

    Parameters
    ----------
    tags : mapping
        By the names of `tags.NAMES`; NUL stands between several artists.
    covers : sequence of (MIME type, bytes)
        What is neither JPEG nor PNG is left out: the box has no word for it.
    stem : bytes
        NI's JSON, for the `stem` box.
    more : sequence of bytes
        Further boxes of the list; see `extras.boxes`.
    """
    listed = [_text_item(n, text) for n, text in tags.items() if n in _TEXTS]
    listed += more
    if track := re.match(r"(\d+)(?:/(\d+))?", tags.get("tracknumber", "")):
        numbers = (min(int(n or 0), 65535) for n in track.groups())
        listed.append(box(b"trkn", data(0, struct.pack(">4H", 0, *numbers, 0))))
    kinds = {"image/jpeg": _JPEG, "image/png": _PNG}
    pictures = [data(kinds[mime], file) for mime, file in covers if mime in kinds]
    if pictures:
        listed.append(box(b"covr", b"".join(pictures)))
    return box(b"udta", _meta(listed) + (box(b"stem", stem) if stem else b""))


def _meta(listed: Sequence[bytes]) -> bytes:
    handler = bytes(8) + b"mdirappl" + bytes(9)
    inside = box(b"hdlr", handler) + box(b"ilst", b"".join(listed))
    return box(b"meta", bytes(4) + inside)


def _text_item(name: str, text: str) -> bytes:
    values = [data(TEXT, part.encode("utf-8")) for part in text.split("\0")]
    return box(_TEXTS[name], b"".join(values))


def data(kind: int, value: bytes) -> bytes:
    """Make a `data` box of a kind."""
    return box(b"data", struct.pack(">II", kind, 0) + value)


def mark(file: BinaryIO, software: str) -> None:
    """Say who made a file; its other tags stay.

    Raises
    ------
    ValueError
        The index is not the last box, or it is damaged.
    """
    moov = read_moov(file.fileno()).payload
    kept = [box(n, p) for n, p in boxes(find(moov, b"udta") or b"") if n != b"meta"]
    listed = [
        box(name, item)
        for name, item in boxes(find(moov, b"udta", b"meta", b"ilst") or b"")
        if name != _TEXTS["software"]
    ]
    listed.append(_text_item("software", software))
    replace_user_data(file, box(b"udta", b"".join(kept) + _meta(listed)))


def replace_user_data(file: BinaryIO, udta: bytes) -> None:
    """Put a `udta` box in the place of the one that a file has.

    Raises
    ------
    ValueError
        The index is not the last box.
    """
    moov = read_moov(file.fileno())
    if not moov.is_last:
        raise ValueError("the index is not at the end of the file")
    kept = b"".join(box(n, p) for n, p in boxes(moov.payload) if n != b"udta")
    file.seek(moov.at)
    file.write(box(b"moov", kept + udta))
    file.truncate()
    file.flush()
