"""The pipe door: PCM on stdin, PCM on stdout.

By default every sample is separated, however long it takes: a pipe waits.  The
samples are those of `edgestem separate`, `latency_samples` later.  With a deadline
(`through_rig`) the pace of the input counts, as with a sound card.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from edgestem.errors import AudioError
from edgestem.faders import MAX_BLOCK, Levels
from edgestem.grid import GRIDS, Samples, convert, to_float32
from edgestem.incoming import Incoming
from edgestem.live import Live
from edgestem.pcm import PcmStream
from edgestem.piped import what_follows, with_notes
from edgestem.separator import Separator
from edgestem.song import parts, unreadable
from edgestem.wav import WavFormat, header, pack, parse, unpack

FORMATS = {"s16": "16", "s24": "24", "s32": "32", "f32": "float"}  # of raw PCM
Write = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Pipe:
    """Two descriptors and what goes through them."""

    wav: WavFormat
    """The format on both sides."""
    source: int
    sink: int
    block: int
    """Samples of one read, at most."""
    incoming: Incoming
    """What `source` gives."""
    losses: list[str] = field(default_factory=list)
    """What was wrong with the input, for a person; known at its end."""

    def write(self, data: bytes) -> None:
        """Write all of it."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.sink, view) :]

    def blocks(self) -> Iterator[bytes]:
        """Whole samples as they come; what is torn or left over is in `losses`."""
        step, rest, left = self.wav.bytes_per_sample, b"", self.wav.n_samples
        if left == 0:
            self.losses.append("stdin holds no sample: its header promises none")
        while left is None or left > 0:
            n = self.block if left is None else min(left, self.block)
            data = self._read(n * step - len(rest))
            if not data:
                self._note_end(left or 0, len(rest))
                return
            data = rest + data
            n_whole = len(data) // step
            rest = data[n_whole * step :]
            if n_whole:
                left = None if left is None else left - n_whole
                yield data[: n_whole * step]
        self.losses.extend(f"stdin: {what}" for what in self._what_follows())

    def _read(self, n_bytes: int) -> bytes:
        try:
            return self.incoming.some(n_bytes)
        except OSError as cause:
            raise unreadable("stdin", f"cannot be read: {cause.strerror}") from cause

    def _what_follows(self) -> list[str]:
        return what_follows(self.incoming, self.wav)

    def _note_end(self, n_missing: int, n_torn: int) -> None:
        """Say what the header promised and did not come, or a torn last sample."""
        if n_missing:
            whole = self.wav.n_samples or 0
            came = parts(whole - n_missing, whole, self.wav.sample_rate)
            self.losses.append(f"stdin ended early: {came} came")
        elif n_torn:
            self.losses.append(
                f"stdin ended in the middle of a sample: {n_torn} bytes were left out"
            )


def open_pipe(source: int, sink: int, raw: WavFormat | None, block: int) -> Pipe:
    """Begin: for WAV read its header and write one for what follows.

    Raises
    ------
    AudioError
        `unreadable`: stdin is empty, or no WAV stream.
    """
    if raw is not None:
        return Pipe(raw, source, sink, block, Incoming(source))
    incoming = Incoming(source)
    try:
        is_empty = not incoming.peek(1)
        wav = parse(incoming.read)
        wav = wav and with_notes(wav, incoming)
    except OSError as cause:
        raise unreadable("stdin", f"cannot be read: {cause.strerror}") from cause
    if is_empty:
        raise unreadable("stdin", "is empty: nothing was sent into it")
    if wav is None:
        raise AudioError(
            "stdin is no WAV stream; for raw PCM say --format, --rate and --channels",
            code="unreadable",
            path="-",
        )
    pipe = Pipe(wav, source, sink, block, incoming)
    pipe.write(header(replace(wav, n_samples=None)))
    return pipe


def through_separator(
    pipe: Pipe, separator: Separator, levels: Levels, *, is_trimmed: bool
) -> None:
    """Separate until the input ends, then give out what is still inside.

    Trimmed, output sample n belongs to input sample n; otherwise it comes
    `latency_samples` later, after silence.
    """
    stream = PcmStream(separator, pipe.wav.grid, ("karaoke",), levels)
    n_cut = separator.latency_samples if is_trimmed else 0
    n_cut *= stream.bytes_per_sample
    for data in pipe.blocks():
        out = stream.push(data)
        pipe.write(out[n_cut:])
        n_cut -= min(n_cut, len(out))
    for out in stream.flush():
        pipe.write(out[n_cut:])
        n_cut -= min(n_cut, len(out))


def through_rig(pipe: Pipe, live: Live) -> None:
    """Play against the clock of whoever writes, then drain."""
    grid, n_channels = pipe.wav.grid, pipe.wav.n_channels

    def play(x: Samples) -> None:
        out = np.empty_like(x)
        live.rig.process(x, out)
        on_grid, _ = convert(out, GRIDS["float"], grid)
        pipe.write(pack(on_grid, grid))

    for data in pipe.blocks():
        play(to_float32(unpack(data, pipe.wav), grid))
        live.crew.look()
        live.report()
    live.rig.is_waiting = True  # no clock any more: the network may finish
    silence = np.zeros((live.rig.latency_samples, n_channels), np.float32)
    for at in range(0, len(silence), MAX_BLOCK):
        play(silence[at : at + MAX_BLOCK])
