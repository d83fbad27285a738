"""UltraStar: `[INSTR]` and `[VOC]` beside the song, and two lines in the text.

The stems get their names before the text names them, so a text never names what is
not there.  The text as it was stays beside it, `<text>.edgestem-backup`.
"""

from __future__ import annotations

import os
from pathlib import Path

from edgestem.errors import AudioError
from edgestem.files.loop import Progress
from edgestem.karaoke.items import TEXT, Item
from edgestem.karaoke.layouts.layout import Settings, Targets, is_newer, is_own
from edgestem.karaoke.makers import Maker
from edgestem.karaoke.ultrastar import (
    MAX_BYTES,
    audio_of,
    encoding_of,
    headers,
    is_text,
    value_of,
    with_stems,
    without_stems,
)
from edgestem.sound.formats import ALL_CONTAINERS, EXTENSIONS, extension
from edgestem.sound.writing import StemFiles

BACKUP = ".edgestem-backup"
_KEYS = {"instrumental": "INSTRUMENTAL", "vocals": "VOCALS"}
_WORDS = {"instrumental": "INSTR", "vocals": "VOC"}


class UltraStar:
    """A layout that is written into the songs' own folders."""

    def __init__(self, settings: Settings) -> None:
        if settings.out is not None:
            raise ValueError(
                "this layout is written beside each text: leave out -o, or copy the "
                "songs first"
            )
        if settings.file_format not in (None, *ALL_CONTAINERS):
            raise ValueError(f"there is no format {settings.file_format}")
        self._format = settings.file_format

    def takes(self, item: Item) -> bool:
        """Take texts that are UltraStar's."""
        return item.kind == TEXT and is_text(_read(item.path))

    def targets(self, item: Item) -> Targets:
        """Name the stems: <text's name> [INSTR].ext and [VOC].ext."""
        text = item.path
        data = _read(text)
        _audio(text, data)
        end = extension(self._format_of(text, data))
        found = {s: text.with_name(f"{text.stem} [{_WORDS[s]}].{end}") for s in _WORDS}
        said = value_of(data, "INSTRUMENTAL").decode(encoding_of(data), "replace")
        other = sibling(text, said)
        if other and other not in found.values() and not is_own(other):
            raise AudioError(
                f"{text} has an instrumental, {said}, that edgestem did not make: "
                "it was left alone",
                code="exists",
                path=str(text),
            )
        return found

    def is_done(self, item: Item, targets: Targets) -> bool:
        """Look into the text as well."""
        data = _read(item.path)
        is_named = with_stems(data, _names(targets)) == data
        return is_named and is_newer(_audio(item.path, data), targets)

    def write(
        self,
        item: Item,
        targets: Targets,
        maker: Maker,
        progress: Progress | None = None,
    ) -> None:
        """Make what is missing, then change the text."""
        data = _read(item.path)
        song = _audio(item.path, data)
        new = with_stems(data, _names(targets))  # it may refuse: before any work
        if not (is_newer(song, targets) and all(map(is_own, targets.values()))):
            made = self._format_of(item.path, data)
            maker.write(song, targets, made, item.relative, progress)
        if new != data:
            backup = item.path.with_name(item.path.name + BACKUP)
            if not backup.exists():
                replace_text(backup, data, like=item.path)
            replace_text(item.path, new, like=item.path)

    def _format_of(self, text: Path, data: bytes) -> str:
        """Take the song's own format where it can be written, else Ogg."""
        if self._format:
            return self._format
        own = _audio(text, data).suffix[1:].lower()
        return own if own in EXTENSIONS else "ogg"


def song_name(text: Path) -> str:
    """Name the song that a text names; "": it names none, or cannot be read."""
    try:
        return audio_of(_read(text))
    except (AudioError, ValueError):
        return ""


def undo(text: Path) -> bool:
    """Take back what `UltraStar` did to a text; say whether there was anything.

    A text that somebody changed since loses the two lines only.

    Raises
    ------
    AudioError
        `unreadable` or `unwritable`.
    """
    backup = text.with_name(text.name + BACKUP)
    data = _read(text)
    own = {
        header.key: name
        for header in headers(data)
        if header.key in _KEYS.values()
        and (name := header.value.decode(encoding_of(data), "replace"))
        and (file := sibling(text, name))
        and is_own(file)
    }
    if not own and not backup.exists():
        return False
    before = _read(backup) if backup.exists() else b""
    is_ours = bool(before) and with_stems(before, own) == data
    new = before if is_ours else without_stems(data, own)
    if new != data:
        replace_text(text, new, like=text)
    for name in own.values():
        text.with_name(name).unlink(missing_ok=True)
    backup.unlink(missing_ok=True)
    return True


def replace_text(path: Path, data: bytes, *, like: Path) -> None:
    """Write a text under a hidden name and give it its own, with the old rights."""
    with StemFiles({"text": path}, "wav", None, is_forced=True) as files:
        (fd,) = files.descriptors()
        os.fchmod(fd, like.stat().st_mode & 0o777)
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
        files.commit()


def _names(targets: Targets) -> dict[str, str]:
    return {_KEYS[stem]: path.name for stem, path in targets.items()}


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as cause:
        raise _unfit(path, f"cannot be read: {cause.strerror or cause}") from cause
    if len(data) > MAX_BYTES:
        return b""  # no text of a song is so long
    return data


def _audio(text: Path, data: bytes) -> Path:
    """Find the song of a text; only one that lies in the same folder."""
    try:
        name = audio_of(data)
    except ValueError as cause:
        raise _unfit(text, str(cause)) from cause
    path = sibling(text, name)
    if path is None:
        raise _unfit(text, f"names the song {name}, which is not in its folder")
    return path


def sibling(text: Path, name: str) -> Path | None:
    """Find a file of a text's folder; a text is a stranger's, and may name anything."""
    try:
        path = text.with_name(name)
        return path if path.is_file() else None
    except (OSError, ValueError):  # no name, a path, or too long
        return None


def _unfit(path: Path, what: str) -> AudioError:
    return AudioError(f"{path} {what}", code="unreadable", path=str(path))
