"""Covers: pictures in a song's file, read from one container and made for another.

Read are ID3v2 (APIC, PIC), FLAC (PICTURE), Ogg (METADATA_BLOCK_PICTURE) and MP4
(`covr`).  A file is untrusted: whatever does not fit its own sizes holds no covers.
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgestem.sound import flac, mp4, ogg

PICTURE = "METADATA_BLOCK_PICTURE"  # the comment of Ogg that holds one
FRONT = 3  # the picture type "front cover", of ID3v2 and FLAC alike
MAX_BYTES = 16 << 20  # of one tag: FLAC cannot hold more in one block
_MAX_COVERS = 8


@dataclass(frozen=True, slots=True)
class Cover:
    """One picture."""

    data: bytes
    """The picture's file."""
    mime: str
    """image/jpeg, image/png, ..."""
    kind: int = FRONT
    """0 to 20, as ID3v2 and FLAC number them."""


def read_covers(path: str | Path) -> tuple[Cover, ...]:
    """Find the covers of a song, at most 8; none where they cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError):
        return ()
    try:
        return tuple(_take(_read(fd)))
    except (OSError, ValueError, IndexError, struct.error, LookupError):
        return ()
    finally:
        os.close(fd)


def _take(found: Iterator[Cover]) -> Iterator[Cover]:
    n_left = _MAX_COVERS
    for cover in found:
        if cover.data and n_left and cover.mime != "-->":  # a link is no picture
            n_left -= 1
            yield cover


def _read(fd: int) -> Iterator[Cover]:
    head = os.pread(fd, 12, 0)
    if head[:3] == b"ID3":
        yield from _id3(fd, head)
        size = 10 + _synchsafe(head[6:10])
        if os.pread(fd, 4, size) == b"fLaC":
            yield from _flac(fd, size)
    elif head[:4] == b"fLaC":
        yield from _flac(fd, 0)
    elif head[:4] == b"OggS":
        yield from _ogg(fd)
    elif head[4:8] == b"ftyp":
        yield from _mp4(fd)


def sniff(data: bytes) -> str:
    """Name the kind of a picture by its first bytes."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return "image/gif" if data[:4] == b"GIF8" else "image/jpeg"


# ---- reading -----------------------------------------------------------------------


def _synchsafe(data: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(data, (21, 14, 7, 0)))  # noqa: B905 - a cut tag has fewer


def _id3(fd: int, head: bytes) -> Iterator[Cover]:
    for name, body in id3_frames(fd, head):
        if name in (b"APIC", b"PIC"):
            yield _apic(body, is_old=name == b"PIC")


def id3_frames(fd: int, head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and body of the frames of an ID3v2 tag that begins a file.

    Raises
    ------
    ValueError, IndexError
        It is damaged.
    """
    version, flags, size = head[3], head[5], _synchsafe(head[6:10])
    tag = os.pread(fd, min(size, 4 * MAX_BYTES), 10)
    if flags & 0x80 and version < 4:  # a zero stands behind every FF
        tag = tag.replace(b"\xff\0", b"\xff")
    n_id, n_head = (3, 6) if version == 2 else (4, 10)
    at = _extended(tag, version) if flags & 0x40 and version > 2 else 0
    while at + n_head <= len(tag) and tag[at]:
        name, sizes = tag[at : at + n_id], tag[at + n_id : at + n_head]
        n = _synchsafe(sizes[:4]) if version == 4 else _big(sizes[:n_id])
        body = tag[at + n_head : at + n_head + n]
        at += n_head + n
        if version == 4 and sizes[5] & 2:
            body = body.replace(b"\xff\0", b"\xff")
        yield name, body[4:] if version == 4 and sizes[5] & 1 else body


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _extended(tag: bytes, version: int) -> int:
    return _synchsafe(tag[:4]) if version == 4 else _big(tag[:4]) + 4


def _apic(body: bytes, *, is_old: bool) -> Cover:
    end = 4 if is_old else body.index(0, 1) + 1
    mime = body[1:end].rstrip(b"\0").decode("latin-1")
    kind, text = body[end], body[end + 1 :]
    if body[0] in (1, 2):  # UTF-16: two zeros at an even place end the description
        at = next(i for i in range(0, len(text), 2) if text[i : i + 2] == b"\0\0")
        data = text[at + 2 :]
    else:
        data = text[text.index(0) + 1 :]
    return Cover(data, mime if mime == "-->" else sniff(data), kind)


def _flac(fd: int, at: int) -> Iterator[Cover]:
    for kind, start, size in flac.blocks(fd, at):
        if kind == flac.PICTURE:
            yield _picture(os.pread(fd, size, start))


def _picture(block: bytes) -> Cover:
    kind, n = struct.unpack_from(">II", block)
    mime = block[8 : 8 + n].decode("latin-1")
    at = 8 + n
    at += 4 + struct.unpack_from(">I", block, at)[0] + 16
    size = struct.unpack_from(">I", block, at)[0]
    data = block[at + 4 : at + 4 + size]
    if len(data) < size:
        raise ValueError("a picture is cut short")
    return Cover(data, mime if mime == "-->" else sniff(data), kind)


def _ogg(fd: int) -> Iterator[Cover]:
    for name, value in ogg.comments(fd):
        if name == PICTURE.lower():
            yield _picture(base64.b64decode(value))


def _mp4(fd: int) -> Iterator[Cover]:
    moov = mp4.read_moov(fd)
    for item in mp4.items(moov.payload).get(b"covr", ()):
        yield Cover(item, sniff(item))


# ---- writing -----------------------------------------------------------------------


def apic(cover: Cover) -> bytes:
    """Make the body of an APIC frame of ID3v2.3."""
    return b"\0%s\0%c\0" % (cover.mime.encode("latin-1"), cover.kind) + cover.data


def picture(cover: Cover) -> bytes:
    """Make FLAC's PICTURE block, which Ogg holds too."""
    mime = cover.mime.encode("latin-1")
    head = struct.pack(">II", cover.kind, len(mime)) + mime
    return head + bytes(20) + struct.pack(">I", len(cover.data)) + cover.data


def picture_comment(cover: Cover) -> str:
    """Make the value of METADATA_BLOCK_PICTURE, in base64."""
    return base64.b64encode(picture(cover)).decode("ascii")


def flac_blocks(covers: tuple[Cover, ...]) -> bytes:
    """Make the metadata blocks of covers, none of them the last one."""
    blocks = [picture(c) for c in covers if len(c.data) < MAX_BYTES - 1024]
    return b"".join(b"\6" + len(b).to_bytes(3, "big") + b for b in blocks)
