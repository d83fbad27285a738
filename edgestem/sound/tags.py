"""What a stem says about itself: the song's tags, and who made it.

`Song.tags` has the names that libsndfile knows.  A stem's title names the stem, and
its `software` begins with `MARK`: that is how a stem is told from a song.  libsndfile
writes the tags of flac and ogg; in mp3 it writes UTF-8 where Latin-1 belongs, so its
ID3 comes from here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from edgestem.sound.chatter import silenced
from edgestem.sound.song import load_soundfile

MARK = "edgestem "  # how `software` begins in every stem of flac, ogg or mp3
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
    """Say whether a file carries the mark; wav stems have none.

    What cannot be read is no stem.
    """
    soundfile = load_soundfile()
    try:
        with (
            silenced(),
            Path(path).open("rb") as file,
            soundfile.SoundFile(file) as sound,
        ):
            return bool(str(sound.software).startswith(MARK))
    except (OSError, RuntimeError):
        return False


def id3(tags: Mapping[str, str]) -> bytes:
    """Make an ID3v2.3 tag, in UTF-16."""
    frames = b"".join(_frame(name, tags[name]) for name in NAMES if name in tags)
    size = bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + size + frames


def _frame(name: str, text: str) -> bytes:
    if name == "date":  # a year has four digits there
        text = text[:4]
    body = b"\1" + text.encode("utf-16")
    if name == "comment":  # language and an empty description come first
        body = b"\1eng\xff\xfe\0\0" + text.encode("utf-16")
    return _FRAMES[name] + struct.pack(">IH", len(body), 0) + body


def _clean(text: str) -> str:
    """Keep what any container can hold: text of one line, without half characters."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(c if c >= " " else " " for c in text[:MAX_TEXT]).split())
