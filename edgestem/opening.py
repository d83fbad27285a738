"""Opening a file: finding who can read all of it.

libsndfile reads the files it knows, `piped` WAV with a wrong header, ffmpeg everything
else that people have.  Files that libsndfile is known to read in part are told by
their frames, pages and chunks, before anything is decoded.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

from edgestem import mpeg, ogg
from edgestem.chunks import scan
from edgestem.errors import AudioError
from edgestem.ffmpeg import FfmpegSong
from edgestem.id3 import read_tags
from edgestem.piped import LaidSong
from edgestem.sndfile import SndfileSong
from edgestem.song import Song, load_soundfile, unreadable
from edgestem.wav import parse

_OPUS_RATE = 48000  # whatever the header mentions
_NO_END = "it has no end mark, as if it were cut short"
_MAX_HEADER = 1 << 25  # bytes
_ENDS = 3  # frames of an MP3 that the encoder's delay and padding may take


def open_file(
    file: BinaryIO, name: str, path: Path | None, *, has_ffmpeg: bool = True
) -> Song:
    """Open a regular file, at its start.

    Parameters
    ----------
    file : binary file
        Closed with the song.
    name : str
        For messages.
    path : Path, optional
        Where it is, for programs that read it.
    has_ffmpeg : bool
        Whether ffmpeg may be asked; without, what it would read is only said.

    Raises
    ------
    AudioError
        Nobody can read it.
    """
    opening = _Opening(file, name, path, has_ffmpeg=has_ffmpeg)
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    start = os.pread(file.fileno(), 4, 0)
    if start[:3] == b"ID3" or start[:1] == b"\xff":
        return opening.mp3()
    if start == b"OggS":
        return opening.ogg()
    return opening.wav()


class _Opening:
    """One file, and the ways to open it."""

    def __init__(
        self, file: BinaryIO, name: str, path: Path | None, *, has_ffmpeg: bool
    ) -> None:
        self._file, self._name, self._path = file, name, path
        self._has_ffmpeg = has_ffmpeg

    def plain(self, *, end: int | None = None, is_noisy: bool = False) -> Song:
        """Take libsndfile, or ffmpeg for what it does not know."""
        try:
            more = self._more if self._has_ffmpeg else None
            return SndfileSong(self._file, self._name, more, end=end, is_noisy=is_noisy)
        except load_soundfile().LibsndfileError as cause:
            if not self._has_ffmpeg:
                raise unreadable(
                    self._name,
                    "is nothing that libsndfile reads; convert it to wav or flac first",
                ) from cause
        os.lseek(self._file.fileno(), 0, os.SEEK_SET)
        return FfmpegSong(self._file, self._name, self._path)

    def mp3(self) -> Song:
        """Take ffmpeg where the frames are more, or less, than a header says."""
        found = mpeg.survey(self._file.fileno())
        if found is None:
            return self.plain()
        song = None if found.is_plain else self._by_ffmpeg()
        if song is None:
            song = self.plain(end=found.cut, is_noisy=not found.is_plain)
            song.tags = song.tags or read_tags(self._file.fileno())
        if isinstance(song, FfmpegSong):
            song.n_expected = 0 if found.is_mixed else found.n_samples
            song.n_expected -= _ENDS * found.n_per_frame
            frames = max(found.n_frames, found.n_promised or 0)
            song.n_samples = None if found.is_mixed else frames * found.n_per_frame
            song.has_times = not found.is_mixed
        song.slack = (_ENDS if found.is_vbr else 2) * found.n_per_frame
        if found.n_lost_bytes:
            song.damage.append(f"{found.n_lost_bytes} bytes in it are no MP3")
        if found.n_torn_bytes:
            song.damage.append("it ends in the middle of a frame")
        return song

    def ogg(self) -> Song:
        """Take ffmpeg for several streams one after the other, and for losses."""
        found = ogg.survey(self._file.fileno())
        song = None if found is None or found.is_plain else self._by_ffmpeg()
        song = song or self.plain()
        if found is None:
            return song
        if found.is_opus and song.sample_rate != _OPUS_RATE:
            song = self._opus(song)
        if found.n_lost:
            song.damage.append(f"it has gaps: pages are missing ({found.n_lost} times)")
        if isinstance(song, FfmpegSong):
            if found.n_links > 1:
                song.n_samples = None  # the first stream's alone
            if not found.has_end:
                song.damage.append(_NO_END)
        return song

    def _opus(self, song: Song) -> Song:
        """Leave libsndfile: it decodes at the rate that the header mentions."""
        whole = self._by_ffmpeg()
        if whole is not None:
            song.close()
            return whole
        song.remarks.append(
            f"it was decoded at {song.sample_rate} Hz; with ffmpeg installed "
            f"nothing above {song.sample_rate // 2} Hz is lost"
        )
        return song

    def wav(self) -> Song:
        """Take samples from where they are, if a WAV's header says less."""
        layout, wav = scan(self._file.fileno()), None
        if layout is not None and layout.is_odd:
            start = io.BytesIO(os.pread(self._file.fileno(), _MAX_HEADER, 0))
            wav = parse(start.read)
        if layout is not None and wav is not None:
            return LaidSong(self._file, self._name, wav, layout)
        song = self.plain()
        if layout is not None and layout.is_odd:
            song.damage.append(
                "it holds more samples than its header says, and they were not read"
            )
        if layout is not None and layout.is_followed:
            song.remarks.append("another song follows it in the file and was not read")
        return song

    def _by_ffmpeg(self) -> Song | None:
        """Open with ffmpeg what libsndfile would read in part; None: not there."""
        if not self._has_ffmpeg:
            return None
        again = self._again()
        try:
            song = FfmpegSong(again, self._name, self._path)
        except AudioError:
            again.close()
            return None
        self._file.close()
        return song

    def _more(self, n_read: int) -> Song:
        again = self._again()
        try:
            return FfmpegSong(again, self._name, self._path, n_before=n_read)
        except BaseException:
            again.close()
            raise

    def _again(self) -> BinaryIO:
        """Open the file a second time, with a place of its own."""
        try:
            return Path(f"/proc/self/fd/{self._file.fileno()}").open("rb")
        except OSError as cause:
            raise unreadable(self._name, f"cannot be read: {cause.strerror}") from cause
