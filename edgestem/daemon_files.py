"""A job's input and outputs: passed descriptors, or paths below allowed folders.

A path is opened first and judged by what was opened: the kernel says where a
descriptor really is, whatever symlinks or races led there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from edgestem.containers import PLAIN, Details
from edgestem.encoding import Encoder, open_encoder
from edgestem.errors import AudioError, EdgestemError, ProtocolError
from edgestem.grid import Samples
from edgestem.tags import stem_tags
from edgestem.wav import WavFormat
from edgestem.writing import StemFiles

# O_NONBLOCK: a FIFO put in a song's place must not hold the daemon.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def passed_input(fd: int, max_bytes: int) -> BinaryIO:
    """Take a passed input.

    Raises
    ------
    ProtocolError
        `bad_field`: not a regular file that can be read.
    EdgestemError
        `too_large`.
    """
    file = with_own_offset(_as_file(fd, "rb"))
    try:
        os.pread(file.fileno(), 1, 0)
        _check_size(file.fileno(), "the input", max_bytes)
    except OSError as cause:
        file.close()
        raise _unfit("the input descriptor cannot be read") from cause
    except BaseException:
        file.close()
        raise
    return file


def opened_input(path: str, allowed: tuple[str, ...], max_bytes: int) -> BinaryIO:
    """Open an input by path.

    Raises
    ------
    EdgestemError
        `forbidden`: not below an allowed folder; `too_large`.
    AudioError
        `unreadable`.
    """
    _check_plain(path, allowed, "input_dirs")
    try:
        fd = os.open(os.path.realpath(path), _READ)
    except OSError as cause:
        raise AudioError(
            f"{path} cannot be opened: {cause.strerror}", code="unreadable", path=path
        ) from cause
    try:
        _check_place(fd, path, allowed, "input_dirs")
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise AudioError(f"{path} is not a file", code="unreadable", path=path)
        _check_size(fd, path, max_bytes)
    except BaseException:
        os.close(fd)
        raise
    return os.fdopen(fd, "rb")


def with_own_offset(file: BinaryIO) -> BinaryIO:
    """Open a passed input once more: who passed it may move its offset.

    Where that is not permitted the descriptor itself is read.
    """
    try:
        fd = os.open(f"/proc/self/fd/{file.fileno()}", _READ)
    except OSError:
        return file
    file.close()
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
            raise _unfit(
                f"the output of {name} is the same file as {other}: "
                "pass another descriptor"
            )


def _inode(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


class Folder:
    """An output folder by path, held open; a new one is made when it is needed."""

    def __init__(self, path: str, allowed: tuple[str, ...]) -> None:
        _check_plain(path, allowed, "output_dirs")
        self.path = path
        self.files: dict[str, BinaryIO] = {}  # none before the job runs
        real = Path(os.path.realpath(path))
        self._name = "." if real.is_dir() else real.name
        parent = real if real.is_dir() else real.parent
        try:
            self._fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as cause:
            raise AudioError(
                f"{path}: its parent folder cannot be opened: {cause.strerror}",
                code="unwritable",
                path=path,
            ) from cause
        try:
            _check_place(self._fd, path, allowed, "output_dirs")
        except BaseException:
            self.close()
            raise

    def inside(self) -> Path:
        """Name the folder by its descriptor, so that nobody can swap it."""
        return Path(f"/proc/self/fd/{self._fd}") / self._name

    def close(self) -> None:
        """Let go."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class Descriptors:
    """Stems written into passed descriptors."""

    def __init__(self, names: tuple[str, ...], fds: list[int]) -> None:
        self.files: dict[str, BinaryIO] = {}
        left = dict(zip(names, fds, strict=True))
        try:
            for name in names:
                self.files[name] = _as_file(left.pop(name), "w+b")
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

    def close(self) -> None:
        """Let go of the files."""
        for file in self.files.values():
            with contextlib.suppress(OSError):
                file.close()


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

    def write(self, stems: Mapping[str, Samples]) -> int:
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


def _as_file(fd: int, mode: str) -> BinaryIO:
    """Wrap a regular file's descriptor; it is closed with the file."""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _unfit("a passed descriptor is not a regular file")
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        if "w" in mode and (flags & os.O_APPEND or not flags & os.O_ACCMODE):
            raise _unfit("an output descriptor is read-only or only appends")
        return os.fdopen(fd, mode)  # type: ignore[return-value]
    except OSError as cause:
        os.close(fd)
        raise _unfit("a passed descriptor cannot be used") from cause
    except BaseException:
        os.close(fd)
        raise


def _unfit(text: str) -> ProtocolError:
    return ProtocolError(text, code="bad_field")


def _check_size(fd: int, name: str, max_bytes: int) -> None:
    if os.fstat(fd).st_size > max_bytes:
        raise EdgestemError(
            f"{name} is larger than {max_bytes >> 20} MiB (max_file_mb)",
            code="too_large",
        )


def _check_plain(path: str, allowed: tuple[str, ...], key: str) -> None:
    """Refuse what is not below an allowed folder even by name."""
    real = Path(os.path.realpath(path))
    if not path.startswith("/") or not _is_below(real, allowed):
        raise _forbidden(path, key)


def _check_place(fd: int, path: str, allowed: tuple[str, ...], key: str) -> None:
    """Refuse what is not below an allowed folder now that it is open."""
    if not _is_below(Path(f"/proc/self/fd/{fd}").readlink(), allowed):
        raise _forbidden(path, key)


def _is_below(path: Path, allowed: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(os.path.realpath(folder)) for folder in allowed)


def _forbidden(path: str, key: str) -> EdgestemError:
    return EdgestemError(
        f"{path} is not below a directory of {key}: pass descriptors, or ask the "
        "administrator to allow it",
        code="forbidden",
    )
