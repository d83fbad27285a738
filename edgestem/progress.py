"""A progress bar with the time left, for a terminal."""

from __future__ import annotations

import os
import time
from typing import TextIO

_EVERY = 0.1  # seconds between two drawings: enough for the eye
_BAR = 24  # characters


class ProgressBar:
    """Draws one line over and over.

    Parameters
    ----------
    file : text file
        A terminal.
    label : str
        What is being done.
    """

    def __init__(self, file: TextIO, label: str) -> None:
        self._file, self._label = file, label
        # 0 is a terminal that does not know.
        self._columns = os.get_terminal_size(file.fileno()).columns or 80
        self._started = time.monotonic()
        self._next = 0.0
        self.update(0, None)

    def update(self, n_done: int, n_total: int | None) -> None:
        """Draw, unless that was just done; the end is always drawn."""
        now = time.monotonic()
        if now < self._next and n_done != n_total:
            return
        self._next = now + _EVERY
        elapsed = now - self._started
        if not n_total or n_done > n_total:
            state = f" {clock(elapsed)}"
        else:
            share = n_done / n_total
            bar = ("#" * round(share * _BAR)).ljust(_BAR)
            left = clock(elapsed / share - elapsed) if n_done else "-:--"
            state = f" [{bar}] {share:4.0%}  {left} left"
        room = max(self._columns - len(state) - 1, 8)
        label = self._label
        if len(label) > room:
            label = label[: room - 3] + "..."
        self._draw(label + state)

    def clear(self) -> None:
        """Remove the line."""
        self._draw("")

    def _draw(self, line: str) -> None:
        self._file.write(f"\r\033[K{line}")
        self._file.flush()


def clock(seconds: float) -> str:
    """Write a duration as 3:07 or 1:02:33."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
