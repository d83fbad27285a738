"""One song on its way to the ring: line, rate, key and tempo, gain, click.

    track -> reader (line) -> resampler (the output's rate) -> stretcher -> gain
                                                               beats -> click

The line counts samples of the song, `u` the same at the output's rate, and frames are
output samples since the last seek.  At key 0, tempo 100 %, equal rates and gain 1 each
of these hands on the track's samples to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgestem.play.click import Beats, ClickTone
from edgestem.play.reader import Reader
from edgestem.play.resample import Resampler
from edgestem.play.timeline import Loop, Timeline
from edgestem.play.track import ENDLESS, FINAL, PROVISIONAL, Track
from edgestem.stretch.stretcher import Stretcher

Floats = NDArray[np.float32]
LOOK_AHEAD_S = 0.7  # that the stretcher reads ahead, at most
STEP = 256  # frames between two looks for the end of a stretched song


@dataclass(slots=True)
class SongSettings:
    """What a set list says of a song."""

    key: float = 0.0
    """Semitones."""
    tempo: float = 1.0
    """1 is the song's own."""
    gain: float = 1.0
    """Of both stems."""
    has_tagged_gain: bool = False
    """ReplayGain tags count, where loudness is not measured."""
    start: float = 0.0
    """Seconds into the song."""
    end: float | None = None
    """Seconds into the song; None: its own end."""
    beats: Beats | None = None
    """Where its beats are; None: no click, no count-in."""
    has_click: bool = False
    """The click goes on after the count-in."""
    sections: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Named parts, seconds."""


class _Source:
    """What the stretcher reads; it knows no chain, so nobody waits for a collector."""

    def __init__(self, reader: Reader, resampler: Resampler | None) -> None:
        self.reader, self._resampler = reader, resampler

    def __call__(self, start: int, n: int) -> Sequence[Floats]:
        if self._resampler is not None:
            return self._resampler.read(self.reader.read, start, n)
        return self.reader.read(start, n)


class Chain:
    """What renders one song.

    Parameters
    ----------
    track : Track
        Opened.
    sample_rate : int
        Of the output, Hz.
    settings : SongSettings
    engine : {"kernel", "rubberband"}
    """

    def __init__(
        self,
        track: Track,
        sample_rate: int,
        settings: SongSettings,
        engine: str = "kernel",
    ) -> None:
        self.track, self.settings, self.sample_rate = track, settings, sample_rate
        self._ratio = track.sample_rate / sample_rate
        resampler = None
        if track.sample_rate != sample_rate:
            resampler = Resampler(track.sample_rate, sample_rate)
        self._source = _Source(Reader(track, Timeline(0)), resampler)
        self._stretcher = Stretcher(self._source, sample_rate, 2, engine=engine)
        self._stretcher.set(settings.key, settings.tempo)
        self._tone = ClickTone(sample_rate)
        self.gain = np.float32(settings.gain)
        self.n_dry_before = 0
        self.seek(self.first_place())

    # ---- moving -----------------------------------------------------

    def first_place(self) -> int:
        """Where it begins: the song's start, less the count-in."""
        start = round(self.settings.start * self.track.sample_rate)
        beats = self.settings.beats
        if beats is not None and beats.count_in and start == 0:
            return -beats.lead(self.track.sample_rate)
        return start

    def seek(self, place: int, loop: Loop | None = None) -> None:
        """Go on at a sample of the song."""
        self.n_dry_before += self.reader.n_dry
        self.timeline = Timeline(place, loop)
        self._source.reader = Reader(self.track, self.timeline)
        self._stretcher.seek(place / self._ratio)
        self._start = place
        self._tone.clear()

    def set(self, key: float, tempo: float) -> None:
        """Change key and tempo of what is rendered next."""
        self.settings.key, self.settings.tempo = key, tempo
        self._stretcher.set(key, tempo)

    def set_loop(self, loop: Loop | None) -> bool:
        """Loop, or leave the loop, from what is not read yet.

        False: what was read has passed the loop's end; seek to its start instead.
        """
        line = max(self.reader.high, self._start)
        if loop is not None and self.timeline.place(line) >= loop[1]:
            return False
        self.timeline.set_loop(line, loop)
        return True

    @property
    def reader(self) -> Reader:
        """What reads the stems since the last seek."""
        return self._source.reader

    @property
    def n_dry(self) -> int:
        """Samples that had no vocals in time."""
        return self.n_dry_before + self.reader.n_dry

    def has_next(self, n: int) -> bool:
        """Say whether the next n frames have their mixture and vocals."""
        track = self.track
        line = max(self.reader.high, self._start)
        piece = next(self.timeline.pieces(line, ENDLESS))
        if piece.place < 0:
            return True
        n_ahead = 0.0 if self._stretcher.is_plain else LOOK_AHEAD_S * track.sample_rate
        need = round(n * self._ratio + n_ahead) + track.sample_rate // 20
        need = min(need, piece.n, max(self._end_place() - piece.place, 0))
        if need <= 0:
            return True
        if track.n_samples is None and track.n_decoded < piece.place + need:
            return False
        if track.is_given_up:
            return True
        return any(track.coverage(piece.place, q) >= need for q in (FINAL, PROVISIONAL))

    @property
    def wanted_place(self) -> int:
        """The song's sample that is read next."""
        return self.timeline.place(max(self.reader.high, self._start))

    # ---- rendering --------------------------------------------------

    def render(self, n: int) -> tuple[Floats, Floats, Floats]:
        """Render up to n frames: vocals, instrumental (m, 2) and click (m,).

        Fewer than n only at the song's end; none: it is over.
        """
        m = min(n, self._n_left(n))
        frame = self._stretcher.frame
        vocals, rest = self._stretcher.render(m)
        if self.gain != 1:
            vocals, rest = vocals * self.gain, rest * self.gain
        return vocals, rest, self._tone.render(m, self._beats(frame, m))

    @property
    def frame(self) -> int:
        """Frames since the last seek."""
        return self._stretcher.frame

    def line_at(self, frame: float) -> float:
        """Tell the sample of the line that a frame stands for."""
        return self._stretcher.position_at(int(frame)) * self._ratio

    def place_at(self, frame: int) -> int:
        """Tell the song's sample that a frame stands for."""
        return self.timeline.place(self.line_at(frame))

    def _end_place(self) -> int:
        """Sample of the song behind the last one that is to be played."""
        track, end = self.track, self.settings.end
        length = ENDLESS if track.n_samples is None else track.n_samples
        return length if end is None else min(length, round(end * track.sample_rate))

    def _n_left(self, n: int) -> int:
        """Count frames until the end, n at most."""
        end = self._end_place()
        if end >= ENDLESS:
            return n
        end_u = self.timeline.end(end) / self._ratio
        u = self._stretcher.position_at(self._stretcher.frame)
        left = end_u - u
        if not self._stretcher.is_plain and 0 < left < n * 2.5:
            return min(n, STEP, max(round(left / self._stretcher.tempo), 1))
        return int(max(0, min(n, round(left))))

    def _beats(self, frame: int, n: int) -> list[tuple[int, bool]]:
        beats, rate = self.settings.beats, self.track.sample_rate
        if beats is None or n == 0:
            return []
        start, end = self.line_at(frame), self.line_at(frame + n)
        found = []
        first = int(start // 1)
        for piece in self.timeline.pieces(first, int(end // 1) + 2 - first):
            last = piece.place + piece.n
            for number in beats.between(piece.place, last, rate):
                line = piece.line + beats.place(number, rate) - piece.place
                is_heard = number < 0 or self.settings.has_click
                at = round((line - start) / max(end - start, 1e-9) * n)
                if is_heard and 0 <= at < n:
                    found.append((at, beats.is_accent(number)))
        return found
