"""Songs that libsndfile reads, to their real end.

libsndfile ends where a header says, and some headers are wrong: a VBR mp3 without a
count, files joined by `cat`, chained Ogg.  What it leaves unread is read by ffmpeg
from that sample on, or said.  What comes after a decoding error, likewise.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from edgestem.errors import AudioError
from edgestem.sound.chatter import silenced
from edgestem.sound.chunks import TRIFLE, has_end_mark, unread_bytes
from edgestem.sound.grid import GRIDS, Grid, GridSamples
from edgestem.sound.mpeg import mp3_frames, say_tears, walk
from edgestem.sound.promises import broken_promise
from edgestem.sound.refusals import unreadable
from edgestem.sound.song import NO_END, Song, load_soundfile
from edgestem.sound.wav import WavFormat

if TYPE_CHECKING:
    from edgestem.sound.ffmpeg import FfmpegSong

# libsndfile's name of a sample format -> the grid its samples lie on.
_SUBTYPES = {
    "PCM_S8": "8",
    "PCM_U8": "8",
    "PCM_16": "16",
    "PCM_24": "24",
    "PCM_32": "32",
    "FLOAT": "float",
    "DOUBLE": "double",
    "ALAC_16": "16",
    "ALAC_20": "24",
    "ALAC_24": "24",
    "ALAC_32": "32",
}
_CUT = ("Seems to be a truncated file", "Ogg : File ended unexpectedly")
_BLOCKS = "Seems to be a multi-segment file"
OPUS_RATE = 48000  # whatever its header mentions (RFC 7845, section 5.1)


class NotForSndfile(Exception):
    """libsndfile would read this song wrongly."""


def _is_misread(sound: Any) -> bool:
    """Say whether libsndfile would give something else than the song."""
    is_slow_opus = sound.subtype == "OPUS" and sound.samplerate != OPUS_RATE
    # It plays the headers of all blocks but the first as samples.
    return is_slow_opus or (sound.format == "VOC" and _BLOCKS in sound.extra_info)


def _raw_dtype(grid: Grid) -> type:
    """Say what to ask libsndfile for.

    Integers of any width come left-justified in 32 bits; 16 bits as they are come from
    a WAV without a step in between, eight times as fast.
    """
    if grid.is_float:
        return grid.dtype
    return np.int16 if grid.bits == 16 else np.int32


class SndfileSong(Song):
    """A file that libsndfile reads.

    Parameters
    ----------
    file : binary file
        Open for reading, at its start; closed with the song.
    name : str
        For messages.
    path : Path, optional
        Where ffmpeg finds it.
    has_ffmpeg : bool
        What libsndfile leaves may be read by ffmpeg; a daemon does without.

    Raises
    ------
    soundfile.LibsndfileError
        No file for libsndfile.
    NotForSndfile
        It would be decoded at a wrong rate, or with headers as noise.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        path: Path | None = None,
        *,
        has_ffmpeg: bool = False,
    ) -> None:
        soundfile = load_soundfile()
        self._file, self._path, self._has_ffmpeg = file, path, has_ffmpeg
        with silenced():
            sound: Any = soundfile.SoundFile(file.fileno(), closefd=False)
        if has_ffmpeg and _is_misread(sound):
            sound.close()
            raise NotForSndfile
        # It would seek after every read, where FLAC of unknown length gets lost.
        sound.seekable = lambda: False
        self._sound, self._error = sound, soundfile.LibsndfileError
        self._rest: FfmpegSong | None = None
        self._n_before = 0  # samples that libsndfile gave
        self._n_unread = 0  # bytes that it left to ffmpeg
        self._error_at = -1  # sample at which it gave up
        grid = _SUBTYPES.get(sound.subtype)
        # A FLAC stream whose length is not known "has" 2^63 - 1 samples.
        n_samples = sound.frames if sound.frames < 1 << 60 else None
        kind = GRIDS[grid or "float"]
        self._raw = _raw_dtype(kind)
        wav = WavFormat(kind, sound.samplerate, sound.channels, n_samples)
        super().__init__(name, wav, is_lossy=grid is None)
        self.is_exact = n_samples is not None and self._is_promised()
        self.tags = {k: v for k, v in sound.copy_metadata().items() if v}

    @property
    def container(self) -> str:
        """Libsndfile's name of the container: WAV, FLAC, MP3 ..."""
        return str(self._sound.format)

    def skip_to(self, place: int) -> None:
        if self.n_samples is None or not self._can_seek:
            super().skip_to(place)
            return
        try:
            self.n_read = int(self._sound.seek(min(place, self.n_samples)))
        except (self._error, RuntimeError) as cause:
            raise unreadable(self.name, f"cannot be read there: {cause}") from cause

    @property
    def _can_seek(self) -> bool:
        """Where it is known to find the very sample."""
        return self._sound.format in ("FLAC", "WAV", "WAVEX") and self.is_exact

    @property
    def _is_mpeg(self) -> bool:
        return self._sound.format in ("MP3", "MPEG")

    def _is_promised(self) -> bool:
        """Without a count in its header, an mp3's length is a guess."""
        if not self._is_mpeg:
            return True
        return mp3_frames(self._file.fileno()) is not None

    def _read(self, n_samples: int) -> GridSamples:
        if self._rest is not None:
            return self._rest.read(n_samples).astype(self.grid.dtype, copy=False)
        x, is_broken = self._read_raw(n_samples)
        if len(x) == 0 and not self._is_over and self._go_on(is_broken):
            return self._read(n_samples)
        if x.dtype == np.int32:
            x >>= 32 - self.grid.bits
        return x.astype(self.grid.dtype, copy=False)

    def _read_raw(self, n_samples: int) -> tuple[GridSamples, bool]:
        """Read; also say whether decoding failed behind what was read."""
        out: GridSamples = np.empty((n_samples, self.n_channels), self._raw)
        if self._error_at >= 0:
            return out[:0], True
        # The length in a header may be wrong: read until nothing comes.
        try:
            with silenced():
                return self._sound.read(out=out), False
        except self._error as cause:
            if "System error" in str(cause):  # the disk, not the song
                raise unreadable(self.name, f"cannot be read: {cause}") from cause
            self._error_at = self._n_decoded()
            return out[: self._error_at - self.n_read], True

    def _n_decoded(self) -> int:
        """Count the samples decoded so far, as far as libsndfile can say."""
        try:
            return max(int(self._sound.tell()), self.n_read)
        except (self._error, RuntimeError):  # GSM and others cannot tell
            return self.n_read

    def _go_on(self, is_broken: bool) -> bool:
        """Let ffmpeg read what libsndfile left, from this sample on."""
        if not self._has_ffmpeg or (not is_broken and self._n_left() <= TRIFLE):
            return False
        from edgestem.sound.ffmpeg import FfmpegSong

        self._n_before, self._n_unread = self.n_read, self._n_left()
        try:
            self._rest = FfmpegSong(
                self._file,
                self.name,
                self._path,
                like=self,
                n_skip=self.n_read,
            )
        except AudioError:  # no ffmpeg, or it finds no sound
            return False
        return True

    def _n_left(self) -> int:
        """Bytes behind the decoder's place that may be music."""
        fd = self._file.fileno()
        return unread_bytes(fd, os.lseek(fd, 0, os.SEEK_CUR))

    def _share(self, n_bytes: int) -> float:
        """Return bytes as a share of the file."""
        return n_bytes / max(os.fstat(self._file.fileno()).st_size, 1)

    def _find_loss(self) -> None:
        if self._rest is not None:
            self._judge_rest(self._rest)
        elif self._error_at >= 0 and not self._is_whole:
            self._compare_or_say("decoding failed there")
        else:
            self._find_cut()
        if self._is_mpeg and not self.notes:
            say_tears(self, self._file.fileno())

    def _judge_rest(self, rest: FfmpegSong) -> None:
        """Hand on what ffmpeg says; without a word the song was read whole."""
        has_more, has_error = rest.n_read > self._n_before, self._error_at >= 0
        if has_error and has_more:
            # The zeros between joined songs are too many for libsndfile alone.
            if not self._is_mpeg or walk(self._file.fileno()).tears:
                self._say_damage()
        elif has_error and not self._is_whole:
            self._compare_or_say("decoding failed there")
        elif rest.notes and not has_error:
            self.notes += rest.notes
            self.is_damaged |= rest.is_damaged
        elif not has_more and self._share(self._n_unread) >= 0.01:
            share = f"{self._share(self._n_unread):.0%}"
            self.note(f"ends with {share} of the file that is no sound")

    def _say_damage(self) -> None:
        """Say where decoding failed, and what became of the rest."""
        if not self.is_lossy:
            self.say_silence(self._error_at)
            return
        what = "what follows was read on"
        if self.is_exact and self.n_samples and self.n_samples > self.n_read:
            lost = (self.n_samples - self.n_read) / self.sample_rate
            what = f"{lost:.2f} s are lost, and what follows comes so much early"
        at = self._error_at / self.sample_rate
        self.lose(f"is damaged at {at:.2f} s: {what}")

    def _compare_or_say(self, what: str) -> None:
        if self.n_samples is not None and self.is_exact:
            self._compare(self.n_samples)
        if not self.notes:
            at = self.n_read / self.sample_rate
            self.lose(f"is damaged or incomplete: {at:.1f} s could be read, {what}")

    @property
    def _is_whole(self) -> bool:
        """All that the header promises was read, so an error behind it harms nobody."""
        return self.is_exact and self.n_read == self.n_samples

    def _find_cut(self) -> None:
        """Compare with every promise, and with the bytes that are left."""
        promise = broken_promise(self._sound, self._file.fileno())
        if promise:
            self._cut(*promise)
        elif any(word in self._sound.extra_info for word in _CUT):
            self.lose(NO_END)
        elif self.is_exact and self.n_samples is not None:
            self._compare(self.n_samples)
        is_ogg = self._sound.format == "OGG"
        if not self.notes and is_ogg and not has_end_mark(self._file.fileno()):
            self.lose(NO_END)
        if not self.notes and (n_left := self._n_left()) > TRIFLE:
            self.lose(
                "was not read to its end: libsndfile leaves "
                f"{self._share(n_left):.0%} of the file; "
                "with ffmpeg installed all of it is read (apt install ffmpeg)"
            )

    def _cut(self, promised: int, there: int) -> None:
        if self.n_read == 0:
            raise unreadable(
                self.name, "is damaged: its header promises sound, and there is none"
            )
        n_whole = round(self.n_read * promised / max(there, 1))
        self._compare(max(n_whole, self.n_read + 1))

    def close(self) -> None:
        if self._rest is not None:
            self._rest.stop()
        with silenced():
            self._sound.close()
        self._file.close()
