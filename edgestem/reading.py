"""Opening a song by its path, or standard input.

WAV is streamed from a pipe; everything else needs a file to seek in.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from edgestem.errors import AudioError
from edgestem.incoming import Incoming
from edgestem.opening import open_file
from edgestem.piped import PipedSong
from edgestem.song import Song, unreadable
from edgestem.wav import parse

MAX_SPOOL = 2 << 30  # bytes of a song in a pipe that must be kept to seek in
_PIECE = 1 << 16


def open_song(path: str | Path) -> Song:
    """Open a song; `-` is standard input.

    Raises
    ------
    AudioError
        Not there, not readable, not a song, or ffmpeg would be needed.
    """
    is_stdin = str(path) == "-"
    name = "standard input" if is_stdin else str(path)
    try:
        fd = os.dup(0) if is_stdin else os.open(path, os.O_RDONLY)
    except (OSError, ValueError) as cause:
        reason = getattr(cause, "strerror", None) or str(cause)
        raise unreadable(name, f"cannot be opened: {reason}") from cause
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise unreadable(name, "is a folder, not a song")
    file = os.fdopen(fd, "rb")
    try:
        return _open(file, name, None if is_stdin else Path(path))
    except BaseException:
        file.close()
        raise


def _open(file: BinaryIO, name: str, path: Path | None) -> Song:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        if file.isatty():
            raise unreadable(name, "is a terminal: pipe a song into it")
        return _open_pipe(file, name)
    if status.st_size == 0:
        raise unreadable(name, "is empty")
    return open_file(file, name, path)


def _open_pipe(file: BinaryIO, name: str) -> Song:
    """Stream WAV; everything else needs a file to seek in."""
    source = Incoming(file.fileno())
    seen = bytearray()

    def read(n_bytes: int) -> bytes:
        data = source.read(n_bytes)
        seen.extend(data)
        return data

    try:
        wav = parse(read)
        if wav is not None:
            return PipedSong(file, name, wav, source)
    except OSError as cause:
        raise unreadable(name, f"cannot be read: {cause.strerror}") from cause
    if not seen:
        raise unreadable(name, "is empty: nothing was sent into it")
    spool = _spool(bytes(seen), source, name)
    file.close()
    return open_file(spool, name, None)


def _spool(seen: bytes, source: Incoming, name: str) -> BinaryIO:
    """Keep what comes through a pipe in a temporary file."""
    spool: Any = None
    try:
        spool = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the song
        spool.write(seen)
        while data := source.some(_PIECE):
            if spool.tell() > MAX_SPOOL:
                raise unreadable(
                    name, "is no WAV and longer than 2 GiB: save it to a file first"
                )
            spool.write(data)
        spool.seek(0)
    except BaseException as cause:
        if spool is not None:
            spool.close()
        if isinstance(cause, OSError):
            raise AudioError(
                f"{name} cannot be kept in a temporary file: {cause.strerror}; "
                "TMPDIR=FOLDER chooses where",
                code="unwritable",
                path=name,
            ) from cause
        raise
    return spool  # type: ignore[no-any-return]
