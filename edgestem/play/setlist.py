"""Set lists: which songs, in which order, how.

TOML of a plain kind (a line is `key = value`), so that what is wrong can be named by
its line, and Python 3.10 reads it too.  `.m3u` and `.m3u8` are read as they are.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from edgestem.errors import EdgestemError
from edgestem.play.chain import SongSettings
from edgestem.play.click import Beats
from edgestem.play.items import Item
from edgestem.play.set_keys import SET_KEYS, SONG_KEYS, Keys, section_times

PLAYLISTS = (".m3u", ".m3u8")
SUFFIXES = (".toml", *PLAYLISTS)
_LINE = re.compile(r"([A-Za-z0-9_-]+)\s*=\s*(.*)")
_TABLE = re.compile(r"(\[\[song\]\]|\[song\.sections\])\s*(#.*)?")


@dataclass(slots=True)
class SetList:
    """What a set list file says."""

    items: list[Item] = field(default_factory=list)
    loudness: float | None = None
    """LUFS that songs are evened to; None: they are as they are."""
    missing: list[str] = field(default_factory=list)
    """A sentence for each song that is not there."""


def is_set_list(path: Path) -> bool:
    """Say whether a name is that of a set list."""
    return path.suffix.lower() in SUFFIXES


def read_set_list(path: Path) -> SetList:
    """Read a set list; songs that are not there are left out and named.

    Raises
    ------
    EdgestemError
        `bad_set`: it cannot be read, a key or a value is wrong (line and key are
        named), it has no song, or none of its songs is there.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        reason = getattr(cause, "strerror", None) or "it is not UTF-8 text"
        raise EdgestemError(
            f"the set list {path} cannot be read: {reason}", code="bad_set"
        ) from cause
    if path.suffix.lower() in PLAYLISTS:
        lines = (line.strip() for line in text.splitlines())
        songs = [{"file": line} for line in lines if line and line[0] != "#"]
        return _made(path, {}, songs)
    return _made(path, *parse_set(path, text))


def parse_set(path: Path, text: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read the text of a set list: what stands at the top, and each song's values.

    Raises
    ------
    EdgestemError
        `bad_set`: line and key are named.
    """
    return _Parser(path, text).parse()


class KeyLine(NamedTuple):
    """A line `key = value`: where its value stands."""

    key: str
    start: int
    end: int


def key_of_line(line: str) -> KeyLine | None:
    """Find the key of a line that was read without complaint; None: it has none."""
    indent = len(line) - len(line.lstrip())
    found = _LINE.fullmatch(line.strip())
    if found is None:
        return None
    text, start = found[2], indent + found.start(2)
    literal = re.match(r"'[^']*'", text)
    end = literal.end() if literal else json.JSONDecoder().raw_decode(text)[1]
    return KeyLine(found[1], start, start + end)


def table_of_line(line: str) -> str:
    """Tell the table that a line begins; empty: none."""
    found = _TABLE.fullmatch(line.strip())
    return found[1] if found else ""


class _Parser:
    """Reads the lines."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._lines = path, text.splitlines()
        self._top: dict[str, Any] = {}
        self._songs: list[dict[str, Any]] = []
        self._table = self._top
        self._keys: Keys | None = SET_KEYS  # None: names are free

    def parse(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        for number, raw in enumerate(self._lines, 1):
            line = raw.strip()
            if line and line[0] != "#":
                self._line(number, line)
        for song in self._songs:
            if "file" not in song:
                self._wrong(song["line"], 'this song has no file = "..."')
        return self._top, self._songs

    def _line(self, number: int, line: str) -> None:
        if line[0] == "[":
            self._begin(number, line)
            return
        found = _LINE.fullmatch(line)
        if found is None:
            self._wrong(number, f"expected key = value, got {line[:40]}")
        key, value = found[1], self._value(number, found[1], found[2])
        check = section_times if self._keys is None else self._keys.get(key)
        if check is None:
            known = ", ".join(self._keys or ())
            self._wrong(number, f"unknown key {key}: there are {known}")
        if key in self._table:
            self._wrong(number, f"{key} stands here twice")
        try:
            self._table[key] = check(value)
        except ValueError as error:
            self._wrong(number, f"{key}: {error}, got {found[2][:40]}")

    def _begin(self, number: int, line: str) -> None:
        found = _TABLE.fullmatch(line)
        if found is None:
            self._wrong(
                number, f"expected [[song]] or [song.sections], got {line[:40]}"
            )
        if found[1] == "[[song]]":
            self._table, self._keys = {"line": number}, SONG_KEYS
            self._songs.append(self._table)
        elif not self._songs:
            self._wrong(number, "[song.sections] stands before the first [[song]]")
        else:
            self._table = self._songs[-1].setdefault("sections", {})
            self._keys = None

    def _value(self, number: int, key: str, text: str) -> Any:
        literal = re.fullmatch(r"'([^']*)'\s*(#.*)?", text)
        if literal:
            return literal[1]
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            self._wrong(
                number, f"{key}: no text in quotes, number, list, true or false"
            )
        rest = text[end:].strip()
        if rest and rest[0] != "#":
            self._wrong(
                number, f"{key}: nothing may stand behind the value: {rest[:40]}"
            )
        return value

    def _wrong(self, number: int, what: str) -> NoReturn:
        raise EdgestemError(f"{self._path}, line {number}: {what}", code="bad_set")


def _made(path: Path, top: dict[str, Any], songs: list[dict[str, Any]]) -> SetList:
    """Turn tables into a set."""
    found = SetList(loudness=top.get("loudness"))
    if not songs:
        raise EdgestemError(f"{path} has no song", code="bad_set")
    for number, song in enumerate(songs):
        item = make_item(path.parent / song["file"], {**top, **song})
        item.number = number
        if item.path.is_file():
            found.items.append(item)
        else:
            found.missing.append(f"{item.path} is not there")
    if not found.items:
        raise EdgestemError(
            f"{path}: no song of the set is there ({found.missing[0]}): is the disk "
            "mounted, and does the set list lie beside its songs?",
            code="bad_set",
        )
    return found


def make_item(path: Path, said: dict[str, Any]) -> Item:
    """Make one song of what is said of it; keys as in a set list, checked."""
    beats = None
    if "bpm" in said:
        beats = Beats(
            said["bpm"],
            said.get("first_beat", 0.0),
            said.get("meter", 4),
            said.get("count_in", 0),
        )
    settings = SongSettings(
        key=said.get("key", 0.0),
        tempo=said.get("tempo", 100) / 100,
        gain=10 ** (said.get("gain", 0.0) / 20),
        has_tagged_gain=said.get("replaygain", False),
        start=said.get("start", 0.0),
        end=said.get("end"),
        beats=beats,
        has_click=said.get("click", False),
        sections=said.get("sections", {}),
    )
    return Item(
        path, settings, said.get("title", ""), said.get("next", False),
        said.get("vocals"), said.get("instrumental"),
        midi=said.get("midi", ()),
    )  # fmt: skip
