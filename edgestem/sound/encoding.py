"""What writes a stem into a file: WAV by our own hand, the rest by others."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Protocol

from edgestem.errors import AudioError
from edgestem.sound.chunks import shift
from edgestem.sound.containers import PLAIN, Details, check_rate
from edgestem.sound.formats import BY_FFMPEG
from edgestem.sound.grid import GridSamples
from edgestem.sound.tags import riff_info
from edgestem.sound.wav import MAX_RIFF, ROOM, WavFormat, header, pack
from edgestem.sound.wav_output import SURE


class Encoder(Protocol):
    """Writes one stem into an open file."""

    def write(self, x: GridSamples) -> int:
        """Append samples of the grid; count values that had to be clipped."""

    def finish(self) -> None:
        """Complete the file; it is the caller's to close."""

    def abandon(self) -> None:
        """Let go of a file that will be thrown away."""


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
        from edgestem.sound.programs import ProgramEncoder

        return ProgramEncoder(file, file_format, wav, details)
    from edgestem.sound.sndfile_encoder import SndfileEncoder

    try:
        return SndfileEncoder(file, file_format, wav, details)
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
            shift(self._file, len(self._header()), ROOM)
            self._with_room = True
        head = bytearray(self._header())
        if n_bytes <= MAX_RIFF and self._info:  # RF64 goes without tags
            self._file.write(self._info)
            struct.pack_into("<I", head, 4, self._file.tell() - 8)
        self._file.seek(0)
        self._file.write(head)

    def abandon(self) -> None:
        pass  # nothing is held
