"""Stems on disk: complete under their name, or not there at all.

Every output is written to a hidden file beside its target, `.vocals.wav.<pid>.part`,
and renamed when all outputs of the song are complete and on the disk.  The writer
holds a lock on it; what a killed process left behind has no lock and is removed by
the next run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from edgestem.encoding import Encoder, open_encoder
from edgestem.errors import AudioError
from edgestem.grid import Samples
from edgestem.wav import WavFormat, header, pack

_PART = re.compile(r"\.\w+\.(?:wav|flac|ogg|mp3)\.\d+\.part")


class StemFiles:
    """The outputs of one song; a context manager that discards what is unfinished.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    names : tuple of str
        Stems to write.
    file_format : str
        One of `FORMATS`.
    wav : WavFormat or None
        Grid, rate, channels and the expected length; None when somebody else
        writes into `descriptors`.

    Raises
    ------
    AudioError
        `unwritable`, or `unsupported_format` (mp3 at 96 kHz).
    """

    def __init__(
        self,
        folder: Path,
        names: tuple[str, ...],
        file_format: str,
        wav: WavFormat | None,
    ) -> None:
        self.paths = target_paths(folder, names, file_format)
        self._folder = folder
        self._files: dict[str, _PartFile] = {}
        with _wrap(folder):
            self._made = _make_folders(folder)
        try:
            _remove_dead_parts(folder)
            for name, path in self.paths.items():
                self._files[name] = _PartFile(path, file_format, wav)
        except BaseException:
            self.discard()
            raise

    def descriptors(self) -> list[int]:
        """Give the open files, for a daemon that writes them."""
        return [file.fileno() for file in self._files.values()]

    def write(self, stems: Mapping[str, Samples]) -> None:
        """Append a block to every output."""
        for name, file in self._files.items():
            with _wrap(file.target):
                file.encoder.write(stems[name])

    def commit(self) -> None:
        """Bring everything to the disk, then give all outputs their names."""
        for file in self._files.values():
            with _wrap(file.target):
                file.finish()
        for file in self._files.values():
            with _wrap(file.target):
                file.part.replace(file.target)
        self._files = {}
        self._made = []
        with _wrap(self._folder):
            _sync_folder(self._folder)

    def discard(self) -> None:
        """Remove what was not committed, and the folders made for it."""
        for file in self._files.values():
            file.discard()
        self._files = {}
        for folder in self._made:
            with contextlib.suppress(OSError):  # somebody else put something there
                folder.rmdir()
        self._made = []

    def __enter__(self) -> StemFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


class WavStream:
    """One stem as WAV on a pipe, with the header of a stream."""

    def __init__(self, file: BinaryIO, name: str, wav: WavFormat) -> None:
        self.paths = {name: "-"}
        self._file, self._name, self._grid = file, name, wav.grid
        self._put(header(WavFormat(wav.grid, wav.sample_rate, wav.n_channels)))

    def write(self, stems: Mapping[str, Samples]) -> None:
        """Append a block."""
        self._put(pack(stems[self._name], self._grid))

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except BrokenPipeError:  # the reader has had enough: no error
            raise
        except OSError as cause:
            raise AudioError(
                f"standard output cannot be written: {cause.strerror or cause}",
                code="unwritable",
                path="-",
            ) from cause


def target_paths(
    folder: Path, names: tuple[str, ...], file_format: str
) -> dict[str, Path]:
    """Name the file of each stem."""
    return {name: folder / f"{name}.{file_format}" for name in names}


class _PartFile:
    """One output under its hidden name."""

    def __init__(self, target: Path, file_format: str, wav: WavFormat | None) -> None:
        self.target = target
        self.part = target.with_name(f".{target.name}.{os.getpid()}.part")
        with _wrap(target):
            self._file = _create_locked(self.part)
        try:
            self.encoder: Encoder = _Nothing()
            if wav is not None:
                self.encoder = open_encoder(self._file, file_format, wav, target)
        except BaseException:
            self._remove()
            raise

    def fileno(self) -> int:
        return self._file.fileno()

    def finish(self) -> None:
        self.encoder.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def discard(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # it is thrown away
            self.encoder.abandon()
        self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: the buffer cannot be kept
            self._file.close()
        self.part.unlink(missing_ok=True)


class _Nothing:
    """The encoder of a file that somebody else writes."""

    def write(self, x: Samples) -> None:
        raise AssertionError("the file is somebody else's")

    def finish(self) -> None:
        pass

    def abandon(self) -> None:
        pass


@contextlib.contextmanager
def _wrap(path: Path) -> Iterator[None]:
    """Turn what the system says about a file into one sentence."""
    try:
        yield
    except OSError as cause:
        raise AudioError(
            f"{path} cannot be written: {cause.strerror or cause}; "
            "choose another folder with -o",
            code="unwritable",
            path=str(path),
        ) from cause


def _create_locked(part: Path) -> BinaryIO:
    """Make the file and hold a lock on it as long as it is open."""
    while True:
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if _lock(fd) and not part.exists():  # a cleaner was faster than the lock
            os.close(fd)
            continue
        return os.fdopen(fd, "w+b")


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked by its writer, or a file system without locks
        return False
    return True


def _remove_dead_parts(folder: Path) -> None:
    """Remove hidden files whose writer is gone."""
    for part in folder.iterdir():
        if not _PART.fullmatch(part.name):
            continue
        with contextlib.suppress(OSError):  # not ours to remove: it stays
            fd = os.open(part, os.O_RDWR)
            try:
                if _lock(fd):
                    part.unlink(missing_ok=True)
            finally:
                os.close(fd)


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and its parents; return those that are new, innermost first."""
    made = []
    at = folder
    while not at.exists():
        made.append(at)
        at = at.parent
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _sync_folder(folder: Path) -> None:
    """Make the new names survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
