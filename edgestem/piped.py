"""WAV read without libsndfile: from a pipe, and from files whose header is wrong."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from edgestem.chunks import NOTES, Layout
from edgestem.grid import Samples
from edgestem.incoming import MAX_NOTES, Incoming
from edgestem.song import Song, seconds, unreadable
from edgestem.wav import WavFormat, unpack


class PipedSong(Song):
    """WAV from a pipe; `source` stands at the first sample."""

    def __init__(
        self, file: BinaryIO, name: str, wav: WavFormat, source: Incoming
    ) -> None:
        wav = with_notes(wav, source)
        super().__init__(name, wav)
        self._file, self._wav, self._source = file, wav, source
        self._n_torn = 0

    def _read(self, n_samples: int) -> Samples:
        if self.n_samples is not None:
            n_samples = min(n_samples, self.n_samples - self.n_read)
        step = self._wav.bytes_per_sample
        try:
            data = self._source.read(n_samples * step)
        except OSError as cause:
            raise unreadable(self.name, f"cannot be read: {cause.strerror}") from cause
        self._n_torn += len(data) % step
        return unpack(data, self._wav)

    def _find_loss(self) -> None:
        super()._find_loss()
        if self._n_torn and not self.damage:
            self.damage.append("it ends in the middle of a sample")
        if self.n_samples is not None and self.n_read == self.n_samples:
            self.remarks += what_follows(self._source, self._wav)

    def close(self) -> None:
        self._file.close()


def with_notes(wav: WavFormat, source: Incoming) -> WavFormat:
    """Tell a stream of unknown length from an empty song with notes behind it."""
    if wav.n_samples is None and source.peek(8)[:4] in NOTES:
        return replace(wav, n_samples=0)
    return wav


def what_follows(source: Incoming, wav: WavFormat) -> list[str]:
    """Say what comes behind the promised samples, unless it is notes."""
    n_pad = (wav.n_samples or 0) * wav.bytes_per_sample % 2
    try:
        if n_pad and source.has_more():
            source.read(n_pad)
        return _name(source)
    except OSError:  # the song itself is complete
        return []


def _name(source: Incoming) -> list[str]:
    n_seen = 0
    while source.has_more():
        head = source.read(8)
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name in (b"RIFF", b"RF64"):
            return ["another song follows it in the pipe and was not read"]
        if not any(head):
            return []
        if name not in NOTES or n_seen + size > MAX_NOTES:
            return ["the pipe holds more than the header promises; it was not read"]
        n_seen += len(source.read(size + size % 2))
    return []


class LaidSong(Song):
    """A WAV file whose samples are not where the header says, but here."""

    def __init__(
        self, file: BinaryIO, name: str, wav: WavFormat, layout: Layout
    ) -> None:
        n_bytes = sum(size for _, size in layout.samples)
        n_samples = n_bytes // wav.bytes_per_sample
        super().__init__(name, replace(wav, n_samples=n_samples))
        self._file, self._wav = file, wav
        self._blocks = self._read_bytes(layout)
        self._rest = b""
        whole = seconds(n_samples, wav.sample_rate)
        if len(layout.samples) > 1:
            what = f"it holds its samples in {len(layout.samples)} pieces"
        else:
            told = seconds(layout.n_told // wav.bytes_per_sample, wav.sample_rate)
            what = f"its header says {told}"
        self.remarks.append(f"{what}; all {whole} in the file were separated")

    def _read_bytes(self, layout: Layout) -> Iterator[bytes]:
        for start, size in layout.samples:
            self._file.seek(start)
            while size and (data := self._file.read(min(size, io.DEFAULT_BUFFER_SIZE))):
                size -= len(data)
                yield data

    def _read(self, n_samples: int) -> Samples:
        step = self._wav.bytes_per_sample
        found = [self._rest]
        n_bytes = len(self._rest)
        try:
            while n_bytes < n_samples * step and (data := next(self._blocks, b"")):
                found.append(data)
                n_bytes += len(data)
        except OSError as cause:
            raise unreadable(self.name, f"cannot be read: {cause.strerror}") from cause
        whole = b"".join(found)
        n_whole = min(len(whole) // step, n_samples) * step
        self._rest = whole[n_whole:]
        return unpack(whole[:n_whole], self._wav)

    def close(self) -> None:
        self._file.close()
