"""The click: a short tone on every beat, higher on a bar's first.

Beats are places of the song (tempo and first downbeat are told, not guessed), so a
click follows the tempo and the loop.  A count-in is the beats before the song: its
pattern is the usual one, first bar on 1 and 3, last bar on every beat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ACCENT_HZ, NORMAL_HZ = 1600.0, 1200.0  # as mtrack has them: heard through a band
LENGTH_S = 0.03
TICK_HZ, TICK_S = 3000.0, 0.008  # of a press: no beat is mistaken for it
LEVEL = 0.5  # full scale 1


@dataclass(frozen=True, slots=True)
class Beats:
    """Where the beats of a song are."""

    bpm: float
    """Beats a minute of the song itself."""
    first: float
    """Seconds from the song's start to a downbeat."""
    meter: int = 4
    """Beats of a bar."""
    count_in: int = 0
    """Bars before the song."""

    def period(self, sample_rate: int) -> float:
        """Tell the samples from beat to beat."""
        return 60.0 / self.bpm * sample_rate

    def place(self, number: int, sample_rate: int) -> float:
        """Tell the song's sample of a beat; number 0 is the first downbeat."""
        return self.first * sample_rate + number * self.period(sample_rate)

    def lead(self, sample_rate: int) -> int:
        """Tell how many samples a count-in begins before the song."""
        n_beats = self.count_in * self.meter
        return max(0, math.ceil(-self.place(-n_beats, sample_rate)))

    def between(self, start: float, end: float, sample_rate: int) -> list[int]:
        """List the beats of places [start, end) of the song."""
        period, first = self.period(sample_rate), self.first * sample_rate
        low = math.ceil((start - first) / period)
        high = math.ceil((end - first) / period)
        return [n for n in range(low, high) if self._sounds(n)]

    def _sounds(self, number: int) -> bool:
        if number >= 0:
            return True
        n_before = -number
        if n_before > self.count_in * self.meter:
            return False
        is_last_bar = n_before <= self.meter
        return is_last_bar or self.count_in == 1 or number % self.meter % 2 == 0

    def is_accent(self, number: int) -> bool:
        """Tell whether a beat begins a bar."""
        return number % self.meter == 0


def tick_tone(sample_rate: int) -> NDArray[np.float32]:
    """Make the tick that acknowledges a press: short, high, softer than the click."""
    n = max(round(TICK_S * sample_rate), 2)
    t = np.arange(n) / sample_rate
    shape = LEVEL / 2 * (1 - np.arange(n) / n)
    return np.asarray(shape * np.sin(2 * np.pi * TICK_HZ * t), np.float32)


class ClickTone:
    """The two tones at a sample rate, and what still sounds of them."""

    def __init__(self, sample_rate: int) -> None:
        n = max(round(LENGTH_S * sample_rate), 2)
        t = np.arange(n) / sample_rate
        shape = LEVEL * np.exp(-t / (LENGTH_S / 5)) * (1 - np.arange(n) / n)
        self._tones = [
            (shape * np.sin(2 * np.pi * hz * t)).astype(np.float32)
            for hz in (NORMAL_HZ, ACCENT_HZ)
        ]
        self._rest = np.zeros(0, np.float32)

    def clear(self) -> None:
        """Let nothing sound on."""
        self._rest = np.zeros(0, np.float32)

    def render(self, n: int, beats: list[tuple[int, bool]]) -> NDArray[np.float32]:
        """Render n samples; `beats` has (sample of this block, is_accent)."""
        total = max(
            [len(self._rest), n, *(at + len(self._tones[0]) for at, _ in beats)]
        )
        out = np.zeros(total, np.float32)
        out[: len(self._rest)] = self._rest
        for at, is_accent in beats:
            tone = self._tones[is_accent]
            out[at : at + len(tone)] = tone
        self._rest = out[n:].copy()
        return out[:n]
