"""Stems in AAC, ALAC and Opus: encoded by the `ffmpeg` program, without delay.

ffmpeg writes into our open file, which can be sought in: only so it leaves the edit
list (m4a) that takes the encoder's 1024 samples away again; Opus has its pre-skip.
What an AAC encoder adds behind the last sample stays: up to a frame of silence.
Tags and covers are written by us: ffmpeg loses half of them.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from typing import Any, BinaryIO

from edgestem.errors import AudioError
from edgestem.sound import mp4, ogg
from edgestem.sound.containers import Details
from edgestem.sound.covers import PICTURE, picture_comment
from edgestem.sound.extras import as_comments, boxes, with_artists
from edgestem.sound.grid import GridSamples
from edgestem.sound.wav import WavFormat, pack

# kbit/s: PiKaraoke encodes AAC once more, at 192; Opus is transparent at 128.
_DEFAULT_BITRATES = {"m4a": 256, "opus": 128}
_CODECS = {
    "m4a": ("-c:a", "aac", "-f", "ipod"),
    "alac": ("-c:a", "alac", "-f", "ipod"),
    "opus": ("-c:a", "libopus", "-ar", "48000", "-f", "opus"),
}
_RAW = {"8": "u8", "16": "s16le", "24": "s24le", "32": "s32le"}
_RAW |= {"float": "f32le", "double": "f64le"}


class ProgramEncoder:
    """An encoder in another process; see `encoding.Encoder`.

    Raises
    ------
    AudioError
        `ffmpeg_missing`.
    """

    def __init__(
        self, file: BinaryIO, file_format: str, wav: WavFormat, details: Details
    ) -> None:
        if shutil.which("ffmpeg") is None:
            raise AudioError(
                f"{file_format} is written by ffmpeg: install it (apt install "
                "ffmpeg), or choose --format flac",
                code="ffmpeg_missing",
            )
        self._file, self._format, self._wav = file, file_format, wav
        self._details, self._n_samples = details, 0
        self._talk: Any = tempfile.TemporaryFile()  # noqa: SIM115 - read at the end
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        w, out = self._wav, self._file.fileno()
        bitrate = self._details.bitrate or _DEFAULT_BITRATES.get(self._format)
        rate = ("-b:a", f"{bitrate}k") if bitrate else ()
        return subprocess.Popen(
            (
                *("ffmpeg", "-nostdin", "-v", "error", "-y"),
                *("-f", _RAW[w.grid.name], "-ar", str(w.sample_rate)),
                *("-ac", str(w.n_channels), "-i", "pipe:0", "-map_metadata", "-1"),
                *("-fflags", "+bitexact", "-flags:a", "+bitexact"),
                *(*_CODECS[self._format], *rate, f"file:/dev/fd/{out}"),
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._talk,
            pass_fds=(out,),
            start_new_session=True,  # Ctrl-C is ours to answer
        )

    def write(self, x: GridSamples) -> int:
        """Append samples of the grid; nothing is clipped here."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(pack(x, self._wav.grid))
        except BrokenPipeError as cause:
            raise self._failed() from cause
        self._n_samples += len(x)
        return 0

    def finish(self) -> None:
        """Complete the file, with its tags."""
        assert self._process.stdin is not None
        if self._n_samples == 0:
            self.abandon()
            raise AudioError(
                f"ffmpeg makes no {self._format} file of 0 samples: choose "
                "--format wav",
                code="unsupported_format",
            )
        try:
            self._process.stdin.close()
        except BrokenPipeError as cause:
            raise self._failed() from cause
        if self._process.wait():
            raise self._failed()
        self._talk.close()
        self._tag()

    def _tag(self) -> None:
        d = self._details
        if self._format == "opus":
            pictures = [(PICTURE, picture_comment(cover)) for cover in d.covers]
            texts = [*d.tags.items(), *as_comments(d.extras)]
            ogg.add_comments(self._file, texts + pictures)
        else:
            covers = [(cover.mime, cover.data) for cover in d.covers]
            tags = with_artists(d.tags, d.extras)
            udta = mp4.user_data(tags, covers, more=boxes(d.extras))
            mp4.replace_user_data(self._file, udta)

    def _failed(self) -> AudioError:
        """Make the error of an ffmpeg that gave up; "No space left" is said by it."""
        self._process.wait()
        self._talk.seek(0)
        lines = self._talk.read().decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit status {self._process.returncode}"
        return AudioError(
            f"ffmpeg cannot write {self._format}: {reason}; choose --format flac, "
            "or another folder with -o",
            code="unwritable",
        )

    def abandon(self) -> None:
        """End ffmpeg."""
        self._process.kill()
        self._process.communicate()
        self._talk.close()
