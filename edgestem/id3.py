"""Tags of MP3 files: libsndfile does not give them."""

from __future__ import annotations

import os

from edgestem.tails import n_id3

_NAMES = {
    b"TIT2": "title",
    b"TPE1": "artist",
    b"TALB": "album",
    b"TPE2": "albumartist",
    b"TYER": "date",
    b"TDRC": "date",
    b"TRCK": "tracknumber",
    b"TCON": "genre",
    b"COMM": "comment",
    b"TCOP": "copyright",
    b"TT2": "title",
    b"TP1": "artist",
    b"TAL": "album",
    b"TP2": "albumartist",
    b"TYE": "date",
    b"TRK": "tracknumber",
    b"TCO": "genre",
    b"COM": "comment",
    b"TCR": "copyright",
}
_CODES = ("latin-1", "utf-16", "utf-16-be", "utf-8")
_MAX = 1 << 20  # bytes of text frames in front of pictures


def read_tags(fd: int) -> dict[str, str]:
    """Read the ID3v2 tag at the start of a file, or the ID3v1 tag at its end.

    The descriptor's place does not move; what makes no sense is left out.
    """
    head = os.pread(fd, 10, 0)
    size = n_id3(head)
    found = _frames(os.pread(fd, min(size, _MAX), 0), head[3]) if size else {}
    return found or _old(os.pread(fd, 128, max(os.fstat(fd).st_size - 128, 0)))


def _frames(data: bytes, version: int) -> dict[str, str]:
    if data[5] & 0x80:  # a zero was put behind every 255
        data = data[:10] + data[10:].replace(b"\xff\0", b"\xff")
    at, found = 10, dict[str, str]()
    if data[5] & 0x40:
        at += int.from_bytes(data[10:14], "big") + (4 if version == 3 else 0)
    n_name, n_head = (3, 6) if version == 2 else (4, 10)
    while at + n_head <= len(data) and data[at]:
        name, size = data[at : at + n_name], _size(data[at + n_name :], version)
        body = data[at + n_head : at + n_head + size]
        if name in _NAMES and len(body) == size and (text := _text(name, body)):
            found.setdefault(_NAMES[name], text)
        at += n_head + size
    return found


def _size(data: bytes, version: int) -> int:
    if version == 4:
        return sum(
            (c & 0x7F) << s for c, s in zip(data[:4], (21, 14, 7, 0), strict=False)
        )
    return int.from_bytes(data[: 3 if version == 2 else 4], "big")


def _text(name: bytes, body: bytes) -> str:
    if not body or body[0] >= len(_CODES):
        return ""
    text = body[1:]
    if name.startswith(b"COM"):  # language, then a description
        text = text[3:]
    words = text.decode(_CODES[body[0]], "replace").lstrip("\ufeff").split("\0")
    if name.startswith(b"COM"):
        words = words[1:] if not words[0] else []  # described ones are a program's
    return words[0].strip("\ufeff ") if words else ""


def _old(data: bytes) -> dict[str, str]:
    if data[:3] != b"TAG":
        return {}
    fields = (("title", 3, 33), ("artist", 33, 63), ("album", 63, 93), ("date", 93, 97))
    texts = {
        name: data[a:b].split(b"\0")[0].decode("latin-1").strip()
        for name, a, b in fields
    }
    return {name: text for name, text in texts.items() if text}
