"""What a layout is: which items it takes, which files it makes of one, and how."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgestem.files.loop import Progress
from edgestem.karaoke.archive import find_pair, is_marked_zip, unpack_song
from edgestem.karaoke.items import ZIP, Item
from edgestem.karaoke.makers import Maker
from edgestem.sound.tags import is_stem

Targets = dict[str, Path]
_PREFIX = "edgestem-karaoke-"
_YOUNG_S = 60.0  # a folder that was just made may not be locked yet


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user asked of a layout."""

    out: Path | None = None
    """Where to write; None: beside the songs, where the layout allows it."""
    file_format: str | None = None
    """One of `ALL_FORMATS`; None: the layout's own."""
    with_vocals: bool = False
    """Add the vocals where a layout can do without."""
    name: str | None = None
    """A template of `files.names`, where the layout has free names."""


class Layout(Protocol):
    """The files that one kind of program reads."""

    def takes(self, item: Item) -> bool:
        """Say whether the layout has a place for such an item."""

    def targets(self, item: Item) -> Targets:
        """Name what is made of an item.

        Raises
        ------
        AudioError
            The item cannot be understood, or has what is asked for from somebody
            else.
        """

    def is_done(self, item: Item, targets: Targets) -> bool:
        """Say whether all of it is there, and of this item as it is now."""

    def write(
        self,
        item: Item,
        targets: Targets,
        maker: Maker,
        progress: Progress | None = None,
    ) -> None:
        """Make the files, all or none, replacing what is there."""


def place(item: Item, settings: Settings) -> Path:
    """Give the folder that an item's files go to."""
    return item.path.parent if settings.out is None else settings.out / item.relative


def is_newer(source: Path, targets: Targets) -> bool:
    """Say whether all targets are there and none is older than its source."""
    try:
        made = source.stat().st_mtime_ns
        return all(file.stat().st_mtime_ns >= made for file in targets.values())
    except OSError:
        return False


def is_own(path: Path) -> bool:
    """Say whether edgestem made a file; a .cdg is its song's."""
    if path.suffix.lower() == ".cdg":
        return is_stem(path.with_suffix(".mp3"))
    return is_marked_zip(path) if path.suffix.lower() == ".zip" else is_stem(path)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder that is gone afterwards; TMPDIR says where.

    It is locked while it is in use: those of killed processes are removed.
    """
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sweep(Path(name))
            yield Path(name)
        finally:
            os.close(fd)


def _sweep(own: Path) -> None:
    """Remove the folders of processes that were killed."""
    for folder in own.parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or in use
            old = time.time() - folder.stat().st_mtime > _YOUNG_S
            if folder == own or not old or folder.is_symlink():
                continue
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(fd)


@contextlib.contextmanager
def sound_of(item: Item) -> Iterator[Path]:
    """Give the file with an item's sound; of a zip it is unpacked."""
    if item.kind != ZIP:
        yield item.path
        return
    with scratch() as folder:
        song = folder / f"{item.path.stem}.mp3"
        unpack_song(item.path, find_pair(item.path), song)
        yield song


def wav_stems(folder: Path, names: Mapping[str, str] | tuple[str, ...]) -> Targets:
    """Name stems in a scratch folder."""
    return {name: folder / f"{name}.wav" for name in names}
