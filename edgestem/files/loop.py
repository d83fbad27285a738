"""The way of a song: read, separated, held to the mixture law, written.

Whoever gives vocals (the engine, a cache) and whoever takes stems (files, a pipe, a
child process) are protocols here; nothing grows with the length of a song.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np

from edgestem.errors import AudioError, EdgestemError
from edgestem.files.behind import Behind
from edgestem.files.output import FileReport, Output
from edgestem.limits import check_stream
from edgestem.sound.containers import choose_grid
from edgestem.sound.grid import (
    GRIDS,
    Grid,
    GridSamples,
    convert,
    mix,
    split,
    to_float32,
)
from edgestem.sound.refusals import unreadable
from edgestem.sound.song import Song
from edgestem.sound.wav import WavFormat
from edgestem.stems import MIX, Stems

FILE_BLOCK = 65536  # samples: 1.5 s at 44.1 kHz; large enough that calls cost nothing

Progress = Callable[[int, int | None], None]


class VocalsSource(Protocol):
    """What gives the vocals of a mixture: a `Separator`, or what stands for one."""

    latency_samples: int

    def push(self, block: GridSamples, out: Stems | None = None) -> Stems:
        """Take a block of the mixture, give as many samples of its vocals, late."""

    def flush(self) -> Stems:
        """Give the last `latency_samples` samples."""


class StemSink(Protocol):
    """What takes the stems; it picks those it wants."""

    def write(self, stems: Mapping[str, GridSamples]) -> int:
        """Append a block of every stem; count values that had to be clipped."""


def begin_song(path: str, song: Song, output: Output) -> tuple[WavFormat, FileReport]:
    """Choose the format of a song's stems, and begin its report.

    Parameters
    ----------
    path : str
        What the caller named, for the report.

    Raises
    ------
    AudioError
        Its rate or its channels are not separated; or the container cannot hold what
        was asked for.
    """
    try:
        check_stream(song.sample_rate, song.n_channels, song.name)
    except EdgestemError as cause:
        raise AudioError(str(cause), code=cause.code, path=song.name) from cause
    own = GRIDS["16"] if song.is_lossy else song.grid
    grid, note = choose_grid(output.subtype, output.file_format, own)
    wav = WavFormat(grid, song.sample_rate, song.n_channels, song.n_samples)
    report = FileReport(
        input=path,
        sample_rate=wav.sample_rate,
        n_channels=wav.n_channels,
        subtype=grid.name,
    )
    report.warnings += [note] if note else []
    return wav, report


def separate_song(
    song: Song,
    source: VocalsSource,
    sink: StemSink,
    grid: Grid,
    report: FileReport,
    vocals_db: float | None,
    progress: Progress | None = None,
    *,
    is_overlapped: bool = False,
) -> None:
    """Feed the sink until the song ends, and sum up in the report.

    Overlapped, a second thread applies the mixture law and feeds the sink while the
    source is at the next block; `progress` is called there.

    Raises
    ------
    AudioError
        Nothing of the song could be read.
    """

    def finish(pair: tuple[GridSamples, GridSamples]) -> None:
        mixture, vocals = pair
        stems, n_adjusted, n_clipped = _stems(mixture, vocals, grid, vocals_db)
        report.n_clipped_samples += n_clipped + sink.write(stems)
        report.n_samples += len(mixture)
        report.n_adjusted_samples += n_adjusted
        if progress is not None:
            progress(report.n_samples, song.n_samples)

    pairs, n_clipped = _pairs(song, source, grid), 0
    if is_overlapped:
        with Behind(finish) as behind:
            for mixture, vocals, n in pairs:
                n_clipped += n
                behind.put((mixture, vocals))
    else:
        for mixture, vocals, n in pairs:
            n_clipped += n
            finish((mixture, vocals))
    report.n_clipped_samples += n_clipped
    if song.is_damaged and report.n_samples == 0:
        raise unreadable(song.name, "is damaged: nothing of it could be read")
    report.latency_samples = source.latency_samples
    report.n_bad_samples = song.n_bad_samples
    report.warnings += song.notes
    report.warnings += report.sentences()


def _stems(
    mixture: GridSamples, vocals: GridSamples, grid: Grid, vocals_db: float | None
) -> tuple[dict[str, GridSamples], int, int]:
    """Apply the mixture law, and mix the karaoke if it is wanted."""
    on_grid, instrumental, n_adjusted = split(mixture, vocals, grid)
    stems, n_clipped = {"vocals": on_grid, "instrumental": instrumental}, 0
    if vocals_db is not None:
        gain = 10 ** (vocals_db / 20)
        stems[MIX], n_clipped = mix(on_grid, instrumental, gain, grid)
    return stems, n_adjusted, n_clipped


def _pairs(
    song: Song, source: VocalsSource, grid: Grid
) -> Iterator[tuple[GridSamples, GridSamples, int]]:
    """Yield the mixture on the grid and its vocals, aligned, block by block.

    With each comes how many values of the song were clipped since the one before.
    """
    n_clipped = 0
    n_late = source.latency_samples  # output that belongs to nothing
    waiting = _Waiting()
    while True:
        x = song.read(FILE_BLOCK)
        block, n = convert(x, song.grid, grid)
        n_clipped += n
        is_end = len(block) == 0
        stems = source.flush() if is_end else source.push(to_float32(block, grid))
        n_skip = min(n_late, len(stems.vocals))
        n_late -= n_skip
        vocals = stems.vocals[n_skip:]
        waiting.put(block)
        if len(vocals):
            yield waiting.take(len(vocals)), vocals, n_clipped
            n_clipped = 0
        if is_end:
            return


class _Waiting:
    """Blocks of the mixture that wait for their vocals."""

    def __init__(self) -> None:
        self._blocks: deque[GridSamples] = deque()

    def put(self, block: GridSamples) -> None:
        self._blocks.append(block)

    def take(self, n_samples: int) -> GridSamples:
        """Give the first so many; no more may be asked for than there are."""
        parts, n_missing = [], n_samples
        while n_missing:
            block = self._blocks.popleft()
            parts.append(block[:n_missing])
            if len(block) > n_missing:
                self._blocks.appendleft(block[n_missing:])
            n_missing -= len(parts[-1])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
