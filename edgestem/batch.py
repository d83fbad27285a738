"""From the paths on a command line to songs and the folders of their stems."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgestem.audio import song_name
from edgestem.errors import AudioError

# What a folder is searched for; a file that is named is tried whatever its name.
_NAMES = (
    "wav wave w64 rf64 flac ogg oga opus mp3 mp2 aiff aif aifc caf au snd "
    "m4a m4b mp4 aac alac wma ape wv tta mka mkv webm mov avi 3gp"
)
EXTENSIONS = frozenset(_NAMES.split())


@dataclass(frozen=True, slots=True)
class Task:
    """One song and the folder its stems go to."""

    path: str
    """The song, or "-"."""
    folder: Path
    """Folder of its stems."""


def plan(paths: Sequence[str], out_dir: Path) -> tuple[list[Task], list[AudioError]]:
    """List the songs that paths mean, each once.

    A file goes to out_dir/<song>, a file within a folder keeps the folders
    between the two.  Hidden files and what is in out_dir itself are left out.

    Returns
    -------
    tasks : list of Task
    problems : list of AudioError
        Folders without a song, with code `no_audio`.

    Raises
    ------
    AudioError
        `same_name`: two songs would share a folder.
    """
    by_folder: dict[Path, str] = {}
    problems = []
    for path in paths:
        if not Path(path).is_dir() or path == "-":
            _add(by_folder, path, out_dir / song_name(path))
            continue
        n_before = len(by_folder)
        for song in _songs(Path(path), out_dir):
            folder = out_dir / song.relative_to(path).parent / song_name(song)
            _add(by_folder, str(song), folder)
        if len(by_folder) == n_before:
            text = f"{path} holds no songs (files named .wav, .mp3, .flac ...)"
            problems.append(AudioError(text, code="no_audio", path=path))
    return [Task(path, folder) for folder, path in by_folder.items()], problems


def _songs(folder: Path, out_dir: Path) -> Iterator[Path]:
    outputs = out_dir.resolve()
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and (here / name).resolve() != outputs
        )
        for name in sorted(files):
            if name[0] != "." and Path(name).suffix[1:].lower() in EXTENSIONS:
                yield here / name


def _add(by_folder: dict[Path, str], path: str, folder: Path) -> None:
    other = by_folder.setdefault(folder, path)
    if other != path and Path(other).resolve() != Path(path).resolve():
        raise AudioError(
            f"{other} and {path} would both be written to {folder}: "
            "separate them one by one, each with its own -o",
            code="same_name",
            path=path,
        )
