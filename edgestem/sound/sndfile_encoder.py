"""Stems in FLAC, Ogg Vorbis and MP3: encoded by libsndfile, into our open file.

What libsndfile has no word for is added by us: covers, and tags of `extras`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np

from edgestem.errors import AudioError
from edgestem.sound import flac, ogg
from edgestem.sound.containers import Details
from edgestem.sound.covers import PICTURE, flac_blocks, picture_comment
from edgestem.sound.extras import as_comments, frames, with_artists
from edgestem.sound.formats import LOSSY, MAX_BITRATE
from edgestem.sound.grid import GRIDS, GridSamples
from edgestem.sound.song import load_soundfile
from edgestem.sound.tags import id3
from edgestem.sound.wav import WavFormat

# libsndfile's words: container, and sample format for each grid it can hold.
_ENCODINGS: dict[str, tuple[str, dict[str, str]]] = {
    "flac": ("FLAC", {"8": "PCM_S8", "16": "PCM_16", "24": "PCM_24"}),
    "ogg": ("OGG", dict.fromkeys(GRIDS, "VORBIS")),
    "mp3": ("MP3", dict.fromkeys(GRIDS, "MPEG_LAYER_III")),
}
# Least and greatest kbit/s of mp3 from these sample rates up: MPEG-1, 2 and 2.5.
_MP3_RANGES = ((32000, (32, 320)), (16000, (8, 160)), (0, (8, 64)))
# Nominal kbit/s of Vorbis' qualities 0.0, 0.1 ... 0.9, at 44.1 kHz in stereo.
_OGG_RATES = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_SLICE = 8192  # samples; libvorbis puts a whole call on its stack


class SndfileEncoder:
    """An encoder of libsndfile; see `encoding.Encoder`.

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
            tags = with_artists(details.tags, details.extras)
            head = id3(tags, details.covers, frames(details.extras))
        self._raw_file, self._file = file, _Remembering(file, head)
        self._thread = ThreadPoolExecutor(1)
        self._sound: Any = self._run(
            lambda: load_soundfile().SoundFile(
                *(self._file, "w", wav.sample_rate, wav.n_channels),
                *(subtypes[wav.grid.name], None, container),
                **_quality(file_format, wav.sample_rate, details.bitrate),
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
        if not (texts or covers):
            return
        if self._format == "flac":
            flac.add(self._raw_file, texts, flac_blocks(covers))
        elif self._format == "ogg":
            pictures = [(PICTURE, picture_comment(cover)) for cover in covers]
            ogg.add_comments(self._raw_file, texts + pictures)

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


def _quality(file_format: str, sample_rate: int, bitrate: int | None) -> dict[str, Any]:
    """Put kbit/s into libsndfile's words: 0 is the best, 1 the smallest.

    soundfile before 0.13 has no such words; what is asked for is refused then.
    """
    if file_format not in LOSSY:
        return {}
    soundfile = load_soundfile()
    if not hasattr(soundfile.SoundFile, "compression_level"):
        if bitrate is None:
            return {}
        raise ValueError(
            f"a bit rate needs soundfile 0.13, not {soundfile.__version__}"
        )
    wanted = MAX_BITRATE if bitrate is None else bitrate
    if file_format == "ogg":
        level = 1 - np.interp(wanted, _OGG_RATES, np.arange(10) / 10)
        return {"compression_level": float(level)}
    low, high = next(r for start, r in _MP3_RANGES if sample_rate >= start)
    return {
        "compression_level": (high - min(wanted, high)) / (high - low),
        "bitrate_mode": "CONSTANT",
    }
