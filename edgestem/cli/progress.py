"""How far a batch is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

from edgestem.cli import interrupts
from edgestem.cli.console import one_line, say, tell

_DRAW_S = 0.1  # between two drawings: enough for the eye
_LINE_S = 25.0  # between two lines in a log: nobody thinks that it hangs
_BAR = 24  # characters
_FIRST = 0.01  # share after which a guess of the time left means something
Clock = Callable[[], float]


class Estimate:
    """Guesses the time left from the share that is done.

    The clock starts with the first share told: loading is over then.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._start: tuple[float, float] | None = None

    def left_s(self, share: float) -> float | None:
        """Seconds left when `share` (0..1) is done; None: too early to say."""
        now = self._clock()
        if self._start is None:
            self._start = share, now
        done, elapsed = share - self._start[0], now - self._start[1]
        if done < _FIRST or elapsed <= 0:
            return None
        return elapsed * (1 - share) / done


class Progress:
    """Shows one song after the other, and the whole of them by their bytes.

    Parameters
    ----------
    sizes : sequence of int
        Bytes of the songs, in their order; 0 where nobody knows.
    is_quiet : bool
        Show nothing.
    clock : callable
        Seconds.
    """

    def __init__(
        self, sizes: Sequence[int], *, is_quiet: bool, clock: Clock = time.monotonic
    ) -> None:
        self._sizes, self._clock = list(sizes), clock
        self._is_quiet = is_quiet
        self._columns = 0  # of the terminal; 0: there is none
        if not is_quiet and sys.stderr.isatty():
            # 0 is a terminal that does not know.
            self._columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        self._all = Estimate(clock)
        self._n_done = 0  # bytes of the songs before this one
        self._at = -1
        self._next = clock() + (0 if self._columns else _LINE_S)

    def begin(self, name: str) -> None:
        """Show that the next song begins."""
        self._at += 1
        n = len(self._sizes)
        self._label = one_line(f"{self._at + 1}/{n} {name}" if n > 1 else name)
        self._song = Estimate(self._clock)
        self._started = self._clock()
        if self._columns:
            self._next = 0.0
            self.update(0, None)

    def update(self, n_done: int, n_total: int | None) -> None:
        """Show, unless that was just done, where the song is; obey signals."""
        interrupts.check()
        share = n_done / n_total if n_total and n_done <= n_total else None
        left, all_left = self._left(share)
        now = self._clock()
        is_end = share == 1 and self._columns
        if self._is_quiet or (now < self._next and not is_end):
            return
        self._next = now + (_DRAW_S if self._columns else _LINE_S)
        state = [clock(now - self._started)] if share is None else []
        if share is not None:
            state = [f"{'-:--' if left is None else clock(left)} left"]
        state += [f"{clock(all_left)} in all"] if all_left is not None else []
        if self._columns:
            self._draw(share, ", ".join(state))
        else:
            head = "" if share is None else f"{share:.0%}, "
            say(f"edgestem: {self._label}: {head}{', '.join(state)}")

    def _left(self, share: float | None) -> tuple[float | None, float | None]:
        """Seconds left of the song and of the whole batch."""
        left = None if share is None else self._song.left_s(share)
        n_all = sum(self._sizes)
        if share is None or len(self._sizes) < 2 or not n_all:
            return left, None
        n_now = self._n_done + share * self._sizes[self._at]
        return left, self._all.left_s(n_now / n_all)

    def end(self, *, is_done: bool) -> None:
        """Remove the bar; a song that was not done counts no longer."""
        if is_done:
            self._n_done += self._sizes[self._at]
        else:
            self._sizes[self._at] = 0
        if self._columns:
            tell("\r\033[K")

    def _draw(self, share: float | None, state: str) -> None:
        if share is not None:
            bar = ("#" * round(share * _BAR)).ljust(_BAR)
            state = f"[{bar}] {share:4.0%}  {state}"
        room = max(self._columns - len(state) - 2, 8)
        label = self._label
        if len(label) > room:
            label = label[: room - 3] + "..."
        tell(f"\r\033[K{label} {state}")


def clock(seconds: float) -> str:
    """Write a duration as 3:07 or 1:02:33."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
