"""How programs read an UltraStar text, by their sources.

UltraStar Deluxe: src/base/USong.pas, ReadTXTHeader.  Performous: txtParseField in
game/songparser-txt.cc.  Only what decides which files are played is told here.
"""

from __future__ import annotations

from pathlib import Path

_UTF8 = b"\xef\xbb\xbf"
_PAGES = {"CP1250": "cp1250", "CP1252": "cp1252", "UTF8": "utf-8", "UTF-8": "utf-8"}


def lines_of(data: bytes) -> list[bytes]:
    """Split as both programs do; a CR alone ends a line in old texts of Macs."""
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


def usdx(text: Path) -> dict[str, Path | None]:
    """Which files UltraStar Deluxe plays: song and instrumental.

    Raises
    ------
    ValueError
        It would not list the song.
    """
    data = text.read_bytes()
    is_marked = data.startswith(_UTF8)
    tags: dict[str, bytes] = {}
    for line in lines_of(data.removeprefix(_UTF8)):
        if not line.startswith(b"#"):
            break
        name, _, value = line[1:].partition(b":")
        if value.strip():
            tags[name.strip().decode("latin-1").upper()] = value.strip()
    version = tuple(int(n) for n in tags.get("VERSION", b"0.3.0").split(b"."))
    page = "utf-8" if is_marked else ""
    if version >= (1, 0, 0):
        page = "utf-8"
    elif "ENCODING" in tags:
        page = _PAGES.get(tags["ENCODING"].decode("latin-1").upper(), "")
    names = ("AUDIO", "MP3") if version >= (1, 0, 0) else ("MP3",)
    songs = [_file(text, tags[name], page) for name in names if name in tags]
    song = next((path for path in songs if path), None)
    if version >= (2, 0, 0) or not song or not {"TITLE", "ARTIST", "BPM"} <= set(tags):
        raise ValueError(f"{text} would not be listed")
    instrumental = _file(text, tags.get("INSTRUMENTAL", b""), page)
    return {"song": song, "instrumental": instrumental}


def performous(text: Path) -> dict[str, Path | None]:
    """Which files Performous has: song, instrumental, vocals.

    It guesses the code page of the whole text.

    Raises
    ------
    ValueError
        It would not list the song.
    """
    data = text.read_bytes().removeprefix(_UTF8)
    page = "" if _is_utf8(data) else "cp1252"
    tags: dict[str, bytes] = {}
    for line in lines_of(data):
        if line and not line.startswith(b"#"):
            break
        name, colon, value = line[1:].partition(b":")
        if line and not colon:
            raise ValueError("Invalid txt format, should be #key:value")
        if value.strip():
            key = name.strip().decode("latin-1").upper()
            tags["SONG" if key in ("MP3", "AUDIO") else key] = value.strip()
    found = {
        "song": _file(text, tags.get("SONG", b""), page),
        "instrumental": _file(text, tags.get("INSTRUMENTAL", b""), page),
        "vocals": _file(text, tags.get("VOCALS", b""), page),
    }
    if not found["song"] or not {"TITLE", "ARTIST"} <= set(tags):
        raise ValueError(f"{text} would not be listed")
    return found


def _file(text: Path, value: bytes, page: str) -> Path | None:
    """Find a file of a text's folder; without a page it is UTF-8 where that fits."""
    page = page or ("utf-8" if _is_utf8(value) else "cp1252")
    path = text.parent / value.decode(page, "replace")
    return path if value and path.is_file() else None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
