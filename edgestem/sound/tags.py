"""What a stem says about itself: the song's tags, and who made it.

`Song.tags` has the names that libsndfile knows.  A stem's title names the stem, and
its `software` begins with `MARK`: that is how a stem is told from a song.  libsndfile
writes the tags of flac and ogg; in mp3 it writes UTF-8 where Latin-1 belongs, so its
ID3 comes from here, and so do the tags of wav.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from edgestem.sound import mp4, ogg
from edgestem.sound.chatter import silenced
from edgestem.sound.covers import Cover, apic
from edgestem.sound.song import load_soundfile

MARK = "edgestem "  # how `software` begins in every stem
_MARK = MARK.encode("ascii")
_MARKS = (_MARK, MARK.encode("utf-16-le"))
_HEAD = 1 << 16  # bytes: texts come before pictures, at the start of a file
_MATROSKA = b"\x1aE\xdf\xa3"  # its tags come before its sound
MAX_TEXT = 1000  # characters of one tag: notes, not books
_FRAMES = {  # of ID3v2.3, which old players read too
    "title": b"TIT2",
    "artist": b"TPE1",
    "album": b"TALB",
    "date": b"TYER",
    "tracknumber": b"TRCK",
    "genre": b"TCON",
    "comment": b"COMM",
    "copyright": b"TCOP",
    "software": b"TSSE",
}
_INFO = {
    "title": b"INAM",
    "artist": b"IART",
    "album": b"IPRD",
    "date": b"ICRD",
    "tracknumber": b"ITRK",
    "genre": b"IGNR",
    "comment": b"ICMT",
    "copyright": b"ICOP",
    "software": b"ISFT",
}
NAMES = tuple(_FRAMES)


def stem_tags(song: Mapping[str, str], stem: str) -> dict[str, str]:
    """Make a stem's tags of its song's: "Title (Instrumental)", and the mark."""
    from edgestem.version import __version__

    found = {name: _clean(song.get(name, "")) for name in NAMES}
    found = {name: text for name, text in found.items() if text}
    if "title" in found:
        found["title"] += f" ({stem.capitalize()})"
    found["software"] = f"{MARK}{__version__}, {stem}"
    return found


def is_stem(path: str | Path) -> bool:
    """Say whether a file carries the mark, wherever it lies.

    What cannot be read is no stem; RF64 (beyond 4 GiB) has no mark.
    """
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return False
    key = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _is_stem(Path(path), (status.st_dev, status.st_ino, *key))


@lru_cache(maxsize=1 << 16)
def _is_stem(path: Path, _: tuple[int, ...]) -> bool:
    """Look once at a file, until it changes: libraries are searched again and again."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            if head[4:8] == b"ftyp":
                found = mp4.items(mp4.read_moov(file.fileno()).payload)
                return any(v.startswith(_MARK) for v in found.get(b"\xa9too", ()))
            if head[:4] == b"OggS":
                pairs = ogg.comments(file.fileno())
                return any(n == "software" and v.startswith(MARK) for n, v in pairs)
    except (OSError, ValueError, StopIteration, struct.error):
        return False
    if head[:4] == _MATROSKA:
        return b"ENCODED_BY" in head and _MARK in head
    if head[:4] != b"RIFF" and not any(mark in head for mark in _MARKS):
        return False  # most songs: no decoder is asked
    soundfile = load_soundfile()
    try:
        with (
            silenced(),
            path.open("rb") as file,
            soundfile.SoundFile(file) as sound,
        ):
            return bool(str(sound.software).startswith(MARK))
    except (OSError, RuntimeError):
        return False


def id3(
    tags: Mapping[str, str], covers: Sequence[Cover] = (), more: bytes = b""
) -> bytes:
    """Make an ID3v2.3 tag, in UTF-16; `more` are frames of `extras.frames`."""
    frames = b"".join(_frame(name, tags[name]) for name in NAMES if name in tags)
    frames += more
    for body in map(apic, covers):
        frames += b"APIC" + struct.pack(">IH", len(body), 0) + body
    size = bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + size + frames


def riff_info(tags: Mapping[str, str]) -> bytes:
    """Make a LIST INFO chunk, which stands behind the samples of a WAV."""
    chunks = b""
    for name, key in _INFO.items():
        if text := tags.get(name, "").encode("utf-8"):
            body = text + b"\0" * (2 - len(text) % 2)
            chunks += key + struct.pack("<I", len(body)) + body
    if not chunks:
        return b""
    return b"LIST" + struct.pack("<I", 4 + len(chunks)) + b"INFO" + chunks


def _frame(name: str, text: str) -> bytes:
    if name == "date":
        return _date(text)
    # Each of several artists has its own mark of the byte order.
    body = b"\1" + text.replace("\0", "\0\ufeff").encode("utf-16")
    if name == "comment":  # language and an empty description come first
        body = b"\1eng\xff\xfe\0\0" + text.encode("utf-16")
    return _framed(_FRAMES[name], body)


def _date(text: str) -> bytes:
    """Write a year, which has four digits there, and the day and the month."""
    frames = _framed(_FRAMES["date"], b"\1" + text[:4].encode("utf-16"))
    if day := re.fullmatch(r"\d{4}-(\d\d)-(\d\d)", text[:10]):
        frames += _framed(b"TDAT", b"\1" + (day[2] + day[1]).encode("utf-16"))
    return frames


def _framed(name: bytes, body: bytes) -> bytes:
    return name + struct.pack(">IH", len(body), 0) + body


def _clean(text: str) -> str:
    """Keep what any container can hold: text of one line, without half characters."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(c if c >= " " else " " for c in text[:MAX_TEXT]).split())
