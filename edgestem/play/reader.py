"""Both stems of a track along its line, without a click where better vocals begin.

Where the vocals of a place come from is decided once, when it is first read, and
written down: a place that is read again gives the same samples.  Where the source
changes in the middle of music, the old and the new vocals are both at hand for
`fade` samples and cross over.  Where there are none yet, the vocals are silence and
the instrumental is the mixture: it plays on, and is counted.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgestem.play.timeline import Piece, Timeline
from edgestem.play.track import FINAL, NONE, PROVISIONAL, Track
from edgestem.sound.grid import to_float32

Floats = NDArray[np.float32]
N_KEPT = 64  # changes of source that are remembered
LONGEST_DRY = 256  # samples without vocals before it is asked again
ENOUGH = 4  # fades that better vocals have to last before they are used


class Change(NamedTuple):
    """From here on the vocals come from another source."""

    line: int
    old: int
    new: int
    is_faded: bool


class Reader:
    """Stems along a line; `n_dry` counts samples that had no vocals."""

    def __init__(self, track: Track, timeline: Timeline) -> None:
        self.track, self.timeline = track, timeline
        self._changes: list[Change] = []
        self._quality: int | None = None
        self.high = -(1 << 62)
        """First sample of the line that was never read."""
        self._next_place = 0
        self.n_dry = 0
        fade = track.fade
        self._weight = ((np.arange(fade) + 0.5) / fade).astype(np.float32)[:, None]

    def read(self, line: int, n: int) -> tuple[Floats, Floats]:
        """Read vocals and instrumental, each (n, 2), full scale 1."""
        parts = [self._read_piece(piece) for piece in self.timeline.pieces(line, n)]
        if not parts:
            return np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
        vocals, rest = (np.concatenate(stem) for stem in zip(*parts, strict=True))
        if vocals.shape[1] == 1:
            return np.repeat(vocals, 2, 1), np.repeat(rest, 2, 1)
        return vocals, rest

    def _read_piece(self, piece: Piece) -> tuple[Floats, Floats]:
        if piece.line + piece.n > self.high:
            self._decide(piece)
        return self._stems(piece)

    # ---- deciding ---------------------------------------------------

    def _decide(self, piece: Piece) -> None:
        """Choose sources for what was not read before."""
        line = max(piece.line, self.high)
        end = piece.line + piece.n
        while line < end:
            place = piece.place + line - piece.line
            quality, n = self._best(place)
            if quality == NONE:
                n = LONGEST_DRY
            n = min(n, end - line)
            if quality != self._quality:
                old = self._quality if self._quality is not None else quality
                is_faded = self._quality is not None and place == self._next_place
                change = Change(line, old, quality, is_faded)
                self._changes = [*self._changes[-N_KEPT:], change]
                self._quality = quality
            if quality == NONE and place < self.track.length:
                self.n_dry += n
            line += n
            self._next_place = place + n
        self.high = end

    def _best(self, place: int) -> tuple[int, int]:
        """Return the best quality at a place, and for how many samples."""
        for quality in (FINAL, PROVISIONAL):
            n = self.track.coverage(place, quality)
            is_better = self._quality is not None and quality > self._quality
            if n > (ENOUGH * self.track.fade if is_better else 0):
                return quality, n
        return NONE, LONGEST_DRY

    # ---- reading ----------------------------------------------------

    def _stems(self, piece: Piece) -> tuple[Floats, Floats]:
        changes = self._changes
        line, end = piece.line, piece.line + piece.n
        i = max(bisect_right([c.line for c in changes], line) - 1, 0)
        near = [c for c in changes[i:] if c.line < end]
        is_plain = len(near) == 1 and not self._fades(near[0], line)
        if is_plain and near[0].new == FINAL:
            vocals, rest = self.track.final(piece.place, piece.n)
            return vocals, rest
        vocals = np.empty((piece.n, self.track.n_channels), np.float32)
        for j, change in enumerate(near):
            first = max(change.line, line) if j else line
            last = near[j + 1].line if j + 1 < len(near) else end
            place = piece.place + first - line
            part = vocals[first - line : last - line]
            part[:] = self.track.vocals(place, last - first, change.new)
            self._cross(change, first, place, part)
        mixture = self.track.mixture(piece.place, piece.n)
        return vocals, to_float32(mixture, self.track.grid) - vocals

    def _fades(self, change: Change, line: int) -> bool:
        return change.is_faded and line < change.line + len(self._weight)

    def _cross(self, change: Change, line: int, place: int, new: Floats) -> None:
        """Fade from the old source to the new one, as far as it reaches here."""
        at = line - change.line
        n = min(len(self._weight) - at, len(new))
        if not change.is_faded or n <= 0:
            return
        old = self.track.vocals(place, n, change.old)
        new[:n] = old + self._weight[at : at + n] * (new[:n] - old)
