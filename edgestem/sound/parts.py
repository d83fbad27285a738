"""A stem before it has its name: a hidden, locked file beside its target."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edgestem.errors import AudioError
from edgestem.sound.commit import repair
from edgestem.sound.containers import Details
from edgestem.sound.encoding import Encoder, open_encoder
from edgestem.sound.formats import EXTENSIONS
from edgestem.sound.grid import GridSamples
from edgestem.sound.refusals import way_out
from edgestem.sound.wav import WavFormat

# What the karaoke room writes besides stems; nobody else's parts are removed.
_OTHERS = ("mp4", "mkv", "mka", "zip", "cdg", "txt", "json", "edgestem-backup")
_PART = re.compile(rf"\..+\.(?:{'|'.join((*EXTENSIONS, *_OTHERS))})\.\d+\.part")


class PartFile:
    """One output under its hidden name."""

    def __init__(
        self, target: Path, file_format: str, wav: WavFormat | None, details: Details
    ) -> None:
        self.target = target
        with wrap(target):
            self.part, self._file = _create_locked(target)
        try:
            self.encoder: Encoder = _Nothing()
            if wav is not None:
                self.encoder = open_encoder(
                    self._file, file_format, wav, target, details=details
                )
        except BaseException:
            self._remove()
            raise

    def fileno(self) -> int:
        return self._file.fileno()

    def finish(self) -> None:
        """Complete it, and bring it to the disk."""
        self.complete()
        self.sync()

    def complete(self) -> None:
        self.encoder.finish()
        self._file.flush()

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file, and of the lock that kept cleaners away."""
        with contextlib.suppress(OSError):  # it is on the disk already
            self._file.close()

    def discard(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # it is thrown away
            self.encoder.abandon()
        self._remove()

    def _remove(self) -> None:
        self.close()  # on a full disk the buffer cannot be kept
        with contextlib.suppress(OSError):
            self.part.unlink(missing_ok=True)


class _Nothing:
    """The encoder of a file that somebody else writes."""

    def write(self, x: GridSamples) -> int:
        raise AssertionError("the file is somebody else's")

    def finish(self) -> None:
        pass

    def abandon(self) -> None:
        pass


@contextlib.contextmanager
def wrap(path: Path) -> Iterator[None]:
    """Turn what the system says about a file into one sentence."""
    try:
        yield
    except OSError as cause:
        way = way_out(cause, "choose another folder with -o")
        raise AudioError(
            f"{path} cannot be written: {cause.strerror or cause}; {way}",
            code="unwritable",
            path=str(path),
        ) from cause


def prepare(folder: Path) -> list[Path]:
    """Make a folder and its parents, and end what killed processes left in it.

    Returns those that are new, innermost first.

    Raises
    ------
    AudioError
        `unwritable`.
    """
    with wrap(folder):
        made = _make_folders(folder)
    repair(folder)
    remove_dead_parts(folder)
    return made


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and its parents; return those that are new, innermost first."""
    made = []
    at = folder
    while not at.exists():
        made.append(at)
        at = at.parent
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _create_locked(target: Path) -> tuple[Path, BinaryIO]:
    """Make the hidden file and hold a lock on it as long as it is open."""
    for number in itertools.count(os.getpid(), 1 << 22):  # pids are below that
        part = target.with_name(f".{target.name}.{number}.part")
        try:
            fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:  # another thread's, or another machine's
            continue
        if _lock(fd) and not part.exists():  # a cleaner was faster than the lock
            os.close(fd)
            continue
        return part, os.fdopen(fd, "w+b")
    raise AssertionError("numbers do not end")


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked by its writer, or a file system without locks
        return False
    return True


def remove_dead_parts(folder: Path) -> None:
    """Remove hidden files whose writer is gone."""
    found: list[Path] = []
    with contextlib.suppress(OSError):  # a folder that may only be written to
        found = [part for part in folder.iterdir() if _PART.fullmatch(part.name)]
    for part in found:
        with contextlib.suppress(OSError):  # not ours to remove: it stays
            fd = os.open(part, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                if _lock(fd):
                    part.unlink(missing_ok=True)
            finally:
                os.close(fd)
