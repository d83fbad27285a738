"""Songs that libsndfile cannot read, through the `ffmpeg` and `ffprobe` programs.

ffprobe says what the first audio stream is, ffmpeg decodes it into a pipe:
integers where the codec is lossless, so that nothing is rounded, floats else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from edgestem.errors import AudioError
from edgestem.grid import GRIDS, Grid, Samples
from edgestem.song import Song, unreadable
from edgestem.wav import WavFormat, unpack

_FIELDS = "codec_name,sample_rate,channels,bits_per_raw_sample,sample_fmt"


class FfmpegSong(Song):
    """The first audio stream of a file, decoded by ffmpeg.

    Parameters
    ----------
    file : binary file
        Open for reading, at its start; closed with the song.
    name : str
        For messages.
    path : Path, optional
        Where the file is; without it ffmpeg gets the open file.

    Raises
    ------
    AudioError
        `ffmpeg_missing`, or `unreadable`: ffmpeg finds no sound either.
    """

    def __init__(self, file: BinaryIO, name: str, path: Path | None) -> None:
        self._source = _Source(file, path)
        stream = _probe(self._source, name)
        rate, n_channels = int(stream["sample_rate"]), int(stream["channels"])
        seconds = stream["duration"]
        grid, is_lossy = _grid_of(stream)
        n_samples = None if seconds is None else round(seconds * rate)
        raw = GRIDS["float" if grid.is_float else "32"]
        self._raw = WavFormat(raw, rate, n_channels)
        wav = WavFormat(grid, rate, n_channels, n_samples)
        super().__init__(name, wav, is_lossy=is_lossy)
        self.is_exact = False  # the length is rounded to milliseconds
        self._stderr: Any = tempfile.TemporaryFile()  # noqa: SIM115 - read at the end
        kind = "f32le" if grid.is_float else "s32le"
        self._process = self._source.start(
            *("ffmpeg", "-nostdin", "-v", "error", "-i", self._source.url),
            *("-map", "0:a:0", "-f", kind, "-c:a", f"pcm_{kind}", "-"),
            stderr=self._stderr,
        )

    def _read(self, n_samples: int) -> Samples:
        assert self._process.stdout is not None
        data = self._process.stdout.read(n_samples * self._raw.bytes_per_sample)
        x = unpack(data, self._raw)
        # Integers of any width come left-justified in 32 bits.
        return x if self.grid.is_float else x >> (32 - self.grid.bits)

    def _find_loss(self) -> str:
        status = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit status {status}"
        if status and self.n_read == 0:
            raise unreadable(self.name, f"holds no sound: {reason}")
        if status:
            return f"{self.name} is damaged or incomplete: ffmpeg says {reason}"
        return super()._find_loss()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._stderr.close()
        self._source.file.close()


class _Source:
    """What ffmpeg reads, and how to start it."""

    def __init__(self, file: BinaryIO, path: Path | None) -> None:
        self.file = file
        # "file:" keeps a colon or a dash in a name from meaning something.
        self.url = f"file:{os.fspath(path or f'/dev/fd/{file.fileno()}')}"

    def start(self, *command: str, stderr: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            pass_fds=(self.file.fileno(),),
            start_new_session=True,  # Ctrl-C is ours to answer
        )


def _probe(source: _Source, name: str) -> dict[str, Any]:
    """Ask ffprobe for the first audio stream; `duration` in seconds or None."""
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        raise AudioError(
            f"{name} is not a sound file that libsndfile reads; for m4a, mp4, webm "
            "and others install ffmpeg (apt install ffmpeg)",
            code="ffmpeg_missing",
            path=name,
        )
    process = source.start(
        *("ffprobe", "-v", "error", "-select_streams", "a:0", "-of", "json"),
        *("-show_entries", f"stream={_FIELDS}:format=duration", source.url),
        stderr=subprocess.DEVNULL,
    )
    output = process.communicate()[0]
    try:
        found = json.loads(output)
        stream = dict(found["streams"][0])
        int(stream["sample_rate"]), int(stream["channels"])
    except (ValueError, KeyError, IndexError) as cause:
        raise unreadable(
            name, "is no song: neither libsndfile nor ffmpeg finds sound in it"
        ) from cause
    duration = found.get("format", {}).get("duration")
    stream["duration"] = None if duration is None else float(duration)
    return stream


def _grid_of(stream: dict[str, Any]) -> tuple[Grid, bool]:
    """Return the grid, and whether samples are floats without a grid of their own."""
    kind = str(stream.get("sample_fmt", "")).rstrip("p")
    bits = int(stream.get("bits_per_raw_sample") or 0)
    if kind in ("u8", "s16", "s32"):
        width = bits or int(kind[1:])
        # Odd widths (ALAC's 20 bits) lie on the next wider grid.
        return GRIDS[next(g for g in ("8", "16", "24", "32") if int(g) >= width)], False
    is_float_pcm = str(stream.get("codec_name")).startswith(("pcm_f", "wavpack"))
    return GRIDS["float"], not is_float_pcm
