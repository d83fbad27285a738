"""Which files of a folder are songs, and what becomes of the others.

Nothing is passed over without being counted: files of other kinds, hidden ones,
what is no file, links that lead nowhere, and the stems of earlier runs.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgestem.errors import AudioError
from edgestem.sound.formats import EXTENSIONS as STEM_EXTENSIONS
from edgestem.stems import OUTPUTS

# What a folder is searched for; a file that is named is tried whatever its name.
_NAMES = (
    # libsndfile
    "wav wave w64 rf64 bwf flac ogg oga opus mp3 mp2 mp1 aiff aif aifc caf au snd "
    "voc sf ircam nist sph paf svx 8svx iff avr pvf gsm "
    # ffmpeg
    "m4a m4b m4p m4r m4v mp4 f4v f4a aac adts alac ac3 eac3 ec3 dts dtshd mlp thd "
    "truehd wma wmv asf ape wv tta tak ofr shn mpc mp+ mka mkv mk3d webm weba mov qt "
    "avi divx 3gp 3g2 amr awb ts m2ts mts mpg mpeg mpga mpa vob dat ogv ogx ogm spx "
    "flv nut mxf dv rm ra rmvb dsf dff oma aa3 at3 aa adx vqf xa"
)
EXTENSIONS = frozenset(_NAMES.split())

# Why something was left out -> how that is said of one, and of several.
REASONS = {
    "other_kind": ("of another kind", "of other kinds"),
    "hidden": ("hidden", "hidden"),
    "stem": ("stem of an earlier run", "stems of an earlier run"),
    "no_file": ("pipe or device", "pipes or devices"),
    "link": ("link that leads nowhere or back", "links that lead nowhere or back"),
}


@dataclass(slots=True)
class Found:
    """What is in some folders."""

    songs: list[Path] = field(default_factory=list)
    """In the order of their names, folder by folder."""
    problems: list[AudioError] = field(default_factory=list)
    """Folders that cannot be searched, code `unreadable`."""
    left_out: list[tuple[str, Path]] = field(default_factory=list)
    """(reason of REASONS, path) of what is not taken for a song."""
    folders: list[Path] = field(default_factory=list)
    """What was searched, linked folders with it."""

    def counts(self) -> dict[str, int]:
        """Count what was left out, by reason."""
        return dict(Counter(reason for reason, _ in self.left_out))

    def sentence(self) -> str:
        """Say what was left out, or nothing."""
        counts = self.counts()
        parts = [
            f"{counts[reason]} {words[counts[reason] > 1]}"
            for reason, words in REASONS.items()
            if reason in counts
        ]
        kinds = {p.suffix or p.name for r, p in self.left_out if r == "other_kind"}
        if kinds:
            shown = sorted(kinds)[:5] + ["..."] * (len(kinds) > 5)
            parts[0] += f" ({' '.join(shown)})"
        return f"not looked at: {', '.join(parts)}" if parts else ""


def search(root: Path, out_dir: Path, found: Found) -> None:
    """Add the songs below a folder to `found`.

    Linked folders are searched last, each folder once, whatever leads to it; one
    that lies above `root` is not.  Stems below `out_dir` are known by their names,
    elsewhere by their company (`_own_stems`) or by the mark in their tags.
    """
    outputs = os.path.realpath(out_dir)
    top = os.path.realpath(root)
    seen: set[tuple[int, int]] = set()
    waiting, linked = [root], list[Path]()
    while waiting or linked:
        is_link = not waiting
        here = linked.pop(0) if is_link else waiting.pop()
        if is_link and _is_within(top, os.path.realpath(here)):
            found.left_out.append(("link", here))
            continue
        try:
            status = here.stat()
            entries = [] if _key(status) in seen else _entries(here)
        except OSError as cause:
            found.problems.append(_unsearchable(here, cause))
            continue
        if _key(status) not in seen:
            found.folders.append(here)
        seen.add(_key(status))
        songs, folders = _sort(entries, found, linked)
        is_output = _is_within(os.path.realpath(here.parent), outputs)
        _take(here, songs, found, is_output=is_output, is_root=here == root)
        waiting += reversed(folders)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _sort(
    entries: list[os.DirEntry[str]], found: Found, linked: list[Path]
) -> tuple[list[Path], list[Path]]:
    """Tell songs and folders from what is left out."""
    songs: list[Path] = []
    folders: list[Path] = []
    for entry in entries:
        path = Path(entry.path)
        kind = _kind(entry)
        if kind == "song":
            songs.append(path)
        elif kind == "folder":
            (linked if entry.is_symlink() else folders).append(path)
        else:
            found.left_out.append((kind, path))
    return songs, folders


def _kind(entry: os.DirEntry[str]) -> str:
    """Say "song", "folder", or why it is left out."""
    if entry.name.startswith("."):
        return "hidden"
    try:
        mode = entry.stat().st_mode
    except OSError:
        return "link"
    if stat.S_ISDIR(mode):
        return "folder"
    if not stat.S_ISREG(mode):
        return "no_file"
    is_song = Path(entry.name).suffix[1:].lower() in EXTENSIONS
    return "song" if is_song else "other_kind"


def _take(
    here: Path, songs: list[Path], found: Found, *, is_output: bool, is_root: bool
) -> None:
    from edgestem.sound.tags import is_stem  # reads songs, a lot of code for one file

    named = [p for p in songs if p.stem in OUTPUTS and p.suffix[1:] in STEM_EXTENSIONS]
    if is_output:
        stems = set(named)
    else:
        stems = set(
            _own_stems(named, is_alone=len(named) == len(songs) and not is_root)
        )
    for path in songs:
        if path in stems or is_stem(path):
            found.left_out.append(("stem", path))
        else:
            found.songs.append(path)


def _own_stems(named: list[Path], *, is_alone: bool) -> Iterator[Path]:
    """Choose the files that an earlier run wrote, wherever it wrote them.

    vocals.wav beside instrumental.wav is a set; alone it is one when its folder, as
    those that are made for a song, holds no other song.
    """
    kinds = Counter(path.suffix for path in named)
    return (path for path in named if is_alone or kinds[path.suffix] > 1)


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_within(path: str, folder: str) -> bool:
    """Tell whether a real path is a real folder, or lies below it."""
    return Path(path).is_relative_to(folder)


def _unsearchable(folder: Path, cause: OSError) -> AudioError:
    return AudioError(
        f"{folder} cannot be searched: {cause.strerror or cause}; what it holds was "
        "not separated",
        code="unreadable",
        path=str(folder),
    )
