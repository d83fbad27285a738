"""Where in the song a moment of playing lies: loops folded into a line.

The *line* counts samples of the song as they are played one after the other; it only
goes forward.  A loop belongs to a stretch of the line: it begins with the first sample
that is not read yet, so what was read before stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from edgestem.play.track import ENDLESS

Loop = tuple[int, int]


class Stretch(NamedTuple):
    """A part of the line, until the next one begins."""

    line: int
    """Its first sample on the line."""
    place: int
    """The same in the song."""
    loop: Loop | None
    """[start, end) in the song that it goes round in."""


class Piece(NamedTuple):
    """A run of samples that lies in the song as it does on the line."""

    line: int
    place: int
    n: int


class Timeline:
    """The line of one song, from one jump to the next."""

    def __init__(self, place: int, loop: Loop | None = None) -> None:
        self._stretches = [Stretch(place, place, loop)]

    @property
    def loop(self) -> Loop | None:
        """The loop that is or will be entered."""
        return self._stretches[-1].loop

    def set_loop(self, line: int, loop: Loop | None) -> None:
        """Change the loop for what comes at `line` and later."""
        last = self._stretches[-1]
        line = max(line, last.line)
        change = Stretch(line, self.place(line), loop)
        kept = self._stretches[:-1] if line == last.line else self._stretches
        self._stretches = [*kept[-8:], change]

    def place(self, line: float) -> int:
        """Tell the song's sample of a sample of the line."""
        return self._piece(int(line // 1)).place

    def pieces(self, line: int, n: int) -> Iterator[Piece]:
        """Cut a run of the line where the song jumps."""
        end = line + n
        while line < end:
            piece = self._piece(line)
            m = min(piece.n, end - line)
            yield Piece(line, piece.place, m)
            line += m

    def end(self, n_samples: int) -> int:
        """Tell the sample of the line behind the song's last one."""
        last = self._stretches[-1]
        if last.loop is not None and last.place < last.loop[1]:
            return ENDLESS
        return last.line + n_samples - last.place

    def _piece(self, line: int) -> Piece:
        """Find the longest piece that begins at a sample of the line."""
        stretches = self._stretches
        i = len(stretches) - 1
        while i > 0 and stretches[i].line > line:
            i -= 1
        found = stretches[i]
        limit = stretches[i + 1].line - line if i + 1 < len(stretches) else ENDLESS
        place = found.place + line - found.line
        if found.loop is None or found.place >= found.loop[1]:
            return Piece(line, place, limit)
        start, end = found.loop
        if place >= end:
            place = start + (place - end) % (end - start)
        return Piece(line, place, min(limit, end - place))
