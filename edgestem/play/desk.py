"""What the sound card's callback does: ring, faders, fades, buses.

One thread renders into the ring and one plays from it; they share plain numbers, and
neither waits for the other.  Faders act behind the ring, at once.  In `process`:
no lock, no log, no allocation of arrays.

Buses: `backing` is the instrumental and the vocals at their faders, `guide` the vocals
alone at theirs, `click` the click, and a tick where a pedal is acknowledged.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from edgestem.pcm.faders import Levels
from edgestem.play.click import tick_tone
from edgestem.stems import SILENT_DB

Floats = NDArray[np.float32]
MAX_PIECE = 4096  # frames that are done at a time
WAIT_S = 0.1  # an offline sink looks again so often


class Ring:
    """Rendered frames on their way to the callback.

    `written` and `played` count frames since the beginning of the show.
    """

    def __init__(self, n_frames: int) -> None:
        self.n_frames = n_frames
        self.vocals, self.rest = np.zeros((2, n_frames, 2), np.float32)
        self.click = np.zeros(n_frames, np.float32)
        self.written = self.played = 0

    @property
    def n_waiting(self) -> int:
        """Frames that are rendered and not played."""
        return self.written - self.played

    def write(self, vocals: Floats, rest: Floats, click: Floats) -> None:
        """Append frames; there is room for them."""
        done, n_total = 0, len(click)
        while done < n_total:
            at = (self.written + done) % self.n_frames
            n = min(n_total - done, self.n_frames - at)
            self.vocals[at : at + n] = vocals[done : done + n]
            self.rest[at : at + n] = rest[done : done + n]
            self.click[at : at + n] = click[done : done + n]
            done += n
        self.written += n_total

    def drop(self) -> None:
        """Forget what waits, while nobody plays."""
        self.written = self.played


class Desk:
    """The playing side of a show.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_ahead : int
        Frames that are rendered ahead of what is heard.

    Attributes
    ----------
    faders : Levels
        Vocals and instrumental of the backing bus.
    monitors : Levels
        Guide vocals and click.
    master : Levels
        The whole backing bus; its second gain is nobody's.
    is_silent : bool
        Nothing is played; the ring stands still.
    n_late : int
        Times the ring was empty.
    is_waiting : bool
        An offline sink: `process` waits for the renderer.
    """

    def __init__(self, sample_rate: int, n_ahead: int) -> None:
        self.sample_rate, self.n_ahead = sample_rate, n_ahead
        self.ring = Ring(2 * n_ahead + 2 * MAX_PIECE)
        self.faders = Levels(SILENT_DB, 0.0, np.float32)
        self.monitors = Levels(0.0, 0.0, np.float32)
        self.master = Levels(0.0, 0.0, np.float32)
        self._fade = Levels(SILENT_DB, SILENT_DB, np.float32)
        self._wanted: tuple[float, int] | None = None
        self._seen: tuple[float, int] | None = None
        self._left = 0
        self.is_silent, self.is_waiting, self.is_open_ended = True, False, False
        self.n_late = self.n_frames = 0
        self.bell = threading.Condition()
        self._a, self._b = np.zeros((2, MAX_PIECE, 2), np.float32)
        self.backing, self.guide = np.zeros((2, MAX_PIECE, 2), np.float32)
        self.click = np.zeros(MAX_PIECE, np.float32)
        self._tick = tick_tone(sample_rate)
        self._tick_at = len(self._tick)
        self._n_ticks = self._n_ticked = 0

    # ---- anybody ----------------------------------------------------

    def go(self, n_ramp: int = 0) -> None:
        """Play; without a ramp the first sample is what it is."""
        self._wanted = (0.0, n_ramp)

    def fade(self, seconds: float) -> None:
        """Fade to silence, then stand still."""
        self._wanted = (SILENT_DB, max(round(seconds * self.sample_rate), 1))

    def halt(self) -> None:
        """Stand still at once: the output has gone, and nobody calls `process`."""
        self._seen = self._wanted
        self._fade = Levels(SILENT_DB, SILENT_DB, np.float32)
        self._left, self.is_silent = 0, True

    def tick(self) -> None:
        """Sound a tick on the click bus, also while nothing is played."""
        self._n_ticks += 1

    # ---- the callback -----------------------------------------------

    def process(self, n: int) -> int:
        """Make the next frames of every bus; return how many, `MAX_PIECE` at most."""
        self._obey()
        n = min(n, MAX_PIECE)
        if not self.is_silent and self._left:
            n = min(n, self._left)
        if not self.is_silent and self.is_waiting:
            self._wait(n)
        m = 0 if self.is_silent else min(n, self.ring.n_waiting)
        done = 0
        while done < m:
            at = self.ring.played % self.ring.n_frames
            k = min(m - done, self.ring.n_frames - at)
            self._mix(at, done, k)
            self.ring.played += k
            done += k
        if m < n:
            self._rest(m, n)
        self._add_tick(n)
        self._count(n)
        self.n_frames += n
        return n

    def _obey(self) -> None:
        """Take up what was asked for last."""
        wanted = self._wanted
        if wanted is self._seen or wanted is None:
            return
        self._seen = wanted
        level, n_ramp = wanted
        if level < 0 and self.is_silent:
            return
        self._fade.set(level, None, n_ramp)
        if level < 0:
            self._left = n_ramp
        else:
            self._left, self.is_silent = 0, False

    def _wait(self, n: int) -> None:
        """Offline only: wait until frames are rendered, or there will be none."""
        if self.ring.n_waiting < self.n_ahead // 2:
            with self.bell:
                self.bell.notify_all()
        while self.ring.n_waiting < n and not self.is_open_ended:
            with self.bell:
                self.bell.notify_all()
                self.bell.wait(WAIT_S)
            self._obey()
            if self.is_silent or self._left:
                return

    def _mix(self, at: int, to: int, n: int) -> None:
        """Mix frames of one piece of the ring into the buses."""
        ring, a, b = self.ring, self._a[:n], self._b[:n]
        vocals, rest = ring.vocals[at : at + n], ring.rest[at : at + n]
        fade = self._fade.take(n)[:, 0]
        gains, monitors = self.faders.take(n), self.monitors.take(n)
        _scale(vocals, gains[:, 0], a)
        _scale(rest, gains[:, 1], b)
        out = self.backing[to : to + n]
        np.add(a, b, out=out)
        _scale(out, fade, out)
        _scale(out, self.master.take(n)[:, 0], out)
        guide, click = self.guide[to : to + n], self.click[to : to + n]
        _scale(vocals, monitors[:, 0], guide)
        _scale(guide, fade, guide)
        np.multiply(ring.click[at : at + n], monitors[:, 1], out=click)
        np.multiply(click, fade, out=click)

    def _rest(self, start: int, end: int) -> None:
        """Fill with silence: nothing is played, or nothing is there."""
        self.backing[start:end].fill(0)
        self.guide[start:end].fill(0)
        self.click[start:end].fill(0)
        if not self.is_silent and not self.is_open_ended:
            self.n_late += 1

    def _add_tick(self, n: int) -> None:
        """Begin a tick that was asked for, or let one sound on."""
        if self._n_ticked != self._n_ticks:
            self._n_ticked, self._tick_at = self._n_ticks, 0
        k = min(len(self._tick) - self._tick_at, n)
        if k > 0:
            part = self._tick[self._tick_at : self._tick_at + k]
            np.add(self.click[:k], part, out=self.click[:k])
            self._tick_at += k

    def _count(self, n: int) -> None:
        """Stand still behind the last sample of a fade."""
        if self._left and not self.is_silent:
            self._left -= n
            if self._left <= 0:
                self._left, self.is_silent = 0, True


def _scale(x: Floats, gain: Floats, out: Floats) -> None:
    """Multiply both channels by gains (n,); a broadcast would allocate buffers."""
    np.multiply(x[:, 0], gain, out=out[:, 0])
    np.multiply(x[:, 1], gain, out=out[:, 1])
