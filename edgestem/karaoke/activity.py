"""Where vocals are: levels of both stems every 0.1 s, and spans between two of them.

A frame is sung when the vocals are loud beside the song's own loud singing, and heard
in the mixture.  Both are levels that can be read off the picture:

    loud   half of the vocals' energy is in frames above this level
    on     a span begins where the vocals come within `on_db` of loud
    off    and ends where they fall below `off_db` of it (hysteresis)
    heard  ... and wherever they are less than `heard_db` of the mixture

Short pauses belong to a phrase, short spans are coughs of the separation.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.engine.separator import Separator
from edgestem.errors import AudioError
from edgestem.files.loop import FILE_BLOCK, Progress
from edgestem.limits import check_stream
from edgestem.sound.grid import GRIDS, convert, to_float32
from edgestem.sound.reading import open_song
from edgestem.sound.singing import DEFAULT, FRAME_S, LEAST_DB, SILENT_DB, Thresholds
from edgestem.sound.song import Song

Levels = NDArray[np.float64]
Spans = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Activity:
    """Levels of a song's stems."""

    rate: int
    """Hz."""
    hop: int
    """Samples of a frame."""
    n_samples: int
    """Length of the song."""
    vocals_db: Levels
    """RMS of each frame, both channels, dB of full scale, (n_frames,)."""
    instrumental_db: Levels
    """The same of the instrumental."""
    mixture_db: Levels
    """The same of the song."""
    warnings: tuple[str, ...] = ()
    """What a person should know of the song: that a part of it is lost."""

    def spans(self, thresholds: Thresholds = DEFAULT) -> Spans:
        """Find where vocals are, in samples, (start, end) each."""
        t = thresholds
        found = active(self.vocals_db, self.mixture_db, t)
        pause, least = round(t.pause_s / FRAME_S), round(t.span_s / FRAME_S)
        frames = _drop(_join(_runs(found), pause), least)
        return [
            (a * self.hop, min(b * self.hop, self.n_samples))
            for a, b in frames
            if a * self.hop < self.n_samples
        ]

    def to_json(self, thresholds: Thresholds = DEFAULT) -> dict[str, Any]:
        """Give what `--json` prints; places are in samples."""
        return {
            "rate": self.rate,
            "hop": self.hop,
            "n_samples": self.n_samples,
            "level_db": [round(float(x), 1) for x in self.vocals_db],
            "instrumental_db": [round(float(x), 1) for x in self.instrumental_db],
            "segments": [list(span) for span in self.spans(thresholds)],
            "warnings": list(self.warnings),
        }


def active(vocals_db: Levels, mixture_db: Levels, t: Thresholds) -> NDArray[np.bool_]:
    """Decide frame by frame, with hysteresis, before pauses are filled.

    Parameters
    ----------
    vocals_db, mixture_db : shape (n_frames,)

    Returns
    -------
    shape (n_frames,)
    """
    if len(vocals_db) == 0:
        return np.zeros(0, bool)
    loud, whole = loud_level(vocals_db), loud_level(mixture_db)
    if loud <= LEAST_DB or loud - whole < t.present_db:
        return np.zeros(len(vocals_db), bool)
    is_heard = vocals_db - mixture_db >= t.heard_db
    begins = (vocals_db - loud >= t.on_db) & is_heard
    stays = (vocals_db - loud >= t.off_db) & is_heard
    found = np.zeros(len(vocals_db), bool)
    for start, end in _runs(stays):
        # Singing swells: what leads to a beginning without a break belongs to it.
        found[start:end] = bool(np.any(begins[start:end]))
    return found


def loud_level(level_db: Levels) -> float:
    """Find the level in frames above which half of the energy is.

    It does not depend on how much silence there is around.
    """
    ordered = np.sort(level_db)
    energy = np.cumsum(10 ** (ordered / 10))
    return float(ordered[np.searchsorted(energy, energy[-1] / 2)])


def _runs(found: NDArray[np.bool_]) -> Spans:
    """List where frames are true, (start, end) each."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], found.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _join(runs: Spans, pause: int) -> Spans:
    joined: Spans = []
    for start, end in runs:
        if joined and start - joined[-1][1] < pause:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _drop(runs: Spans, least: int) -> Spans:
    return [(start, end) for start, end in runs if end - start >= least]


class Meter:
    """Levels of both stems, fed block by block of any length.

    Parameters
    ----------
    rate : int
        Hz.
    """

    def __init__(self, rate: int) -> None:
        self._rate, self._hop = rate, max(round(rate * FRAME_S), 1)
        self._rest = np.zeros((0, 3))
        self._powers: list[NDArray[np.float64]] = []
        self._n_samples = 0

    def add(self, vocals: NDArray[Any], instrumental: NDArray[Any]) -> None:
        """Measure a block, (n_samples, n_channels) each, full scale 1."""
        both = (vocals, instrumental, vocals + instrumental)
        powers = np.stack([np.mean(np.square(x, dtype=float), axis=1) for x in both], 1)
        self._n_samples += len(powers)
        powers = np.concatenate([self._rest, powers])
        n = len(powers) // self._hop
        whole = powers[: n * self._hop].reshape(n, self._hop, 3)
        self._powers.append(whole.mean(axis=1))
        self._rest = powers[n * self._hop :]

    def result(self) -> Activity:
        """Give the levels of all that was added."""
        parts = list(self._powers)
        if len(self._rest):
            parts.append(self._rest.mean(axis=0, keepdims=True))
        powers = np.concatenate([np.zeros((0, 3)), *parts])
        levels = 10 * np.log10(np.maximum(powers, 10 ** (SILENT_DB / 10)))
        return Activity(self._rate, self._hop, self._n_samples, *levels.T)


def of_song(
    path: str | Path, progress: Progress | None = None, **options: Any
) -> Activity:
    """Separate a song for its levels alone; nothing is written.

    Parameters
    ----------
    options
        Of `Separator`.

    Raises
    ------
    EdgestemError
        As `files.separate.separate_file`.
    """
    with closing(open_song(path)) as song:
        check_stream(song.sample_rate, song.n_channels, song.name)
        separator = Separator(song.sample_rate, song.n_channels, **options)
        meter, n_late = Meter(song.sample_rate), separator.latency_samples
        while True:
            block = song.read(FILE_BLOCK)
            is_end = len(block) == 0
            x = to_float32(block, song.grid)
            stems = separator.flush() if is_end else separator.push(x)
            n_skip = min(n_late, len(stems.vocals))
            n_late -= n_skip
            meter.add(stems.vocals[n_skip:], stems.instrumental[n_skip:])
            if is_end:
                return replace(meter.result(), warnings=tuple(song.notes))
            if progress is not None:
                progress(song.n_read, song.n_samples)


def of_stems(stems: Mapping[str, Path]) -> Activity:
    """Measure stems of an earlier run.

    Raises
    ------
    AudioError
        `unreadable`, or `stems_differ`.
    """
    with (
        closing(open_song(stems["vocals"])) as vocals,
        closing(open_song(stems["instrumental"])) as instrumental,
    ):
        meter = Meter(vocals.sample_rate)
        while True:
            blocks = [_floats(song) for song in (vocals, instrumental)]
            shapes = {(len(b), b.shape[1]) for b in blocks}
            if len(shapes) > 1 or vocals.sample_rate != instrumental.sample_rate:
                raise AudioError(
                    f"{stems['vocals']} and {stems['instrumental']} are of two songs: "
                    "separate this one again",
                    code="stems_differ",
                    path=str(stems["vocals"]),
                )
            if len(blocks[0]) == 0:
                return meter.result()
            meter.add(*blocks)


def _floats(song: Song) -> NDArray[Any]:
    return convert(song.read(FILE_BLOCK), song.grid, GRIDS["float"])[0]
