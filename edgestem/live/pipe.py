"""The pipe door: PCM on stdin, PCM on stdout.

By default every sample is separated, however long it takes: a pipe waits.  The
samples are those of `edgestem separate`, `latency_samples` later.  With a deadline
(`through_rig`) the pace of the input counts, as with a sound card.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from edgestem.engine.separator import Separator
from edgestem.errors import AudioError
from edgestem.live.session import Live
from edgestem.pcm.decibels import MAX_BLOCK
from edgestem.pcm.faders import Levels
from edgestem.pcm.stream import PcmStream
from edgestem.sound.descriptors import (
    read_exactly,
    read_some,
    write_all,
    writing_stdout,
)
from edgestem.sound.grid import GRIDS, GridSamples, convert, to_float32
from edgestem.sound.song import behind_wav
from edgestem.sound.wav import WavFormat, pack, parse, unpack
from edgestem.sound.wav_output import WavOutput

PIPE_FORMATS = {"s16": "16", "s24": "24", "s32": "32", "f32": "float"}  # of raw PCM
Write = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Pipe:
    """Two descriptors and what goes through them."""

    wav: WavFormat
    """The format on both sides."""
    source: int
    sink: int
    block: int
    """GridSamples of one read, at most."""
    output: WavOutput | None = None
    """What writes WAV into `sink`; None: raw PCM."""

    def write(self, data: bytes) -> None:
        """Write all of it."""
        with writing_stdout():
            if self.output is None:
                write_all(self.sink, data)
            else:
                self.output.write(data)

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Write the header, when nothing can go wrong any more, and complete it.

        A recording ends with Ctrl-C: what was written till then is whole, too.
        """
        if self.output is None:
            yield
            return
        with writing_stdout():
            self.output.begin()
        try:
            yield
        finally:
            with writing_stdout():
                self.output.finish()

    def blocks(self) -> Iterator[bytes]:
        """Whole samples as they come; what is torn or left is a warning."""
        step, rest, left = self.wav.bytes_per_sample, b"", self.wav.n_samples
        while left is None or left > 0:
            n = self.block if left is None else min(left, self.block)
            data = read_some(self.source, n * step - len(rest))
            if not data:
                self._say_torn(rest, left)
                return
            data = rest + data
            n_whole = len(data) // step
            rest = data[n_whole * step :]
            if n_whole:
                left = None if left is None else left - n_whole
                yield data[: n_whole * step]
        if what := behind_wav(
            lambda n: read_exactly(self.source, n), self.wav.n_samples or 0, self.wav
        ):
            warnings.warn(f"the song on stdin {what}", RuntimeWarning, stacklevel=2)

    def _say_torn(self, rest: bytes, left: int | None) -> None:
        if left:
            n_promised, rate = self.wav.n_samples or 0, self.wav.sample_rate
            text = (
                f"the song on stdin is incomplete: {(n_promised - left) / rate:.1f} s "
                f"of {n_promised / rate:.1f} s came"
            )
        elif rest:
            text = "the song on stdin ends within a sample, as if it were cut short"
        else:
            return
        warnings.warn(text, RuntimeWarning, stacklevel=2)


def open_pipe(source: int, sink: int, raw: WavFormat | None, block: int) -> Pipe:
    """Read the header of a WAV stream; `Pipe.begun` writes one.

    Raises
    ------
    AudioError
        `unreadable`: stdin is no WAV stream.
    """
    if raw is not None:
        return Pipe(raw, source, sink, block)
    first = read_some(source, 1)
    if not first:
        raise AudioError(
            "stdin is empty: the program before edgestem stream sent nothing",
            code="unreadable",
            path="-",
        )
    seen = iter([first])

    def read(n: int) -> bytes:
        data = next(seen, b"")
        return data + read_exactly(source, n - len(data))

    wav = parse(read)
    if wav is None:
        raise AudioError(
            "stdin is no WAV stream; for raw PCM say --format, --rate and --channels",
            code="unreadable",
            path="-",
        )
    return Pipe(wav, source, sink, block, WavOutput(sink, wav))


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

    def play(x: GridSamples) -> None:
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
