"""Opening a song: finding who can read it.

libsndfile reads the files it knows, `wav` reads WAV on a pipe, ffmpeg everything
else that people have.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from edgestem.ffmpeg import FfmpegSong
from edgestem.song import PipedSong, SndfileSong, Song, load_soundfile, unreadable
from edgestem.wav import parse


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
    return _open_file(file, name, path)


def _open_pipe(file: BinaryIO, name: str) -> Song:
    """Stream WAV; everything else needs a file to seek in."""
    seen = bytearray()

    def read(n_bytes: int) -> bytes:
        data = file.read(n_bytes)
        seen.extend(data)
        return data

    wav = parse(read)
    if wav is not None:
        return PipedSong(file, name, wav)
    if not seen:
        raise unreadable(name, "is empty")
    spool: Any = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the song
    spool.write(seen)
    while data := file.read(1 << 16):
        spool.write(data)
    spool.flush()
    spool.seek(0)
    file.close()
    return _open_file(spool, name, None)


def _open_file(file: BinaryIO, name: str, path: Path | None) -> Song:
    try:
        return SndfileSong(file, name)
    except load_soundfile().LibsndfileError:
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return FfmpegSong(file, name, path)
