"""Songs that libsndfile cannot read, through the `ffmpeg` and `ffprobe` programs.

ffprobe says what the first audio stream is, ffmpeg decodes it into a pipe:
integers where the codec is lossless, so that nothing is rounded, floats else.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from edgestem.decoder import Decoder
from edgestem.grid import GRIDS, Samples
from edgestem.song import Song, place, seconds, unreadable
from edgestem.source import Source
from edgestem.tracks import probe
from edgestem.wav import WavFormat, unpack


class FfmpegSong(Song):
    """The first audio stream of a file, decoded by ffmpeg.

    What ffmpeg cannot decode is silence, so that all that follows is at its place;
    so is the time before the sound of a film begins.

    Parameters
    ----------
    file : binary file
        Open for reading, at its start; closed with the song.
    name : str
        For messages.
    path : Path, optional
        Where the file is; without it ffmpeg gets the open file.
    n_before : int
        Samples to leave out: somebody else has read them.

    Raises
    ------
    AudioError
        `ffmpeg_missing`, or `unreadable`: ffmpeg finds no sound either.
    """

    def __init__(
        self, file: BinaryIO, name: str, path: Path | None, *, n_before: int = 0
    ) -> None:
        self._file = file
        source = Source(file, name, path)
        self._found = found = probe(source, name)
        rate, n_channels = found.sample_rate, found.n_channels
        raw = found.grid if found.grid.is_float else GRIDS["32"]
        self._raw = WavFormat(raw, rate, n_channels)
        wav = WavFormat(found.grid, rate, n_channels, found.n_samples)
        super().__init__(name, wav, is_lossy=found.is_lossy)
        self.slack, self.tags = found.slack, found.tags
        self.remarks += found.remarks
        self.n_before = n_before
        self.n_expected: int | None = None  # of who has counted frames
        self.has_times = True  # what is missing between them is lost
        self._n_left_out = n_before
        self._n_silent = 0
        self._lost: list[tuple[int, int]] = []
        self._decoder = Decoder(source, name, found, self._raw)

    def _read(self, n_samples: int) -> Samples:
        while self._n_left_out:
            x = self._read_all(min(self._n_left_out, n_samples))
            if len(x) == 0:
                return x
            self._n_left_out -= len(x)
        return self._read_all(n_samples)

    def _read_all(self, n_samples: int) -> Samples:
        """Read samples, those that are lost as silence."""
        if self._n_silent == 0:
            data, self._n_silent = self._decoder.read(n_samples)
            if self._n_silent == 0:
                x = unpack(data, self._raw)
                # Integers of any width come left-justified in 32 bits.
                return x if self.grid.is_float else x >> (32 - self.grid.bits)
            if not self.has_times:
                self._n_silent = 0
                return self._read_all(n_samples)
            self._note_loss(self._n_silent)
        n_now = min(n_samples, self._n_silent)
        self._n_silent -= n_now
        return np.zeros((n_now, self.n_channels), self.grid.dtype)

    def _note_loss(self, n_samples: int) -> None:
        at = self.n_before - self._n_left_out + self.n_read
        if at == 0 and not self._lost and self._found.has_picture:
            length = seconds(n_samples, self.sample_rate)
            self.remarks.append(
                f"its sound begins {length} after its picture; "
                "silence stands before it, so that the stems fit the picture"
            )
        else:
            self._lost.append((at, n_samples))

    def _find_loss(self) -> None:
        status, lines = self._decoder.finish()
        reason = lines[-1] if lines else f"exit status {status}"
        if status and self.n_read == 0 and not self.n_before:
            raise unreadable(self.name, f"holds no sound: {reason}")
        if self._lost:
            self.damage.append(self._loss())
        super()._find_loss()
        n_done = self.n_before + self.n_read
        is_whole = self.n_expected is not None and n_done >= self.n_expected
        if (status or lines) and not (self.damage or is_whole):
            self.damage.append(f"ffmpeg says: {reason}")

    def _loss(self) -> str:
        """Say what was lost, where, and what is in its place."""
        n_lost = sum(n for _, n in self._lost)
        length = seconds(n_lost, self.sample_rate)
        where = f"at {place(self._lost[0][0], self.sample_rate)}"
        if len(self._lost) > 1:
            where = f"in {len(self._lost)} places, the first {where}"
        return f"{length} could not be decoded {where}; silence stands there"

    def close(self) -> None:
        self._decoder.close()
        self._file.close()
