"""What a karaoke library holds: songs, videos, MP3+G, zips and UltraStar texts."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from edgestem.errors import AudioError
from edgestem.files.search import Found, search
from edgestem.karaoke.archive import is_marked_zip
from edgestem.sound.tags import is_stem

_VIDEOS = "mp4 m4v mov mkv webm avi mpg mpeg ts m2ts mts flv wmv asf ogv vob 3gp divx"
VIDEOS = frozenset(_VIDEOS.split())
SONG, VIDEO, CDG, ZIP, TEXT = KINDS = ("song", "video", "cdg", "zip", "text")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is sung to."""

    path: Path
    """The song, the video, the zip or the UltraStar text."""
    root: Path
    """The folder that was named; the parent of a file that was."""
    kind: str
    """One of KINDS."""

    @property
    def relative(self) -> Path:
        """Where it lies below `root`."""
        parent = self.path.parent
        return (
            parent.relative_to(self.root) if self.root in self.path.parents else Path()
        )

    @property
    def cdg(self) -> Path | None:
        """The picture of an MP3+G pair."""
        return cdg_of(self.path) if self.kind == CDG else None


@dataclass(slots=True)
class Library:
    """What some paths hold."""

    items: list[Item] = field(default_factory=list)
    problems: list[AudioError] = field(default_factory=list)
    n_own: int = 0
    """Files that edgestem made: they are never separated again."""
    n_left_out: int = 0
    """Files of other kinds, hidden ones, pipes and broken links."""
    folders: list[Path] = field(default_factory=list)
    """Those that were searched."""


def find_items(paths: Sequence[str], out_dir: Path) -> Library:
    """List what paths hold; `out_dir` is where earlier runs wrote."""
    library = Library()
    for name in paths:
        path = Path(name)
        if path.is_dir():
            _add_folder(path, out_dir, library)
        elif not path.exists():
            problem = AudioError(
                f"{path} is not there: name a song or a folder",
                code="unreadable",
                path=name,
            )
            library.problems.append(problem)
        elif _is_own(path):
            library.n_own += 1
        else:
            library.items.append(Item(path, path.parent, kind_of(path)))
    return library


def _add_folder(folder: Path, out_dir: Path, library: Library) -> None:
    found = Found()
    search(folder, out_dir, found)
    library.problems += found.problems
    library.folders += found.folders
    # From the listing: asking the disk for each mp3 costs more than all the rest.
    pictures = {p.with_suffix("") for _, p in found.left_out if _is_cdg(p)}
    for path in found.songs:
        kind = kind_of(path, pictures)
        library.items.append(Item(path, folder, kind))
    for reason, path in found.left_out:
        if reason == "stem":
            library.n_own += 1
        elif reason == "other_kind" and path.suffix.lower() in (".zip", ".txt"):
            if _is_own(path):
                library.n_own += 1
            elif (kind := kind_of(path)) == TEXT or _holds_cdg(path):
                library.items.append(Item(path, folder, kind))
            else:
                library.n_left_out += 1
        else:
            library.n_left_out += 1


def kind_of(path: Path, pictures: Set[Path] | None = None) -> str:
    """Tell what a file is by its name and its company.

    Parameters
    ----------
    pictures : set of Path, optional
        The .cdg files that are there, without their endings; else the disk is asked.
    """
    suffix = path.suffix[1:].lower()
    if suffix == "zip":
        return ZIP
    if suffix == "txt":
        return TEXT
    if suffix in VIDEOS:
        return VIDEO
    if pictures is None or suffix != "mp3":
        return CDG if cdg_of(path) else SONG
    return CDG if pictures and path.with_suffix("") in pictures else SONG


def _is_cdg(path: Path) -> bool:
    return path.suffix in (".cdg", ".CDG")


def cdg_of(path: Path) -> Path | None:
    """Find the .cdg beside a song, in either case."""
    if path.suffix.lower() != ".mp3":
        return None
    both = (path.with_suffix(".cdg"), path.with_suffix(".CDG"))
    return next((file for file in both if file.is_file()), None)


def _is_own(path: Path) -> bool:
    if path.suffix.lower() != ".zip":
        return is_stem(path)
    return _look_into(path, time_of(path))[0]


def _holds_cdg(path: Path) -> bool:
    return _look_into(path, time_of(path))[1]


def time_of(path: Path) -> int:
    """Tell when a file was last changed, ns; 0 when it cannot be asked."""
    try:
        return path.stat().st_ctime_ns
    except OSError:
        return 0


@lru_cache(maxsize=1 << 16)
def _look_into(path: Path, _: int) -> tuple[bool, bool]:
    """Say whether a zip is ours, and whether it holds a .cdg; kept until it changes."""
    return is_marked_zip(path), _has_cdg(path)


def _has_cdg(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith(".cdg") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False
