"""Tags that libsndfile has no word for, from one container to another.

Album artist, composer, disc, tempo, key, lyrics and ReplayGain.
Numbers of the recording (ISRC, UFID, AcoustID) are left behind: a stem is another one.
ReplayGain is the song's: its files are played together, at one level.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgestem.sound import flac, mp4, ogg
from edgestem.sound.covers import id3_frames

_GAINS = tuple(
    f"replaygain_{whose}_{what}"
    for whose in ("track", "album")
    for what in ("gain", "peak")
)
NAMES = ("albumartist", "composer", "discnumber", "bpm", "key", "lyrics", *_GAINS)
MAX_TEXT = 20_000  # characters: lyrics of an opera
_FRAMES = {
    "albumartist": b"TPE2",
    "composer": b"TCOM",
    "discnumber": b"TPOS",
    "bpm": b"TBPM",
    "key": b"TKEY",
}
_BOXES = {"albumartist": b"aART", "composer": b"\xa9wrt", "lyrics": b"\xa9lyr"}
# What vorbis comments are called, first what we write.
_COMMENTS = {
    **{name: (name,) for name in NAMES},
    "albumartist": ("albumartist", "album artist", "album_artist"),
    "bpm": ("bpm", "tbpm"),
    "key": ("initialkey", "key", "tkey"),
    "lyrics": ("lyrics", "unsyncedlyrics"),
    "discnumber": ("discnumber", "disc"),
}
_ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")
_MEAN = b"com.apple.iTunes"


def read_extras(path: str | Path) -> dict[str, str]:
    """Find these tags of a song; what cannot be read has none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError):
        return {}
    try:
        found = dict(_read(fd))
    except (OSError, ValueError, IndexError, StopIteration, struct.error, LookupError):
        return {}
    finally:
        os.close(fd)
    return {name: text for name in NAMES if (text := _clean(found.get(name, "")))}


def _clean(text: str) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")[:MAX_TEXT]
    return "".join(c for c in text.replace("\r", "") if c >= " " or c == "\n").strip()


def _read(fd: int) -> Iterator[tuple[str, str]]:
    head = os.pread(fd, 12, 0)
    if head[:3] == b"ID3":
        yield from _of_id3(fd, head)
    elif head[:4] == b"fLaC":
        yield from _of_comments(flac.comments(fd))
    elif head[:4] == b"OggS":
        yield from _of_comments(list(ogg.comments(fd)))
    elif head[4:8] == b"ftyp":
        yield from _of_mp4(fd)


def _of_comments(pairs: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    found = dict(reversed(pairs))  # the first of several counts
    for name, keys in _COMMENTS.items():
        if text := next((found[key] for key in keys if found.get(key)), ""):
            yield name, text


def _of_id3(fd: int, head: bytes) -> Iterator[tuple[str, str]]:
    names = {frame: name for name, frame in _FRAMES.items()}
    for frame, body in id3_frames(fd, head):
        if frame in names:
            yield names[frame], _decode(body[0], body[1:])
        elif frame in (b"TXXX", b"USLT"):
            start = 4 if frame == b"USLT" else 1
            what, _, text = _decode(body[0], body[start:]).partition("\0")
            if frame == b"USLT":
                yield "lyrics", text
            elif what.lower() in _GAINS:
                yield what.lower(), text


def _decode(kind: int, data: bytes) -> str:
    """Decode a text; each of several UTF-16 texts has a mark of its own."""
    text = data.decode(_ENCODINGS[kind], "replace").rstrip("\0")
    return text.replace("\ufeff", "")


def _of_mp4(fd: int) -> Iterator[tuple[str, str]]:
    moov = mp4.read_moov(fd).payload
    found = mp4.items(moov)
    for name, box in _BOXES.items():
        if values := found.get(box):
            yield name, values[0].decode("utf-8", "replace")
    if values := found.get(b"disk"):
        yield "discnumber", str(int.from_bytes(values[0][2:4], "big"))
    if values := found.get(b"tmpo"):
        yield "bpm", str(int.from_bytes(values[0], "big"))
    for kind, free in mp4.boxes(mp4.find(moov, b"udta", b"meta", b"ilst") or b""):
        if kind == b"----":
            parts = dict(mp4.boxes(free))
            what = parts.get(b"name", b"")[4:].decode("utf-8", "replace").lower()
            what = "key" if what == "initialkey" else what
            if what in ("key", *_GAINS):
                yield what, parts.get(b"data", b"")[8:].decode("utf-8", "replace")


# ---- writing -----------------------------------------------------------------------


def frames(extras: Mapping[str, str]) -> bytes:
    """Make frames of ID3v2.3, in UTF-16."""
    made = b""
    for name, text in extras.items():
        if name in _FRAMES:
            made += _frame(_FRAMES[name], b"\1" + text.encode("utf-16"))
        elif name == "lyrics":
            made += _frame(b"USLT", b"\1eng\xff\xfe\0\0" + text.encode("utf-16"))
        else:
            what = name.upper().encode("utf-16") + b"\0\0"
            made += _frame(b"TXXX", b"\1" + what + text.encode("utf-16"))
    return made


def _frame(name: bytes, body: bytes) -> bytes:
    return name + struct.pack(">IH", len(body), 0) + body


def as_comments(extras: Mapping[str, str]) -> list[tuple[str, str]]:
    """Name these tags as vorbis comments are."""
    return [(_COMMENTS[name][0].upper(), text) for name, text in extras.items()]


def boxes(extras: Mapping[str, str]) -> list[bytes]:
    """Make the boxes of iTunes' list."""
    made = []
    for name, text in extras.items():
        if name in _BOXES:
            made.append(mp4.box(_BOXES[name], mp4.data(mp4.TEXT, text.encode())))
        elif name in ("discnumber", "bpm"):
            number = text.split("/")[0].split(".")[0]
            if number.isdecimal() and int(number) < 1 << 16:
                made.append(_number(name, int(number)))
        else:
            key = "initialkey" if name == "key" else name
            mean = mp4.box(b"mean", bytes(4) + _MEAN)
            free = mean + mp4.box(b"name", bytes(4) + key.encode())
            free += mp4.data(mp4.TEXT, text.encode())
            made.append(mp4.box(b"----", free))
    return made


def _number(name: str, number: int) -> bytes:
    if name == "bpm":
        return mp4.box(b"tmpo", mp4.data(mp4.INTEGER, struct.pack(">H", number)))
    return mp4.box(b"disk", mp4.data(0, struct.pack(">3H", 0, number, 0)))
