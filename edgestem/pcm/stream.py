"""One stream in its own sample format: PCM in, PCM of the wanted stems out.

The engine's stems are floats and late.  On an integer format the mixture waits
here, on its grid, until its vocals are known, so that the mixture law holds to the
bit (`grid.split`); `karaoke` is both stems at levels that move without a click.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgestem.engine.separator import Separator
from edgestem.pcm.decibels import MAX_BLOCK
from edgestem.pcm.faders import Levels
from edgestem.sound.grid import GRIDS, Grid, GridSamples, convert, split, to_float32
from edgestem.sound.wav import WavFormat, pack, unpack
from edgestem.stems import OUTPUTS, Stems


class PcmStream:
    """A separator between two streams of PCM.

    Parameters
    ----------
    separator : Separator
        Fresh or reset.
    grid : Grid
        Sample format on both sides.
    stems : tuple of str
        What comes out, in this order.
    levels : Levels
        Of `karaoke`.
    """

    def __init__(
        self,
        separator: Separator,
        grid: Grid,
        stems: tuple[str, ...],
        levels: Levels,
    ) -> None:
        self.separator, self.stems, self.levels = separator, stems, levels
        self.listener: Callable[[Stems], None] | None = None
        """Is shown the floats of every block before they are packed."""
        self._grid = grid
        n = separator.n_channels
        self._wav = WavFormat(self._grid, separator.sample_rate, n)
        self.bytes_per_sample = self._wav.bytes_per_sample
        is_native = np.dtype("<f4") == np.float32
        self._is_plain = is_native and self._grid.is_float and stems == OUTPUTS[:2]
        n_line = 0 if self._grid.is_float else separator.latency_samples
        self._line: GridSamples = np.zeros((n_line, n), grid.dtype)
        self._at = 0

    def push(self, data: bytes) -> bytes:
        """Hand over up to MAX_BLOCK samples, get as many of each stem, one by one."""
        if self._is_plain:
            return self._push_plain(data)
        block = unpack(data, self._wav)
        stems = self.separator.push(to_float32(block, self._grid))
        self._show(stems)
        return self._pack(block, stems)

    def _push_plain(self, data: bytes) -> bytes:
        """Push floats in the engine's own layout: no conversion, one copy."""
        block = np.frombuffer(data, np.float32).reshape(-1, self._wav.n_channels)
        both = np.empty((2, *block.shape), np.float32)
        stems = Stems(both[0], both[1])
        self.separator.push(block, stems)
        self._show(stems)
        return both.tobytes()

    def flush(self) -> list[bytes]:
        """End the song: blocks of the last `latency_samples`; then it starts anew."""
        rest = self.separator.flush()
        self._show(rest)
        blocks = []
        for at in range(0, len(rest.vocals), MAX_BLOCK):
            part = Stems(*(stem[at : at + MAX_BLOCK] for stem in rest))
            silence: GridSamples = np.zeros(part.vocals.shape, self._grid.dtype)
            blocks.append(self._pack(silence, part))
        self.reset()
        return blocks

    def _show(self, stems: Stems) -> None:
        if self.listener is not None:
            self.listener(stems)

    def reset(self) -> None:
        """Start a new song."""
        self.separator.reset()
        self._line.fill(0)
        self._at = 0

    def _pack(self, block: GridSamples, stems: Stems) -> bytes:
        vocals, instrumental = self._on_grid(block, stems)
        parts = []
        for name in self.stems:
            if name == "karaoke":
                samples = self._karaoke(vocals, instrumental)
            else:
                samples = vocals if name == "vocals" else instrumental
            parts.append(pack(samples, self._grid))
        return b"".join(parts)

    def _on_grid(
        self, block: GridSamples, stems: Stems
    ) -> tuple[GridSamples, GridSamples]:
        if self._grid.is_float:
            return stems.vocals, stems.instrumental
        mixture = self._delayed(block)
        vocals, instrumental, _ = split(mixture, stems.vocals, self._grid)
        return vocals, instrumental

    def _delayed(self, block: GridSamples) -> GridSamples:
        """Swap the block for the mixture of `latency_samples` earlier."""
        out = np.empty_like(block)
        done = 0
        while done < len(block):
            n = min(len(block) - done, len(self._line) - self._at)
            line = self._line[self._at : self._at + n]
            np.copyto(out[done : done + n], line)
            np.copyto(line, block[done : done + n])
            self._at = (self._at + n) % len(self._line)
            done += n
        return out

    def _karaoke(self, vocals: GridSamples, instrumental: GridSamples) -> GridSamples:
        gains = self.levels.take(len(vocals))
        mixed: GridSamples = vocals * gains[:, :1] + instrumental * gains[:, 1:]
        if self._grid.is_float:
            return mixed
        scaled = mixed / self._grid.full_scale
        on_grid, _ = convert(scaled, GRIDS["double"], self._grid)
        return on_grid
