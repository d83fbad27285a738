"""Songs that libsndfile cannot read, through the `ffmpeg` and `ffprobe` programs.

ffprobe says what the first audio stream is, ffmpeg decodes it into a pipe:
integers where the codec is lossless, so that nothing is rounded, floats else.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edgestem.sound.chunks import has_end_mark, is_voc_cut
from edgestem.sound.ffprobe import (
    LOSSLESS,
    ONLY_THE_FILE,
    SILENT_S,
    AudioStream,
    Source,
    probe,
)
from edgestem.sound.grid import GRIDS, GridSamples
from edgestem.sound.mpeg import say_tears
from edgestem.sound.promises import caf_bytes
from edgestem.sound.refusals import unreadable
from edgestem.sound.song import NO_END, Song
from edgestem.sound.wav import WavFormat, unpack

# Said of whole files; and of files joined to others.
_HARMLESS = re.compile(
    r"skipped samples|Referenced QT chapter|non.?monoton|Last message repeated"
    r"|Error while decoding stream #\S+ Invalid argument"  # after the last frame
)
_HARMLESS_BEHIND = re.compile(
    _HARMLESS.pattern + "|Header missing|Invalid data found|parsing the packet header"
)
# Lost frames of a lossless codec leave silence at their place.  10 ms is less than any
# frame, and more than containers round times to.
_KEEP_PLACES = ("-af", "aresample=async=1:min_hard_comp=0.01:first_pts=0")
_IN_TURN = ("-threads", "1")  # else damage is told seconds before its samples come
# Decoders that look at their checksums only when told to, and give noise else.
_CHECKED = {"tta", "wavpack"}
_CHECKS = ("-err_detect", "crccheck+explode")
_FRAME = 4096  # samples: the most that a lossy codec pads or trims
_LATE_S = 0.1  # sound that starts so late in a film has silence in front


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
    like : Song, optional
        Another reader's song that this one goes on with, on its grid.
    n_skip : int
        GridSamples at the start that the other reader gave.

    Raises
    ------
    AudioError
        `ffmpeg_missing`, or `unreadable`: ffmpeg finds no sound either.
    """

    is_slow = True

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        path: Path | None,
        *,
        like: Song | None = None,
        n_skip: int = 0,
    ) -> None:
        self._source = Source(file, path)
        stream = probe(self._source, name)
        form = like or stream  # what goes on with a song keeps its form
        rate, n_channels, grid = form.sample_rate, form.n_channels, form.grid
        wav = WavFormat(grid, rate, n_channels, stream.n_samples(rate))
        super().__init__(name, wav, is_lossy=stream.is_lossy)
        raw = {"float": "float", "double": "double"}.get(grid.name, "32")
        self._raw = WavFormat(GRIDS[raw], rate, n_channels)
        self._container, self.tags = stream.container, stream.tags
        self.is_exact = stream.is_exact
        # CAF counts whole frames, the others milliseconds at the worst.
        is_coarse = stream.is_lossy or stream.container == "caf"
        self._slack = _FRAME if is_coarse else rate // 1000 + 1
        self._n_skip = self.n_read = n_skip
        self._damage = _Damage()
        self._harmless = _HARMLESS_BEHIND if like else _HARMLESS
        self._keeps_places = stream.codec in LOSSLESS
        self.n_silent = 0 if like else self._begin(stream)
        self._stderr: Any = tempfile.TemporaryFile()  # noqa: SIM115 - read at the end
        kind = {"float": "f32le", "double": "f64le"}.get(grid.name, "s32le")
        self._command = (
            *("ffmpeg", "-nostdin", "-v", "error", *ONLY_THE_FILE),
            *(_CHECKS if stream.codec in _CHECKED else ()),
            *(_IN_TURN if self._keeps_places else ()),
            *("-i", self._source.url, "-map", "0:a:0"),
            *(_KEEP_PLACES if self._keeps_places else ()),
            *("-ar", str(rate), "-ac", str(n_channels)),
            *("-f", kind, "-c:a", f"pcm_{kind}", "-"),
        )

    @cached_property
    def _process(self) -> subprocess.Popen[bytes]:
        """The decoder: started when samples are wanted, not to know what a file is."""
        return self._source.start(*self._command, stderr=self._stderr)

    def _begin(self, stream: AudioStream) -> int:
        """Say what was chosen of a film; count the silence that keeps sound in step."""
        lead = stream.lead_s if stream.lead_s >= _LATE_S else 0.0
        if lead:
            self.note(f"starts {lead:.2f} s after its picture: silence stands there")
        if stream.n_tracks > 1:
            self.note(f"has {stream.n_tracks} sound tracks: the first was taken")
        # What keeps places puts that silence there, too.
        return 0 if self._keeps_places else round(lead * self.sample_rate)

    def _read(self, n_samples: int) -> GridSamples:
        if self.n_silent:
            n = min(n_samples, self.n_silent)
            self.n_silent -= n
            return np.zeros((n, self.n_channels), self.grid.dtype)
        while self._n_skip:
            skipped = len(self._decode(min(self._n_skip, 1 << 16)))
            self._n_skip = self._n_skip - skipped if skipped else 0
        return self._decode(n_samples)

    def _decode(self, n_samples: int) -> GridSamples:
        x = unpack(self._take(n_samples * self._raw.bytes_per_sample), self._raw)
        # Integers of any width come left-justified in 32 bits.
        if self.grid.is_float:
            return x
        return (x >> (32 - self.grid.bits)).astype(self.grid.dtype, copy=False)

    def _take(self, n_bytes: int) -> bytes:
        assert self._process.stdout is not None
        fd, parts, n_taken = self._process.stdout.fileno(), [], 0
        while n_bytes > 0:
            if not select.select([fd], [], [], SILENT_S)[0]:
                raise unreadable(
                    self.name,
                    f"takes ffmpeg more than {SILENT_S:.0f} s without a word",
                )
            part = os.read(fd, min(n_bytes, 1 << 20))
            if not part:
                break
            parts.append(part)
            n_bytes -= len(part)
            n_taken += len(part)
            at = self.n_read + n_taken // self._raw.bytes_per_sample
            self._damage.look(self._stderr, at)
        return b"".join(parts)

    def _find_loss(self) -> None:
        status = self._process.wait()
        self._stderr.seek(0)
        text = self._stderr.read().decode(errors="replace")
        lines = [
            re.sub(r"^\[[^]]* @ 0x\w+\] *", "", line.strip())
            for line in text.splitlines()
            if line.strip() and not self._harmless.search(line)
        ]
        reason = lines[-1] if lines else f"exit status {status}"
        if status and self.n_read == 0:
            raise unreadable(self.name, f"holds no sound: {reason}")
        if self.is_exact and self.n_samples is not None:
            self._compare(self.n_samples, self._slack)
        if (status or lines) and not self.is_damaged:
            first = lines[0] if lines else reason
            self.lose(f"is damaged{self._where()}: ffmpeg says {first}")
        if not self.is_damaged and (what := self._how_cut()):
            self.lose(what)
        if self._container == "mp3" and not self.notes:
            say_tears(self, self._source.file.fileno())

    def _how_cut(self) -> str:
        """Look for the end that containers without an exact length have."""
        fd = self._source.file.fileno()
        if self._container == "caf":
            promised, there = caf_bytes(fd) or (0, 0)
            short = f"is incomplete: {there} of {promised} bytes of its sound are there"
            return short if promised > there else ""
        if self._container == "ogg":
            return "" if has_end_mark(fd) else NO_END
        return NO_END if self._container == "voc" and is_voc_cut(fd) else ""

    def _where(self) -> str:
        """Where ffmpeg first complained, to the second or two that pipes hold."""
        if self._damage.first_at is None:
            return " or incomplete"
        lost = "; what is lost there is silent" if self._keeps_places else ""
        return f" near {self._damage.first_at / self.sample_rate:.0f} s{lost}"

    def stop(self) -> None:
        """End ffmpeg; the file stays open."""
        if "_process" in vars(self):
            self._process.kill()
            self._process.communicate()
        self._stderr.close()

    def close(self) -> None:
        self.stop()
        self._source.file.close()


class _Damage:
    """Sees when a decoder first complains."""

    def __init__(self) -> None:
        self.first_at: int | None = None
        self._size = 0

    def look(self, talk: BinaryIO, at: int) -> None:
        """Remember the sample at which there is more talk than before."""
        size = os.fstat(talk.fileno()).st_size
        if size > self._size and self.first_at is None:
            self.first_at = at
        self._size = size
