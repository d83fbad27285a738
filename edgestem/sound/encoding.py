"""Sample formats of the outputs, and the encoders that write them into a file."""

from __future__ import annotations

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from edgestem.errors import AudioError
from edgestem.sound.containers import (
    BY_FFMPEG,
    CONTAINERS,
    PLAIN,
    Details,
    check_rate,
    quality,
)
from edgestem.sound.covers import PICTURE, flac_blocks, picture_comment
from edgestem.sound.descriptors import SURE
from edgestem.sound.extras import as_comments, flac_head, frames
from edgestem.sound.grid import GRIDS, Grid, GridSamples
from edgestem.sound.ogg import add_comments
from edgestem.sound.programs import ProgramEncoder
from edgestem.sound.song import load_soundfile
from edgestem.sound.tags import id3, riff_info
from edgestem.sound.wav import MAX_RIFF, ROOM, WavFormat, header, pack

__all__ = ["CONTAINERS", "Details", "Encoder", "choose_grid", "open_encoder"]
# libsndfile's words: container, and sample format for each grid it can hold.
_ENCODINGS: dict[str, tuple[str, dict[str, str]]] = {
    "flac": ("FLAC", {"8": "PCM_S8", "16": "PCM_16", "24": "PCM_24"}),
    "ogg": ("OGG", dict.fromkeys(GRIDS, "VORBIS")),
    "mp3": ("MP3", dict.fromkeys(GRIDS, "MPEG_LAYER_III")),
}
# Grids that the lossless formats besides wav hold, and the wider one for others.
_LOSSLESS = {"flac": ("8", "16", "24"), "alac": ("16", "24")}
_SLICE = 8192  # samples; libvorbis puts a whole call on its stack


class Encoder(Protocol):
    """Writes one stem into an open file."""

    def write(self, x: GridSamples) -> int:
        """Append samples of the grid; count values that had to be clipped."""

    def finish(self) -> None:
        """Complete the file; it is the caller's to close."""

    def abandon(self) -> None:
        """Let go of a file that will be thrown away."""


def choose_grid(subtype: str, file_format: str, own: Grid) -> tuple[Grid, str]:
    """Find the grid the stems are written on.

    Parameters
    ----------
    subtype : str
        "keep" or the name of a grid.
    file_format : str
        One of `ALL_FORMATS`.
    own : Grid
        What keeping means for this song.

    Returns
    -------
    grid : Grid
    note : str
        A sentence when the format cannot keep the song's own grid.

    Raises
    ------
    AudioError
        `unsupported_format`: the format cannot hold what was asked for.
    """
    grid = own if subtype == "keep" else GRIDS[subtype]
    if grid.name in _LOSSLESS.get(file_format, GRIDS):
        return grid, ""
    if subtype != "keep":
        raise AudioError(
            f"{file_format} holds 16 or 24 bits, not {subtype}: choose --subtype 24 "
            "or --format wav",
            code="unsupported_format",
        )
    if own.name == "8":
        return GRIDS["16"], ""  # wider: nothing is lost
    note = f"{file_format} cannot keep {own.name}-bit samples: the stems are 24-bit"
    return GRIDS["24"], note


def open_encoder(
    file: BinaryIO,
    file_format: str,
    wav: WavFormat,
    path: Path,
    *,
    details: Details = PLAIN,
) -> Encoder:
    """Start a file; `wav.n_samples` is the expected length.

    Raises
    ------
    AudioError
        `unsupported_format`: mp3 at 96 kHz, for example.
    """
    if file_format == "wav":
        return _WavEncoder(file, wav, details)
    check_rate(file_format, wav.sample_rate, path)
    if file_format in BY_FFMPEG:
        return ProgramEncoder(file, file_format, wav, details)
    try:
        return _SndfileEncoder(file, file_format, wav, details)
    except (RuntimeError, ValueError) as cause:  # ValueError: an older libsndfile
        raise AudioError(
            f"{path}: {file_format} cannot be written here ({cause}): "
            "choose --format flac or wav",
            code="unsupported_format",
            path=str(path),
        ) from cause


class _WavEncoder:
    """WAV by our own hand, so that it can become RF64."""

    def __init__(self, file: BinaryIO, wav: WavFormat, details: Details) -> None:
        self._file, self._wav, self._n_samples = file, wav, 0
        self._info = riff_info(details.tags)
        expected = wav.n_samples
        self._with_room = expected is None or expected * wav.bytes_per_sample > SURE
        file.write(self._header())

    def _header(self) -> bytes:
        w = self._wav
        done = WavFormat(w.grid, w.sample_rate, w.n_channels, self._n_samples)
        return header(done, with_room=self._with_room)

    def write(self, x: GridSamples) -> int:
        self._file.write(pack(x, self._wav.grid))
        self._n_samples += len(x)
        return 0

    def finish(self) -> None:
        n_bytes = self._n_samples * self._wav.bytes_per_sample
        if n_bytes % 2:
            self._file.write(b"\0")
        if n_bytes > MAX_RIFF and not self._with_room:
            # The expected length was wrong by gigabytes: everything moves, once.
            _shift(self._file, len(self._header()), ROOM)
            self._with_room = True
        head = bytearray(self._header())
        if n_bytes <= MAX_RIFF and self._info:  # RF64 goes without tags
            self._file.write(self._info)
            struct.pack_into("<I", head, 4, self._file.tell() - 8)
        self._file.seek(0)
        self._file.write(head)

    def abandon(self) -> None:
        pass  # nothing is held


def _shift(file: BinaryIO, start: int, n_bytes: int) -> None:
    """Move all from `start` to the end of a file towards its end."""
    end = file.seek(0, 2)
    while end > start:
        begin = max(start, end - (1 << 20))
        file.seek(begin)
        data = file.read(end - begin)
        file.seek(begin + n_bytes)
        file.write(data)
        end = begin


class _SndfileEncoder:
    """FLAC, Ogg Vorbis and MP3 by libsndfile, into our file.

    libsndfile calls back into Python to write.  An exception has no way out of a
    callback, so no signal handler may run in one: they run in the main thread,
    the callbacks in a thread of their own.
    """

    def __init__(
        self, file: BinaryIO, file_format: str, wav: WavFormat, details: Details
    ) -> None:
        container, subtypes = _ENCODINGS[file_format]
        self._grid, self._format, self._n_samples = wav.grid, file_format, 0
        self._details = details
        head = b""
        if file_format == "mp3" and (details.tags or details.covers):
            head = id3(details.tags, details.covers, frames(details.extras))
        self._raw_file, self._file = file, _Remembering(file, head)
        self._thread = ThreadPoolExecutor(1)
        self._sound: Any = self._run(
            lambda: load_soundfile().SoundFile(
                *(self._file, "w", wav.sample_rate, wav.n_channels),
                *(subtypes[wav.grid.name], None, container),
                **quality(file_format, wav.sample_rate, details.bitrate),
            )
        )
        for name, text in details.tags.items():
            if file_format != "mp3":
                self._run(setattr, self._sound, name, text)

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._thread.submit(function, *arguments).result()

    def write(self, x: GridSamples) -> int:
        n_clipped = 0
        if not self._grid.is_float:  # libsndfile wants integers left-justified
            data = (x << (32 - self._grid.bits)).astype(np.int32, copy=False)
        else:  # beyond full scale LAME ends the process
            data = np.clip(x, -1, 1)
            n_clipped = int(np.count_nonzero(data != x))
        try:
            for start in range(0, len(data), _SLICE):
                self._run(self._sound.write, data[start : start + _SLICE])
        except (RuntimeError, AssertionError):  # soundfile asserts what was written
            self._file.check()
            raise
        self._file.check()
        self._n_samples += len(data)
        return n_clipped

    def finish(self) -> None:
        self._run(self._sound.close)
        self._thread.shutdown()
        self._file.check()
        if self._n_samples == 0 and self._format != "ogg":
            raise AudioError(
                f"libsndfile makes no {self._format} file of 0 samples: "
                "choose --format wav",
                code="unsupported_format",
            )
        self._raw_file.flush()
        self._tag()

    def _tag(self) -> None:
        """Add what libsndfile cannot write."""
        texts, covers = as_comments(self._details.extras), self._details.covers
        if self._format == "flac" and (texts or covers):
            old, new = flac_head(self._raw_file.fileno(), texts, flac_blocks(covers))
            _shift(self._raw_file, old, len(new) - old)
            self._raw_file.seek(0)
            self._raw_file.write(new)
        elif self._format == "ogg" and (texts or covers):
            pictures = [(PICTURE, picture_comment(cover)) for cover in covers]
            add_comments(self._raw_file, texts + pictures)

    def abandon(self) -> None:
        self._run(self._sound.close)
        self._thread.shutdown()


class _Remembering:
    """A file for libsndfile's callbacks, which cannot raise: errors wait in it.

    It begins behind `head`, which libsndfile does not see.
    """

    def __init__(self, file: BinaryIO, head: bytes) -> None:
        self._file, self._n_head = file, len(head)
        self._error: OSError | None = None
        file.write(head)

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + self._n_head * (whence == 0)
        return self._try(self._file.seek, at, whence) - self._n_head

    def tell(self) -> int:
        return self._try(self._file.tell) - self._n_head

    def read(self, n_bytes: int) -> bytes:
        return self._file.read(n_bytes)

    def write(self, data: bytes) -> int:
        return self._try(self._file.write, data)

    def _try(self, function: Callable[..., int], *arguments: Any) -> int:
        if self._error is None:
            try:
                return function(*arguments)
            except OSError as error:
                self._error = error
            except ValueError:  # closed: what libsndfile opened last is thrown away
                return 0
        return 0

    def check(self) -> None:
        if self._error is not None:
            raise self._error
