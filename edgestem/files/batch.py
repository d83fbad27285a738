"""From the paths on a command line to songs and the folders of their stems."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgestem.errors import AudioError
from edgestem.files.names import NameTemplate, song_name
from edgestem.files.search import Found, search
from edgestem.files.spelling import Owners, fold, folds_case
from edgestem.sound.refusals import unreadable

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, slots=True)
class Task:
    """One song and the folder its stems go to."""

    path: str
    """The song, or "-"."""
    folder: Path
    """Folder of its stems."""
    targets: dict[str, Path] = field(default_factory=dict)
    """Where each stem goes, when a template says so."""

    @property
    def size(self) -> int:
        """Bytes of the song; 0: nobody knows."""
        try:
            return 0 if self.path == "-" else Path(self.path).stat().st_size
        except OSError:
            return 0


@dataclass(slots=True)
class Plan:
    """What a run is going to do."""

    tasks: list[Task] = field(default_factory=list)
    problems: list[AudioError] = field(default_factory=list)
    """What cannot be done: `no_audio`, `unreadable`, `same_name`."""
    notes: list[str] = field(default_factory=list)
    """What the user should know of where stems go."""
    found: Found | None = None
    """What folders held; None: no folder was named."""


@dataclass(frozen=True, slots=True)
class Naming:
    """A template, and what it names."""

    template: NameTemplate
    stems: tuple[str, ...]
    file_format: str

    def targets(self, out_dir: Path, path: str, folder: Path) -> dict[str, Path]:
        """Name the file of each stem of a song."""
        t, f = self.template, self.file_format
        return t.targets(out_dir, path, folder=folder, stems=self.stems, file_format=f)


def plan(paths: Sequence[str], out_dir: Path, naming: Naming | None = None) -> Plan:
    """List the songs that paths mean, each once, and name their stems.

    With a `naming` a template says where stems go.  Otherwise a file goes to
    out_dir/<song>, a file within a folder keeps the folders between the two.  Songs
    that would share a folder keep their extensions; those of one name altogether are
    a problem, but for the first.
    """
    made = Plan()
    songs: list[tuple[str, Path]] = []  # and the folder that its own folder is in
    for path in paths:
        if path == "-" or not os.path.isdir(path):  # noqa: PTH112 - it never raises
            songs.append((path, out_dir))
            continue
        made.found = made.found or Found()
        n_before = len(made.found.songs), len(made.found.problems)
        search(Path(path), out_dir, made.found)
        new = made.found.songs[n_before[0] :]
        songs += [(str(s), out_dir / s.relative_to(path).parent) for s in new]
        if n_before == (len(made.found.songs), len(made.found.problems)):
            text = f"{path} holds no songs (files named .wav, .mp3, .flac ...)"
            made.problems.append(AudioError(text, code="no_audio", path=path))
    made.problems += made.found.problems if made.found else []
    if naming is not None:
        _name(_once(songs), made, out_dir, naming)
    else:
        _place(_once(songs), out_dir, made)
    return made


def _name(
    songs: list[tuple[str, Path]], made: Plan, out_dir: Path, naming: Naming
) -> None:
    """Give every stem of every song a name of its own."""
    owners: Owners[str] = Owners()
    for path, parent in songs:
        try:
            check_song(path)
            targets = naming.targets(out_dir, path, parent.relative_to(out_dir))
        except AudioError as error:
            made.problems.append(error)
            continue
        claims = [(t, owner) for t in targets.values() if (owner := owners.find(t))]
        if claims:
            taken, owner = claims[0]
            made.problems.append(_same_target(owner, path, taken))
            continue
        for target in targets.values():
            owners.add(target, path)
        folder = next(iter(targets.values())).parent
        made.tasks.append(Task(path, folder, targets))


def _same_target(owner: str, path: str, target: Path) -> AudioError:
    return AudioError(
        f"{owner} and {path} would both be written to {target}: add {{folder}}/ or "
        "another field to --name",
        code="same_name",
        path=path,
    )


def _once(songs: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Drop a song that was named before, whatever it was called."""
    kept: dict[tuple[Path, str], tuple[str, Path]] = {}
    for path, parent in songs:
        real = path if path == "-" else os.path.realpath(path)
        kept.setdefault((parent / song_name(path), real), (path, parent))
    return list(kept.values())


def _place(songs: list[tuple[str, Path]], out_dir: Path, made: Plan) -> None:
    """Give every song a folder of its own."""
    key = _spelling(songs, out_dir)
    groups: dict[str, list[str]] = {}
    for path, parent in songs:
        groups.setdefault(key(parent / song_name(path)), []).append(path)
    owners: dict[str, str] = {}
    for path, parent in songs:
        folder = parent / song_name(path)
        names = {key(Path(Path(other).name)) for other in groups[key(folder)]}
        if len(names) > 1:
            folder = parent / Path(path).name
            made.notes.append(
                f"{path} shares its name with another song: its stems go to {folder}"
            )
        owner = owners.setdefault(key(folder), path)
        if owner == path:
            made.tasks.append(Task(path, folder))
        else:
            made.problems.append(_same_name(owner, path, folder))


def _spelling(songs: list[tuple[str, Path]], out_dir: Path) -> Callable[[Path], str]:
    """Return what makes two folders the same on the disk that stems go to.

    The disk is only asked when it matters: it takes writing a file.
    """
    folders = {str(parent / song_name(path)) for path, parent in songs}
    if len({fold(folder) for folder in folders}) == len(folders):
        return str
    return fold if folds_case(out_dir) else str


def _same_name(owner: str, path: str, folder: Path) -> AudioError:
    return AudioError(
        f"{owner} and {path} would both be written to {folder}: separate {path} by "
        "itself, with another -o",
        code="same_name",
        path=path,
    )


def check_song(path: str) -> None:
    """Look whether a song is there, before anybody looks at its stems.

    Raises
    ------
    AudioError
        `unreadable`; of an address it says what to do instead.
    """
    if path == "-":
        return
    try:
        Path(path).stat()
        if not os.access(path, os.R_OK):
            raise PermissionError(None, "Permission denied")
    except (OSError, ValueError) as cause:
        if match := _ADDRESS.match(path):
            raise _address(path, match[0]) from cause
        reason = getattr(cause, "strerror", None) or str(cause)
        raise unreadable(path, f"cannot be opened: {reason}") from cause


def _address(path: str, scheme: str) -> AudioError:
    if scheme.lower() == "file://":
        way = "leave out file://"
    else:
        way = "download it first, or pipe it: curl -L ADDRESS | edgestem separate -"
    return unreadable(path, f"is an address, edgestem reads files: {way}")
