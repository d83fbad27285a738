"""Deadline mode: what plays never waits for the network.

    sound card -> process() -> mixture ring -> Worker: Separator, in its own thread
                     |                             |
    sound card <- faders, cross-fades <- vocals ring

`process` runs in the sound card's callback.  It puts the block into the mixture
ring and takes the mixture of `latency_samples` ago out of it, with the vocals that
the worker has put at the very same place.  Time is the number of samples since the
start; both sides know only that, so nothing can slip.

Where the vocals are late, the overlap-add tail of the frames so far is there: the
vocals fading out under the synthesis window.  It plays while the fall-back fades in
with the rest of the weight, so a cross-fade needs no extra latency.  When vocals
for a whole fade are ready again, they fade back.

The two threads share arrays and three numbers that one of them writes (`n_in`,
`done`, the levels); the worker is woken by an eventfd.  No lock, no allocation of
arrays, no log in `process`.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgestem.engine.separator import Separator
from edgestem.pcm.faders import Levels
from edgestem.spectrum.windows import fading_out
from edgestem.stems import LIMIT

if TYPE_CHECKING:
    from edgestem.stems import Samples

SUBSTITUTES = ("dry", "centre-cancel", "mute")
MAX_PIECE = 4096  # samples that `process` does at a time
MAX_BEHIND_S = 0.25  # the worker makes up for less, and skips more
WAIT_ROUNDS = 100  # of 0.1 s: then an offline render goes on without vocals
N_TAILS = 8  # so many calls a tail is kept for who is about to play it
RISE_S = 0.01  # of the cross-fade back to the stems
WET, TAIL, DRY, RISE = range(4)  # what is playing; TAIL and RISE are the fades


class Done(NamedTuple):
    """Which vocals are ready: [start, end), and the tail behind them."""

    start: int
    end: int
    tail: int


class Rig:
    """A live stream: blocks in, blocks out, `latency_samples` later, always.

    Parameters
    ----------
    separator : Separator
        Fresh or reset; the worker's from now on.
    levels : Levels
        float32; of what comes out.
    slack_samples : int
        Latency besides the separator's own: the largest block, and the time that
        the network has.
    substitute : str
        What plays when vocals are late: the `dry` mixture, at the level of the
        louder fader; `centre-cancel`, (L - R) / 2; or `mute`.

    Attributes
    ----------
    n_late, n_substitute_samples, n_bad_samples : int
        How often vocals were late, for how many samples something else than
        stems played, and how many values of the input were damaged.
    """

    def __init__(
        self,
        separator: Separator,
        levels: Levels,
        *,
        slack_samples: int,
        substitute: str = "dry",
    ) -> None:
        if substitute not in SUBSTITUTES:
            raise ValueError(
                f"substitute: expected one of {SUBSTITUTES}, got {substitute!r}"
            )
        if slack_samples < 1:
            raise ValueError(f"slack_samples: expected 1 or more, got {slack_samples}")
        if substitute == "centre-cancel" and separator.n_channels == 1:
            raise ValueError("substitute: centre-cancel needs stereo; use dry or mute")
        self.levels, self.substitute = levels, substitute
        self.sample_rate, self.n_channels = separator.sample_rate, separator.n_channels
        self.slack_samples = slack_samples
        self.latency_samples = separator.latency_samples + slack_samples
        self.is_waiting = False
        """In an offline render `process` waits for the network."""
        self.is_deserted = False
        """The worker's thread has died: there is nobody to wait for."""
        self._size(separator)
        self._allocate()
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.done_bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.n_in = 0
        # Before the stream begins there are no vocals, and they are ready.
        self.done = Done(-self.latency_samples, 0, 0)
        self._played = self.done
        self._state, self._at, self._share = WET, 0, 1.0
        self.n_late = self.n_substitute_samples = self.n_bad_samples = 0

    def _size(self, separator: Separator) -> None:
        g, rate = separator.geometry, separator.sample_rate
        self.hop = g.hop
        self._weight = fading_out(*g.windows(), g.hop)
        self.call_samples, self.first_samples = g.call_samples, g.first_samples
        self.max_behind = self.first_samples + round(MAX_BEHIND_S * rate)
        # Read and write places must never meet, and hops never wrap.
        n_ring = self.latency_samples + self.max_behind + 2 * self.first_samples
        self.n_ring = -(-(n_ring + 2 * MAX_PIECE) // self.hop) * self.hop
        n_rise = min(self.hop, round(RISE_S * rate))
        turn = np.pi * np.arange(1, n_rise + 1) / (n_rise + 1)
        self._rise = (0.5 - 0.5 * np.cos(turn)).astype(np.float32)

    def _allocate(self) -> None:
        n = self.n_channels
        self.mixture = np.zeros((self.n_ring, n), np.float32)
        self.vocals = np.zeros((self.n_ring, n), np.float32)
        self.tails = np.zeros((N_TAILS, len(self._weight), n), np.float32)
        self._tail = np.zeros((len(self._weight), n), np.float32)
        self._a, self._b = np.zeros((2, MAX_PIECE, n), np.float32)
        self._w, self._rest = np.zeros((2, MAX_PIECE), np.float32)
        self._good = np.zeros((MAX_PIECE, n), np.bool_)

    def close(self) -> None:
        """Give the descriptors back, when nobody calls `process` any more."""
        os.close(self.bell)
        os.close(self.done_bell)

    # ---- the callback: no allocation of arrays, no lock, no log ---------------

    def process(self, x: Samples, out: Samples) -> None:
        """Take a block and give one.

        Parameters
        ----------
        x, out : shape (n_samples, n_channels), float32
            `out` is written and may be `x`.
        """
        done, n = 0, len(x)
        while done < n:
            m = min(n - done, MAX_PIECE)
            if self.is_waiting:
                m = min(m, self.slack_samples)
                self._wait(m)
            m = self._choose(m)
            if m:
                piece = slice(done, done + m)
                self._piece(x[piece], out[piece])
                done += m
        os.eventfd_write(self.bell, 1)

    def _wait(self, n_samples: int) -> None:
        """Offline only: wait until the vocals of the next samples are there."""
        end = self.n_in + n_samples - self.latency_samples
        os.eventfd_write(self.bell, 1)
        for _ in range(WAIT_ROUNDS):
            if self.done.end >= end or self.is_deserted:
                return
            _sleep_until(self.done_bell)

    def _choose(self, n: int) -> int:
        """Move on to the state of the next sample; say how long it will last."""
        place = self.n_in - self.latency_samples
        n = min(n, self.n_ring - self.n_in % self.n_ring)
        n = min(n, self.n_ring - place % self.n_ring)
        done = self.done
        n_ready = done.end - place if done.start <= place else 0
        if self._state == TAIL:
            if self._at == len(self._tail):
                self._state = DRY
                return 0
            return min(n, len(self._tail) - self._at)
        if self._state == DRY:
            if n_ready < len(self._rise):
                return n
            self._state, self._at = RISE, 0
        if n_ready <= 0:
            self._fall()
            return 0
        self._played = done
        if self._state == RISE:
            if self._at < len(self._rise):
                return min(n, n_ready, len(self._rise) - self._at)
            self._state = WET
        return min(n, n_ready)

    def _fall(self) -> None:
        """Vocals are late: begin to play the tail behind the last ones."""
        is_rising = self._state == RISE
        self._share = float(self._rise[self._at - 1]) if is_rising else 1.0
        if is_rising and self._at == 0:
            self._share = 0.0
        np.copyto(self._tail, self.tails[self._played.tail])
        self._state, self._at = TAIL, 0
        self.n_late += 1

    def _piece(self, x: Samples, out: Samples) -> None:
        """Do samples that are all in one state and in one piece of the rings."""
        n = len(x)
        place = (self.n_in - self.latency_samples) % self.n_ring
        self._store(x)
        mixture = self.mixture[place : place + n]
        gains = self.levels.take(n)
        if self._state == WET:
            vocals = self.vocals[place : place + n]
            _mix(mixture, vocals, gains, self._a[:n], self._b[:n], out)
        else:
            self._fade(mixture, place, gains, out)
            self.n_substitute_samples += n
        self.n_in += n

    def _store(self, x: Samples) -> None:
        """Put samples into the ring; damaged ones as silence."""
        at, n = self.n_in % self.n_ring, len(x)
        line, good = self.mixture[at : at + n], self._good[:n]
        np.absolute(x, out=line)
        np.less_equal(line, LIMIT, out=good)  # NaN compares false
        np.copyto(line, x)
        n_bad = good.size - int(np.count_nonzero(good))
        if n_bad:
            self.n_bad_samples += n_bad
            np.logical_not(good, out=good)
            np.copyto(line, 0.0, where=good)

    def _fade(self, mixture: Samples, place: int, gains: Samples, out: Samples) -> None:
        """Play the fall-back, and the stems as far as they are there.

        With w the weight of the vocals v at hand and g the share of the stems,
        out = g (v gain_v + (w x - v) gain_i) + (1 - g w) fall-back.
        """
        n, at = len(mixture), self._at
        a, b, w, rest = self._a[:n], self._b[:n], self._w[:n], self._rest[:n]
        share: Samples | float
        if self._state == DRY:
            a.fill(0.0)
            rest.fill(1.0)
        else:
            if self._state == TAIL:
                np.copyto(w, self._weight[at : at + n])
                vocals, share = self._tail[at : at + n], self._share
            else:
                w.fill(1.0)
                vocals = self.vocals[place : place + n]
                share = self._rise[at : at + n]
            _scale(mixture, w, a)
            _mix(a, vocals, gains, a, b, a)
            _scale(a, share, a)
            np.multiply(w, share, out=rest)
            np.subtract(1.0, rest, out=rest)
            self._at += n
        self._substitute(mixture, gains, b, w)
        _scale(b, rest, b)
        np.add(a, b, out=out)

    def _substitute(
        self, mixture: Samples, gains: Samples, b: Samples, w: Samples
    ) -> None:
        """Write the fall-back to b; w is scratch."""
        if self.substitute == "mute":
            b.fill(0.0)
            return
        np.copyto(b, mixture)
        if self.substitute == "centre-cancel":
            np.subtract(mixture[:, 0], mixture[:, 1], out=w)
            np.multiply(w, 0.5, out=w)
            for c in (0, 1):
                np.copyto(b[:, c], w)
        np.maximum(gains[:, 0], gains[:, 1], out=w)
        _scale(b, w, b)


def _mix(
    mixture: Samples,
    vocals: Samples,
    gains: Samples,
    a: Samples,
    b: Samples,
    out: Samples,
) -> None:
    """Write both stems at their levels; a may be the mixture, or out."""
    np.subtract(mixture, vocals, out=a)
    _scale(a, gains[:, 1], a)
    _scale(vocals, gains[:, 0], b)
    np.add(a, b, out=out)


def _scale(x: Samples, gain: Any, out: Samples) -> None:
    """Multiply the channels by gains (n,); a broadcast would allocate buffers."""
    for c in range(x.shape[1]):
        np.multiply(x[:, c], gain, out=out[:, c])


def _sleep_until(bell: int) -> None:
    """Wait for an eventfd, 100 ms at most, and clear it."""
    if select.select([bell], [], [], 0.1)[0]:
        os.eventfd_read(bell)
