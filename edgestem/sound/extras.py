"""Tags that libsndfile has no word for, from one container to another.

Album artist, composer, disc, tempo, key, lyrics and ReplayGain; the artists, where
there are several; and what a user has named himself (`own_tags`).
Numbers of the recording (ISRC, UFID, AcoustID) are left behind: a stem is another one.
ReplayGain is the song's: its files are played together, at one level.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgestem.sound import flac, mp4, ogg
from edgestem.sound.covers import id3_frames
from edgestem.sound.own_tags import MAX_OWN, MAX_OWN_TEXT, OWN, own_of

_GAINS = tuple(
    f"replaygain_{whose}_{what}"
    for whose in ("track", "album")
    for what in ("gain", "peak")
)
NAMES = ("albumartist", "composer", "discnumber", "bpm", "key", "lyrics", *_GAINS)
ARTISTS = "artists"  # all of them, with NUL between, where there is more than one
DATE = "date"  # the whole of it, where libsndfile gives the year
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
    named = {name: text for name in NAMES if (text := _clean(found.get(name, "")))}
    artists = [a for part in found.get(ARTISTS, "").split("\0") if (a := _clean(part))]
    several = {ARTISTS: "\0".join(artists)} if len(artists) > 1 else {}
    several |= {DATE: found[DATE]} if DATE in found else {}
    own = {OWN + name: _clean(text) for name, text in own_of(found).items()}
    own = {name: text for name, text in own.items() if 0 < len(text) <= MAX_OWN_TEXT}
    return named | several | dict(list(own.items())[:MAX_OWN])


def corrected(tags: Mapping[str, str], extras: Mapping[str, str]) -> Mapping[str, str]:
    """Correct what libsndfile reads: the last artist of several, a year for a date."""
    better = {"date": extras[DATE]} if DATE in extras else {}
    if ARTISTS in extras:
        better["artist"] = extras[ARTISTS].split("\0")[0]
    return {**tags, **better}


def with_artists(tags: Mapping[str, str], extras: Mapping[str, str]) -> dict[str, str]:
    """Put all artists into the tag that readers of one artist know, NUL between."""
    return {**tags, "artist": extras[ARTISTS]} if ARTISTS in extras else dict(tags)


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
    yield ARTISTS, "\0".join(text for name, text in pairs if name == "artist")
    known = {key for keys in _COMMENTS.values() for key in keys}
    for name in found.keys() - known:
        yield OWN + name.upper(), found[name]


def _of_id3(fd: int, head: bytes) -> Iterator[tuple[str, str]]:
    names = {frame: name for name, frame in _FRAMES.items()} | {b"TPE1": ARTISTS}
    day = {b"TYER": "", b"TDAT": ""}
    for frame, body in id3_frames(fd, head):
        if frame in day:
            day[frame] = _decode(body[0], body[1:])
        elif frame in names:
            yield names[frame], _decode(body[0], body[1:])
        elif frame == b"USLT":
            yield "lyrics", _decode(body[0], body[4:]).partition("\0")[2]
        elif frame == b"TXXX":
            yield _named(*_decode(body[0], body[1:]).split("\0"))
    if all(re.fullmatch(r"\d{4}", text) for text in day.values()):
        yield DATE, f"{day[b'TYER']}-{day[b'TDAT'][2:]}-{day[b'TDAT'][:2]}"


def _named(what: str, *texts: str) -> tuple[str, str]:
    """Take a tag that has any name."""
    is_gain = what.lower() in _GAINS
    return what.lower() if is_gain else OWN + what, "; ".join(texts)


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
    if values := found.get(b"\xa9ART"):
        yield ARTISTS, b"\0".join(values).decode("utf-8", "replace")
    if values := found.get(b"disk"):
        disc, n_discs = (int.from_bytes(values[0][at : at + 2], "big") for at in (2, 4))
        yield "discnumber", f"{disc}/{n_discs}" if n_discs else str(disc)
    if values := found.get(b"tmpo"):
        yield "bpm", str(int.from_bytes(values[0], "big"))
    for kind, free in mp4.boxes(mp4.find(moov, b"udta", b"meta", b"ilst") or b""):
        if kind == b"----":
            parts = dict(mp4.boxes(free))
            name = parts.get(b"name", b"")[4:].decode("utf-8", "replace")
            what = "key" if name.lower() == "initialkey" else name.lower()
            what = what if what in ("key", *_GAINS) else OWN + name
            yield what, parts.get(b"data", b"")[8:].decode("utf-8", "replace")


# ---- writing -----------------------------------------------------------------------


def frames(extras: Mapping[str, str]) -> bytes:
    """Make frames of ID3v2.3, in UTF-16; artists are `tags.id3`'s."""
    made = b""
    for name, text in _listed(extras):
        if name in _FRAMES:
            made += _frame(_FRAMES[name], b"\1" + text.encode("utf-16"))
        elif name == "lyrics":
            made += _frame(b"USLT", b"\1eng\xff\xfe\0\0" + text.encode("utf-16"))
        else:
            what = _name(name).encode("utf-16") + b"\0\0"
            made += _frame(b"TXXX", b"\1" + what + text.encode("utf-16"))
    return made


def _frame(name: bytes, body: bytes) -> bytes:
    return name + struct.pack(">IH", len(body), 0) + body


def as_comments(extras: Mapping[str, str]) -> list[tuple[str, str]]:
    """Name these tags as vorbis comments are; the first artist is there already."""
    more = [("ARTIST", text) for text in extras.get(ARTISTS, "").split("\0")[1:]]
    named = [(_comment(name), text) for name, text in _listed(extras)]
    return named + more


def _comment(name: str) -> str:
    return _COMMENTS[name][0].upper() if name in _COMMENTS else _name(name).upper()


def _name(name: str) -> str:
    """Give a tag's name where any name will do."""
    return name.removeprefix(OWN) if name.startswith(OWN) else name.upper()


def _listed(extras: Mapping[str, str]) -> list[tuple[str, str]]:
    """Leave out what stands among the other tags."""
    return [pair for pair in extras.items() if pair[0] not in (ARTISTS, DATE)]


def boxes(extras: Mapping[str, str]) -> list[bytes]:
    """Make the boxes of iTunes' list; artists are `mp4.user_data`'s."""
    made = []
    for name, text in _listed(extras):
        if name in _BOXES:
            made.append(mp4.box(_BOXES[name], mp4.data(mp4.TEXT, text.encode())))
        elif name in ("discnumber", "bpm"):
            made += _number(name, text)
        else:
            key = "initialkey" if name == "key" else name.removeprefix(OWN)
            mean = mp4.box(b"mean", bytes(4) + _MEAN)
            free = mean + mp4.box(b"name", bytes(4) + key.encode())
            free += mp4.data(mp4.TEXT, text.encode())
            made.append(mp4.box(b"----", free))
    return made


def _number(name: str, text: str) -> list[bytes]:
    """Make the box of a number, or of "1/2"; none where it does not fit."""
    parts = [part.split(".")[0].strip() for part in f"{text}/0".split("/")[:2]]
    found = [int(part) for part in parts if part.isdecimal() and int(part) < 1 << 16]
    if len(found) < 2:
        return []
    if name == "bpm":
        return [mp4.box(b"tmpo", mp4.data(mp4.INTEGER, struct.pack(">H", found[0])))]
    return [mp4.box(b"disk", mp4.data(0, struct.pack(">3H", 0, *found)))]
