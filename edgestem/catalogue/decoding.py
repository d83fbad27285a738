"""What a song was and what it became: digests of its samples, and of its stems.

Decoders of lossy formats differ from version to version; the other stem of a song
can be restored to the bit only from the same samples.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from edgestem.catalogue import receipt
from edgestem.sound.ffmpeg import FfmpegSong
from edgestem.sound.grid import GridSamples
from edgestem.sound.reading import open_song
from edgestem.sound.sndfile import SndfileSong
from edgestem.sound.song import Song, load_soundfile
from edgestem.sound.wav import pack


class Listener:
    """Opens songs and hears them, and reads their stems, one song after the other.

    Attributes
    ----------
    source, outputs : str, dict of str
        sha256 of the song's file and of each stem's, once these are complete.
    """

    def __init__(self) -> None:
        self._song: Song | None = None
        self._digest = hashlib.sha256()
        self._reading: Future[str] = Future()
        self.source, self.outputs = "", dict[str, str]()

    def open(self, path: str | Path) -> Song:
        """Open a song as `open_song` does, and hear it from now on."""
        song = open_song(path)
        self._song, self._digest = song, hashlib.sha256()
        song.listener = self._hear
        beside = ThreadPoolExecutor(1)
        self._reading = beside.submit(receipt.sha256, path)
        beside.shutdown(wait=False)
        return song

    def _hear(self, x: GridSamples) -> None:
        assert self._song is not None
        self._digest.update(pack(x, self._song.grid))

    def read(self, outputs: Mapping[str, int]) -> None:
        """Read finished files of stems, by their descriptors."""
        self.source = self._reading.result()
        with ThreadPoolExecutor(len(outputs)) as beside:
            sums = beside.map(receipt.sha256_of, outputs.values())
            self.outputs = dict(zip(outputs, sums, strict=True))

    def heard(self) -> dict[str, Any]:
        """Say what the last song was: what a receipt calls `decoded`."""
        song = self._song
        assert song is not None
        return {
            "sha256": self._digest.hexdigest(),
            "samples": song.n_read,
            "sample_rate": song.sample_rate,
            "channels": song.n_channels,
            "grid": song.grid.name,
            "decoder": decoder(song),
        }


def decoder(song: Song) -> str:
    """Name the program that decodes a song, with its version."""
    if isinstance(song, SndfileSong):
        return f"libsndfile {load_soundfile().__libsndfile_version__}"
    return _ffmpeg() if isinstance(song, FfmpegSong) else "wav"


@cache
def _ffmpeg() -> str:
    """Ask ffmpeg for its version, once."""
    program = shutil.which("ffmpeg") or "ffmpeg"
    said = subprocess.run(
        [program, "-version"], capture_output=True, text=True, check=False
    ).stdout.split()
    return f"ffmpeg {said[2]}" if said[1:2] == ["version"] else "ffmpeg"
