"""Opening a song: finding who can read it.

libsndfile reads the files it knows, `wav` reads WAV on a pipe, ffmpeg everything
else that people have.
"""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from edgestem.errors import AudioError
from edgestem.sound.chunks import wav_layout
from edgestem.sound.descriptors import read_exactly
from edgestem.sound.refusals import unreadable
from edgestem.sound.sndfile import NotForSndfile, SndfileSong
from edgestem.sound.song import PipedSong, Song, WavSong, load_soundfile
from edgestem.sound.wav import WavFormat, parse

MAX_SPOOL = 8 << 30  # bytes of a pipe that is no WAV: ten days of mp3
SNIFFED = 1 << 16  # bytes that tell a song from an endless device


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
    fd, seen = file.fileno(), bytearray()

    def read(n_bytes: int) -> bytes:
        data = read_exactly(fd, n_bytes)
        seen.extend(data)
        return data

    wav = parse(read)
    if wav is not None:
        return _open_wav_pipe(file, name, wav)
    if not seen:
        raise unreadable(name, "is empty")
    spool = _spool(fd, bytes(seen), name)
    file.close()
    return _open_file(spool, name, None)


def _open_wav_pipe(file: BinaryIO, name: str, wav: WavFormat) -> Song:
    """Begin with the samples; a length of 0 may mean none, when a note follows."""
    if wav.n_samples is not None:
        return PipedSong(file, name, wav)
    ahead = read_exactly(file.fileno(), 8)
    if ahead[:4] in _NOTES and len(ahead) == 8:
        wav = replace(wav, n_samples=0)
    return PipedSong(file, name, wav, ahead)


# Chunks that follow the samples of a WAV file.
_NOTES = (
    b"LIST",
    b"id3 ",
    b"ID3 ",
    b"bext",
    b"cue ",
    b"smpl",
    b"inst",
    b"iXML",
    b"JUNK",
)


def _spool(fd: int, seen: bytes, name: str) -> BinaryIO:
    """Copy a pipe into a temporary file.

    Raises
    ------
    AudioError
        An endless device, or a full disk.
    """
    start = seen + read_exactly(fd, SNIFFED - len(seen))
    if start.count(0) == len(start) == SNIFFED:
        raise unreadable(name, "is no song: it begins with nothing but zeros")
    try:
        spool: Any = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the song
        spool.write(start)
        n_bytes = len(start)
        while data := read_exactly(fd, 1 << 20):
            spool.write(data)
            n_bytes += len(data)
            if n_bytes > MAX_SPOOL:
                raise unreadable(name, "does not end: save it to a file first")
        spool.flush()
    except OSError as cause:
        raise AudioError(
            f"{name} cannot be kept in a temporary file: {cause.strerror or cause}; "
            "TMPDIR=FOLDER names another place for it",
            code="unwritable",
            path=name,
        ) from cause
    spool.seek(0)
    return spool  # type: ignore[no-any-return]


def _open_file(file: BinaryIO, name: str, path: Path | None) -> Song:
    layout = wav_layout(file.fileno())
    if layout is not None and not layout.is_plain:
        return WavSong(file, name, layout)
    try:
        return SndfileSong(file, name, path, has_ffmpeg=True)
    except (load_soundfile().LibsndfileError, NotForSndfile):
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return _open_by_ffmpeg(file, name, path)


def _open_by_ffmpeg(file: BinaryIO, name: str, path: Path | None) -> Song:
    from edgestem.sound import wavpack  # most songs do without either
    from edgestem.sound.ffmpeg import FfmpegSong

    found = wavpack.mended(file)
    if found is None:
        return FfmpegSong(file, name, path)
    file.close()
    copy, lost_at = found
    song = FfmpegSong(copy, name, None)
    song.say_silence(lost_at)
    return song
