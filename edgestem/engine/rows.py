"""Rows that slide: the newest frames of a stream, in one place in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Sliding:
    """The newest rows of a stream; each step the oldest go and new ones are due.

    Where a step is short the rows slide through a buffer twice as long, so that they
    have to be moved seldom.
    """

    def __init__(self, shape: tuple[int, ...], dtype: type, step: int) -> None:
        n = shape[0]
        n_slack = n if 8 * step <= n else 0
        self._buffer: NDArray[Any] = np.zeros((n + n_slack, *shape[1:]), dtype)
        self._n, self._step = n, step
        self.reset()

    def reset(self) -> None:
        """Begin with zeros."""
        self._buffer.fill(0)
        self._look(0)

    def advance(self) -> None:
        """Take a step; the last rows still hold what was there."""
        at, n_kept = self._at + self._step, self._n - self._step
        if at + self._n > len(self._buffer):
            _move_up(self._buffer, at, n_kept)
            at = 0
        self._look(at)

    def _look(self, at: int) -> None:
        self._at = at
        self.rows = self._buffer[at : at + self._n]


def _move_up(rows: NDArray[Any], start: int, n: int) -> None:
    """Copy rows[start : start + n] to the front, in pieces that do not overlap."""
    for at in range(0, n, start):
        m = min(start, n - at)
        np.copyto(rows[at : at + m], rows[at + start : at + start + m])
