"""A set list that is written back: the lines of what changed, and no others.

Comments, blank lines and line ends stay.  The new text is read as a set list before it
takes the file's name; how the set was before the show's first save is kept beside it,
under the name with a tilde.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from edgestem.errors import EdgestemError
from edgestem.play.items import Item
from edgestem.play.setlist import PLAYLISTS, key_of_line, parse_set, table_of_line
from edgestem.stems import SILENT_DB

NEUTRAL = {"key": "0", "tempo": "100"}  # what a song has that says nothing
DEFAULT_LEVELS = {"vocals": SILENT_DB, "instrumental": 0.0}
_COMMENT = re.compile(r"\s*#")


class SetFile:
    """The file behind a show's songs.

    Parameters
    ----------
    path : Path
        Of a set list that was read.
    """

    def __init__(self, path: Path) -> None:
        self._name, self._path = path, path.resolve()
        self._known = self._path.read_bytes()
        self._is_kept = False
        self._lock = threading.Lock()

    def save(
        self, items: Sequence[Item], index: int, levels: dict[str, float] | None = None
    ) -> None:
        """Write the order of the songs, and what is set of one of them.

        Parameters
        ----------
        items : sequence of Item
            As they are played; their numbers are brought up to date.
        index : int
            The song whose key and tempo are written.
        levels : dict, optional
            Its faders, decibels by name.

        Raises
        ------
        EdgestemError
            `bad_set`: it is a playlist, or was changed meanwhile; `os_error`.
        """
        with self._lock:
            try:
                self._save(items, index, levels or {})
            except OSError as cause:
                raise EdgestemError(
                    f"{self._name} is not saved: {cause.strerror}", code="os_error"
                ) from cause

    def _save(
        self, items: Sequence[Item], index: int, levels: dict[str, float]
    ) -> None:
        self._check()
        head, songs = _blocks(self._known.decode())
        item = items[index]
        block = songs[item.number]
        values = _values(item, levels)
        for key, value in values.items():
            _set(block, key, value)
        order = _order([item.number for item in items], len(songs))
        text = "".join(head + [line for n in order for line in songs[n]])
        parse_set(self._name, text.removeprefix("\ufeff"))
        self._write(text.encode())
        for name, level in levels.items():  # what the song brings from now on
            if name in values:
                setattr(item, f"{name}_db", level)
        for item in items:
            item.number = order.index(item.number)

    def _check(self) -> None:
        if self._path.suffix.lower() in PLAYLISTS:
            raise EdgestemError(
                f"{self._name} is a playlist and holds no key: make a .toml of it",
                code="bad_set",
            )
        if self._path.read_bytes() != self._known:
            raise EdgestemError(
                f"{self._name} was changed by another program: start the show again",
                code="bad_set",
            )

    def _write(self, data: bytes) -> None:
        if data == self._known:
            return
        if not self._is_kept:
            replace_whole(self._path.with_name(self._path.name + "~"), self._known)
            self._is_kept = True
        replace_whole(self._path, data, like=self._path)
        self._known = data


def replace_whole(path: Path, data: bytes, like: Path | None = None) -> None:
    """Give a file its new content at once, on the disk; it keeps the rights of `like`.

    Raises
    ------
    OSError
        The file is as it was.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with part.open("wb") as file:
            file.write(data)
            if like is not None:
                status = like.stat()
                os.fchmod(file.fileno(), status.st_mode & 0o7777)
                with contextlib.suppress(OSError):  # only root may give it away
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a file system without it: nothing to be done
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _values(item: Item, levels: dict[str, float]) -> dict[str, str]:
    """Tell what the file should say of a song."""
    found = {
        "key": f"{item.settings.key:g}",
        "tempo": f"{item.settings.tempo * 100:g}",
    }
    for name, level in levels.items():
        before = getattr(item, f"{name}_db")
        if level != (DEFAULT_LEVELS[name] if before is None else before):
            found[name] = '"-inf"' if level <= SILENT_DB else f"{level:g}"
    return found


def _blocks(text: str) -> tuple[list[str], list[list[str]]]:
    """Part a text into lines before the songs, and each song's own.

    Comments that stand right above a song are its own.
    """
    lines = text.splitlines(keepends=True)
    if lines and lines[-1].splitlines()[0] == lines[-1]:
        lines[-1] += _line_end(lines)
    starts = []
    for n, line in enumerate(lines):
        if table_of_line(line) == "[[song]]":
            first = n
            while first > 0 and _COMMENT.match(lines[first - 1]):
                first -= 1
            starts.append(first or n)  # a comment that begins the file is the set's
    ends = [*starts[1:], len(lines)]
    return lines[: starts[0]], [lines[a:b] for a, b in zip(starts, ends, strict=True)]


def _line_end(lines: list[str]) -> str:
    return "\r\n" if lines and lines[0].endswith("\r\n") else "\n"


def _set(block: list[str], key: str, value: str) -> None:
    """Have a song's lines say a value; comment and indentation stay."""
    first = next(n for n, x in enumerate(block) if table_of_line(x) == "[[song]]")
    last = first
    for n in range(first + 1, len(block)):
        if table_of_line(block[n]):
            break
        found = key_of_line(block[n])
        if found is None:
            continue
        last = n
        if found.key == key:
            line = block[n]
            block[n] = line[: found.start] + value + line[found.end :]
            return
    if value != NEUTRAL.get(key):
        block.insert(last + 1, f"{key} = {value}{_line_end(block)}")


def _order(numbers: list[int], n_songs: int) -> list[int]:
    """Put songs that are not in the show behind the one they stood behind."""
    order = list(numbers)
    for n in range(n_songs):
        if n not in numbers:
            order.insert(order.index(n - 1) + 1 if n else 0, n)
    return order
