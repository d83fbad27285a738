"""The list of a catalogue: songs by name, and the folder that each is published in.

A song's name is its path below the folder that was named, or its file's name.  Only
names are held in memory, not what is known of the songs.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from edgestem.catalogue import receipt
from edgestem.errors import AudioError
from edgestem.files.batch import check_song
from edgestem.files.names import song_name
from edgestem.files.search import Found, search
from edgestem.files.spelling import fold, folds_case


@dataclass(frozen=True, slots=True)
class Song:
    """One song of a catalogue."""

    root: str
    """Folder that its name is relative to; an absolute path."""
    name: str
    """Path below the root, with slashes."""
    is_long: bool = False
    """Its folder keeps the extension, for another song has the same name."""

    @property
    def source(self) -> str:
        """Where the song is."""
        return f"{self.root}/{self.name}"

    @property
    def folder(self) -> str:
        """Where its stems go, below the output folder."""
        return _folder(self.name, is_long=self.is_long)


@dataclass(slots=True)
class List:
    """What is to be published."""

    songs: list[Song] = field(default_factory=list)
    """Each once, in the order of the folders."""
    problems: list[AudioError] = field(default_factory=list)
    """What cannot be: `no_audio`, `unreadable`, `same_name`."""
    left_out: str = ""
    """Sentence about what is no song."""


def make_list(
    paths: Sequence[str], out: Path, shard: tuple[int, int] | None = None
) -> List:
    """List the songs that paths mean.

    Parameters
    ----------
    paths : sequence of str
        Songs and folders.
    out : Path
        Where stems go; those that are there already are no songs.
    shard : (int, int), optional
        Only the songs that `in_shard` says belong to it.
    """
    made, found = List(), Found()
    names: dict[str, list[str]] = {}  # root -> names
    for path in paths:
        root, more = _names(path, out, found, made.problems)
        names.setdefault(root, []).extend(more)
    songs = [s for root in names for s in _with_folders(root, names[root], out)]
    for song, first in _apart(songs, out):
        if first != song:
            made.problems.append(_same_folder(first, song))
        elif shard is None or in_shard(song.name, *shard):
            made.songs.append(song)
    made.problems += found.problems
    made.left_out = found.sentence()
    return made


def in_shard(name: str, index: int, count: int) -> bool:
    """Tell whether a song belongs to a shard: its name alone decides."""
    digest = hashlib.sha256(os.fsencode(name)).digest()
    return int.from_bytes(digest, "big") % count == index


def _names(
    path: str, out: Path, found: Found, problems: list[AudioError]
) -> tuple[str, list[str]]:
    """Give a root and the names below it."""
    full = os.path.abspath(path)  # noqa: PTH100 - links keep their names
    if not os.path.isdir(full):  # noqa: PTH112 - it never raises
        try:
            check_song(path)
        except AudioError as error:
            problems.append(error)
            return full, []
        root, name = os.path.split(full)
        return root, [name]
    n_problems = len(found.problems)
    search(Path(full), out, found)
    cut = len(full.rstrip("/")) + 1
    names = [str(song)[cut:] for song in found.songs]
    found.songs.clear()
    if not names and len(found.problems) == n_problems:
        text = f"{path} holds no songs (files named .wav, .mp3, .flac ...)"
        problems.append(AudioError(text, code="no_audio", path=path))
    return full.rstrip("/"), names


def _with_folders(root: str, names: list[str], out: Path) -> Iterator[Song]:
    """Give every song a folder of its own, and the one that it has had."""
    unique = sorted(set(names), key=_folder)
    for folder, group in groupby(unique, key=_folder):
        same = list(group)
        if len(same) == 1:
            yield Song(root, same[0])
            continue
        owner = (receipt.read(f"{out}/{folder}") or {}).get("song")
        for name in same:
            yield Song(root, name, is_long=name != owner)


def _apart(songs: list[Song], out: Path) -> Iterator[tuple[Song, Song]]:
    """Give each song and whose its folder is: that of who had it, else of the first.

    Most folders are nobody else's, and need no look at the disk.
    """
    spelled = Counter(fold(song.folder) for song in songs)
    shared = [song for song in songs if spelled[fold(song.folder)] > 1]
    key = fold if shared and folds_case(out) else str
    owners: dict[str, Song] = {}
    for song in shared:
        if key(song.folder) not in owners or _has_receipt(song, out):
            owners[key(song.folder)] = song
    for song in songs:
        yield song, owners.get(key(song.folder), song)


def _has_receipt(song: Song, out: Path) -> bool:
    found = receipt.read(f"{out}/{song.folder}") or {"source": {}}
    return bool(found["source"].get("path") == song.source)


def _folder(name: str, *, is_long: bool = False) -> str:
    head, slash, tail = name.rpartition("/")
    return f"{head}{slash}{tail if is_long else song_name(tail)}"


def _same_folder(first: Song, song: Song) -> AudioError:
    return AudioError(
        f"{first.source} and {song.source} would both be written to {song.folder}: "
        "give each folder a run of its own, with another -o",
        code="same_name",
        path=song.source,
    )
