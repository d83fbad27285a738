"""Key and tempo of the stems of a song, live, rendered ahead of the play head.

The one idea: each stem is read through an *engine* of its own (the C kernel's,
native/stretch.h, or Rubber Band, `stretch_rubberband`), so that a voice keeps its
formants and an accompaniment its attacks; all are set alike and follow one time map.
At key 0 and tempo 1 nothing is between the source and the
caller: the samples are the source's, to the bit.

Shapes: stems are (n, n_channels) float32.  `position` counts samples of the source,
`frame` counts output samples since the last `seek`.  What is rendered does not depend,
to the bit, on how many frames are asked for at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgestem.errors import EdgestemError
from edgestem.stretch.kernel import NativeStretch

Samples = NDArray[np.float32]
Read = Callable[[int, int], Samples]
Source = Callable[[int, int], Sequence[Samples]]

MIN_KEY, MAX_KEY = -12.0, 12.0  # semitones
MIN_TEMPO, MAX_TEMPO = 0.5, 2.0
FADE_SECONDS = 0.03  # between the source as it is and stretched
MAP_SECONDS = 60.0  # how long a place that was rendered is known
ENGINES = ("kernel", "rubberband")


class Engine(Protocol):
    """What stretches one stem; all engines of a song are set alike."""

    hop: int
    """Frames of a step."""

    def reset(self, position: float, key: float, tempo: float) -> None:
        """Start anew: the next step's first frame stands for `position`."""

    def set(self, key: float, tempo: float) -> None:
        """Move to another key (semitones) and tempo within 0.11 s."""

    def position(self, frames: int) -> float:
        """Tell what the next step's frame `frames` (0 to hop) stands for."""

    def is_plain(self) -> bool:
        """Tell whether the next step is all at key 0 and tempo 1."""

    def step(self, read: Read) -> Samples:
        """Render (hop, n_channels), reading the stem in order."""


class Segment(NamedTuple):
    """A straight piece of the time map."""

    frame: int
    position: float
    tempo: float


class Stretcher:
    """Stems of one song at another key and tempo.

    Parameters
    ----------
    source : callable
        source(start, n) gives the stems' samples start to start + n - 1, each
        (n, n_channels) float32; silence before the song, behind it and where nothing
        is known yet.  `start` may be negative.  It is read in order, 0.2 to 0.6 s
        ahead of what is rendered, and anew from a little before the place at each
        seek and change from plain playing.  A loop belongs to the source: let its
        positions go on and fold them into the loop, and the seam is stretched like
        any other place.
    sample_rate : int
        8000 to 192000 Hz.
    n_channels : int
        1 or 2.
    keeps_formants : sequence of bool
        One for each stem; vocals and instrumental are (True, False).
    engine : {"kernel", "rubberband"}

    Raises
    ------
    EdgestemError
        code rubberband_missing: Rubber Band's library is not installed.
    NativeError
        The kernel is not built or refuses the rate.

    Examples
    --------
    >>> import numpy as np
    >>> song = np.zeros((48000, 2), np.float32)
    >>> def source(start, n):
    ...     stem = np.zeros((n, 2), np.float32)
    ...     first, last = max(start, 0), max(min(start + n, len(song)), 0)
    ...     if first < last:
    ...         stem[first - start : last - start] = song[first:last]
    ...     return stem, stem
    >>> stretcher = Stretcher(source, 48000, 2)
    >>> stretcher.set(key=3, tempo=0.8)
    >>> stretcher.seek(0)  # without it: a ramp from what plays
    >>> vocals, instrumental = stretcher.render(1024)
    >>> vocals.shape, round(stretcher.position_at(1024))
    ((1024, 2), 819)
    """

    def __init__(
        self,
        source: Source,
        sample_rate: int,
        n_channels: int,
        *,
        keeps_formants: Sequence[bool] = (True, False),
        engine: str = "kernel",
    ) -> None:
        self.sample_rate, self.n_channels = sample_rate, n_channels
        self.key, self.tempo = 0.0, 1.0
        self._source = source
        self._engines = [
            make_engine(engine, sample_rate, n_channels, formants)
            for formants in keeps_formants
        ]
        self._hop = self._engines[0].hop
        length = min(round(FADE_SECONDS * sample_rate), self._hop)
        self._fade = ((np.arange(length) + 0.5) / length).astype(np.float32)[:, None]
        self._cached: tuple[int, int, Sequence[Samples]] = (0, -1, ())
        self.seek(0)

    @property
    def frame(self) -> int:
        """Frames rendered since the last seek."""
        return self._frame

    @property
    def is_plain(self) -> bool:
        """What comes next is the source's samples, to the bit."""
        return self._is_plain and self._is_wanted_plain() and not self._n_ready()

    def seek(self, position: float) -> None:
        """Go on at a place of the source; frames count from 0 again.

        What was rendered before does not reach into what comes: fade over it.
        """
        self._frame = 0
        self._ready: list[Samples] = []
        self._map: deque[Segment] = deque()
        self._place = position
        self._is_plain = self._is_wanted_plain()
        if self._is_plain:
            self._place = round(position)
        else:
            self._reset(position)

    def set(self, key: float, tempo: float) -> None:
        """Move to another key and tempo, from the next frame to be rendered on.

        Parameters
        ----------
        key : float
            Semitones, -12 to 12.
        tempo : float
            0.5 to 2; 1 is the song's own.

        Raises
        ------
        ValueError
            Out of range, or not a number.
        """
        if not MIN_KEY <= key <= MAX_KEY:
            raise ValueError(f"key: expected -12 to 12 semitones, got {key}")
        if not MIN_TEMPO <= tempo <= MAX_TEMPO:
            raise ValueError(f"tempo: expected 0.5 to 2, got {tempo}")
        self.key, self.tempo = float(key), float(tempo)
        for engine in self._engines:
            engine.set(self.key, self.tempo)

    def render(self, n: int) -> list[Samples]:
        """Render the next n frames of each stem, each (n, n_channels) float32."""
        outs = [np.empty((n, self.n_channels), np.float32) for _ in self._engines]
        done = 0
        while done < n:
            if not self._n_ready():
                self._fill(n - done)
            count = min(n - done, self._n_ready())
            for i, out in enumerate(outs):
                out[done : done + count] = self._ready[i][:count]
                self._ready[i] = self._ready[i][count:]
            done += count
            self._frame += count
        return outs

    def position_at(self, frame: int) -> float:
        """Tell the place of the source that a frame since the last seek stands for.

        Exact for what was rendered in the last minute; before that and behind it on
        the line of the nearest piece.
        """
        segment = self._segment_at(frame, [s.frame for s in self._map])
        return segment.position + segment.tempo * (frame - segment.frame)

    def frame_at(self, position: float) -> float:
        """Tell the frame that stands for a place of the source; see `position_at`."""
        segment = self._segment_at(position, [s.position for s in self._map])
        return segment.frame + (position - segment.position) / segment.tempo

    def _segment_at(self, value: float, starts: list[float]) -> Segment:
        if not self._map:
            return Segment(0, self._place, self.tempo)
        i = max(bisect_right(starts, value) - 1, 0)
        return next(islice(self._map, i, None))

    def _is_wanted_plain(self) -> bool:
        return self.key == 0.0 and self.tempo == 1.0

    def _n_ready(self) -> int:
        return len(self._ready[0]) if self._ready else 0

    # ---- Pieces ------------------------------------------------------------------

    def _fill(self, n: int) -> None:
        """Render a piece: as many frames as are wanted, or a hop."""
        if self._is_plain and self._is_wanted_plain():
            self._ready = self._plain(n)
        elif self._is_plain:
            self._start()
        elif self._is_wanted_plain() and all(e.is_plain() for e in self._engines):
            self._end()
        else:
            self._ready = self._stretched()

    def _plain(self, n: int) -> list[Samples]:
        """Take the source's samples as they are; what is not finite counts as 0."""
        stems = [
            np.where(np.isfinite(stem), stem, np.float32(0))
            for stem in self._source(int(self._place), n)
        ]
        self._note(n, self._place + n)
        return stems

    def _stretched(self) -> list[Samples]:
        end = self._engines[0].position(self._hop)
        stems = [engine.step(self._reader(i)) for i, engine in enumerate(self._engines)]
        self._note(self._hop, end)
        return stems

    def _start(self) -> None:
        """Fade from the source as it is to stretched."""
        self._reset(self._place)
        plain = self._source(int(self._place), len(self._fade))
        self._is_plain = False
        self._ready = self._stretched()
        for old, new in zip(plain, self._ready, strict=True):
            self._mix(old, new)

    def _end(self) -> None:
        """Fade from stretched to the source as it is, at the nearest sample."""
        stretched = self._stretched()
        segment = self._map.pop()
        self._place = round(segment.position)
        self._is_plain = True
        plain = self._plain(self._hop)
        for old, new in zip(stretched, plain, strict=True):
            self._mix(old, new)
        self._ready = plain

    def _mix(self, old: Samples, new: Samples) -> None:
        """Fade the first frames of `new` in over those of `old`."""
        n = len(self._fade)
        before = np.where(np.isfinite(old[:n]), old[:n], np.float32(0))
        new[:n] = before + self._fade * (new[:n] - before)

    def _reset(self, position: float) -> None:
        """Start the engines anew; what plays goes from there to what is wanted."""
        key, tempo = (0.0, 1.0) if self._is_plain else (self.key, self.tempo)
        for engine in self._engines:
            engine.reset(position, key, tempo)
            engine.set(self.key, self.tempo)

    def _note(self, n: int, end: float) -> None:
        """Write down that the next n frames go from the place at hand to `end`."""
        frame = self._frame
        tempo = (end - self._place) / n
        last = self._map[-1] if self._map else None
        if last is None or last.tempo != tempo or not self._is_on(last, frame):
            self._map.append(Segment(frame, self._place, tempo))
        oldest = frame - MAP_SECONDS * self.sample_rate
        while len(self._map) > 1 and self._map[1].frame < oldest:
            self._map.popleft()
        self._place = end

    def _is_on(self, segment: Segment, frame: int) -> bool:
        place = segment.position + segment.tempo * (frame - segment.frame)
        return place == self._place

    def _reader(self, i: int) -> Read:
        """Read one stem; the source is asked once for all of them."""

        def read(start: int, n: int) -> Samples:
            if self._cached[:2] != (start, n):
                self._cached = (start, n, self._source(start, n))
            return self._cached[2][i]

        return read


def make_engine(
    name: str, sample_rate: int, n_channels: int, keeps_formants: bool
) -> Engine:
    """Make the engine of one stem."""
    if name == "kernel":
        return NativeStretch(sample_rate, n_channels, keeps_formants)
    if name != "rubberband":
        raise ValueError(f"engine: expected one of {ENGINES}, got {name!r}")
    from edgestem.stretch.rubberband import RubberBand

    try:
        return RubberBand(sample_rate, n_channels, keeps_formants)
    except OSError as cause:
        raise EdgestemError(
            "Rubber Band is not installed: `sudo apt-get install librubberband2` "
            "brings it (it is under the GPL and no part of edgestem), or use "
            "--stretch kernel",
            code="rubberband_missing",
        ) from cause
