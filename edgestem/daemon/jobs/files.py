"""A job's input and outputs: passed descriptors, or paths below allowed folders.

A path is opened below the descriptor of an allowed folder (`daemon_paths`), once,
when the job is asked for; afterwards nothing is looked up by that name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from edgestem.daemon.jobs.passed import READ, as_file, check_size, let_go, unfit
from edgestem.daemon.jobs.paths import AllowedFolders, Place, make_folder, open_below
from edgestem.errors import AudioError, EdgestemError
from edgestem.sound.containers import PLAIN, Details
from edgestem.sound.encoding import Encoder, open_encoder
from edgestem.sound.grid import GridSamples
from edgestem.sound.tags import stem_tags
from edgestem.sound.wav import WavFormat
from edgestem.sound.writing import StemFiles

_Found = TypeVar("_Found")


def opened_input(path: str, allowed: AllowedFolders, max_bytes: int) -> BinaryIO:
    """Open an input by path.

    Raises
    ------
    EdgestemError
        `forbidden`: not below an allowed folder; `too_large`.
    AudioError
        `unreadable`.
    """
    fd = _below(path, allowed, "unreadable", lambda place: open_below(place, READ))
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise AudioError(f"{path} is not a file", code="unreadable", path=path)
        check_size(fd, path, max_bytes)
    except OSError as cause:
        os.close(fd)
        text = f"{path} cannot be read: {cause.strerror}"
        raise AudioError(text, code="unreadable", path=path) from cause
    except BaseException:
        os.close(fd)
        raise
    return os.fdopen(fd, "rb")


def check_apart(source: BinaryIO, outputs: Descriptors | Folder) -> None:
    """Refuse an output that is the song or another output, by inode.

    Raises
    ------
    ProtocolError
        `bad_field`; nothing was touched.
    """
    seen = {_inode(source): "the song"}
    for name, file in outputs.files.items():
        other = seen.setdefault(_inode(file), f"the output of {name}")
        if other != f"the output of {name}":
            raise unfit(
                f"the output of {name} is the same file as {other}: "
                "pass another descriptor"
            )


def _inode(file: BinaryIO) -> tuple[int, int]:
    try:
        status = os.fstat(file.fileno())
    except OSError as cause:
        raise unfit("a passed descriptor cannot be used") from cause
    return status.st_dev, status.st_ino


class Folder:
    """An output folder by path: made at once, and held open until the job ends."""

    def __init__(self, path: str, allowed: AllowedFolders, file_mode: int) -> None:
        # Who may read the files may list the folder.
        mode = file_mode | 0o700 | (file_mode & 0o444) >> 2
        self._fd, self._undo = _below(
            path, allowed, "unwritable", lambda place: make_folder(place, mode)
        )
        self.path = path
        self.files: dict[str, BinaryIO] = {}  # none before the job runs

    def fds(self) -> list[int]:
        """Give the folder's descriptor."""
        return [self._fd]

    def close(self) -> None:
        """Let go; a folder that was made for nothing is removed."""
        if self._fd >= 0:
            self._undo()
            os.close(self._fd)
        self._fd = -1


class Descriptors:
    """Stems written into passed descriptors."""

    def __init__(self, names: tuple[str, ...], fds: list[int]) -> None:
        self.files: dict[str, BinaryIO] = {}
        left = dict(zip(names, fds, strict=True))
        try:
            for name in names:
                self.files[name] = as_file(left.pop(name), "w+b")
        except BaseException:
            for fd in left.values():
                os.close(fd)
            self.close()
            raise

    @contextlib.contextmanager
    def begin(
        self, file_format: str, wav: WavFormat, details: Details = PLAIN
    ) -> Iterator[DescriptorSink]:
        """Empty the files and start the encoders."""
        sink = DescriptorSink()
        try:
            with _wrap():
                for name, file in self.files.items():
                    file.seek(0)
                    file.truncate()
                    sink.add(name, file, file_format, wav, details)
            yield sink
        finally:
            sink.discard()

    path = ""
    """There is none."""

    def fds(self) -> list[int]:
        """Give the descriptors, in the order of the stems."""
        return [file.fileno() for file in self.files.values()]

    def close(self) -> None:
        """Let go of the files."""
        for file in self.files.values():
            let_go(file)


class DescriptorSink(StemFiles):
    """What `StemFiles` is for folders; the client knows the end by `done`."""

    def __init__(self) -> None:
        self._encoders: dict[str, tuple[Encoder, BinaryIO]] = {}

    def add(
        self,
        name: str,
        file: BinaryIO,
        file_format: str,
        wav: WavFormat,
        details: Details,
    ) -> None:
        """Start one stem."""
        path = Path(f"descriptor of {name}")
        own = replace(details, tags=stem_tags(details.tags, name))
        encoder = open_encoder(file, file_format, wav, path, details=own)
        self._encoders[name] = (encoder, file)

    def write(self, stems: Mapping[str, GridSamples]) -> int:
        """Append a block to every stem; count values that had to be clipped."""
        n_clipped = 0
        with _wrap():
            for name, (encoder, _) in self._encoders.items():
                n_clipped += encoder.write(stems[name])
        return n_clipped

    def commit(self) -> None:
        """Complete the files."""
        with _wrap():
            for encoder, file in self._encoders.values():
                encoder.finish()
                file.flush()
        self._encoders = {}

    def discard(self) -> None:
        """Abandon what was not committed; the files are the client's."""
        for encoder, _ in self._encoders.values():
            with contextlib.suppress(OSError, RuntimeError):
                encoder.abandon()
        self._encoders = {}


@contextlib.contextmanager
def _wrap() -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        raise AudioError(
            f"an output descriptor cannot be written: {cause.strerror or cause}",
            code="unwritable",
        ) from cause


def _below(
    path: str, allowed: AllowedFolders, code: str, act: Callable[[Place], _Found]
) -> _Found:
    """Open a path below an allowed folder.

    A symlink that leads from one allowed place to another is followed by us; that
    the result is below such a place is up to the kernel again.  What leads out is
    not told from what is not allowed.
    """
    for name in (path, os.path.realpath(path)) if path.startswith("/") else ():
        place = allowed.find(name)
        if place is None:
            continue
        try:
            return act(place)
        except OSError as cause:
            if cause.errno in (errno.EXDEV, errno.ELOOP):
                continue
            text = f"{path} cannot be opened: {cause.strerror or cause}"
            raise AudioError(text, code=code, path=path) from cause
    raise _forbidden(path, allowed.key)


def _forbidden(path: str, key: str) -> EdgestemError:
    return EdgestemError(
        f"{path} is not below a directory of {key}: pass descriptors, or ask the "
        "administrator to allow it",
        code="forbidden",
    )
