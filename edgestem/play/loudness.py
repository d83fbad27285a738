"""How loud a song is: ITU-R BS.1770, integrated, and what evens a set.

Two filters (a shelf for the head, a high-pass for the ear's low end), mean squares of
400 ms every 100 ms, two gates.  The filters are applied as their frequency response,
block by block with a run-in: numpy has no recursive filter, and theirs have died away
after a third of a second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

PEAK_DB = -1.0  # of the loudest sample after the gain
MAX_TAGGED_DB, MAX_PEAK = 51.0, 100.0  # tags beyond are broken
ABSOLUTE, RELATIVE = -70.0, -10.0  # gates: LUFS, LU
RUN_IN_S = 0.4
STEP_S, N_STEPS = 0.1, 4  # a window is 4 steps
# BS.1770-4's two filters, as analogue ones that fit any rate: hertz, dB, quality.
SHELF_HZ, SHELF_DB, SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
HIGH_HZ, HIGH_Q = 38.13547087602444, 0.5003270373238773


class Meter:
    """Measures a stream of blocks (n, n_channels) float32.

    Parameters
    ----------
    sample_rate : int
        Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._step = round(STEP_S * sample_rate)
        self._run_in = -(-round(RUN_IN_S * sample_rate) // self._step) * self._step
        self._n = 32 * self._step
        self._response = _response(sample_rate, self._n + self._run_in)
        self._waiting = [np.zeros((self._run_in, 2), np.float32)]
        self._n_waiting = 0
        self._squares: list[NDArray[np.float64]] = []
        self.peak = 0.0
        """Greatest magnitude so far."""

    def add(self, x: NDArray[np.float32]) -> None:
        """Hear more."""
        if len(x) == 0:
            return
        self.peak = max(self.peak, float(np.max(np.abs(x))))
        if x.shape[1] == 1:
            x = np.repeat(x, 2, 1)
        self._waiting.append(x)
        self._n_waiting += len(x)
        while self._n_waiting >= self._n:
            self._measure()

    def loudness(self) -> float:
        """Tell the integrated loudness so far, LUFS; -inf: silence."""
        squares = [*self._squares]
        if self._n_waiting >= self._step:  # the last, shorter block
            line = np.concatenate(self._waiting)
            n = self._n_waiting // self._step
            pad = np.zeros((self._n + self._run_in - len(line), 2), np.float32)
            squares.append(self._filtered(np.concatenate([line, pad]))[:n])
        if not squares:
            return -math.inf
        return integrated(np.concatenate(squares))

    def _measure(self) -> None:
        line = np.concatenate(self._waiting)
        size = self._n + self._run_in
        self._squares.append(self._filtered(line[:size]))
        self._waiting = [line[self._n :]]
        self._n_waiting -= self._n

    def _filtered(self, line: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean square of each step behind the run-in, channels added."""
        spectrum = np.fft.rfft(line, axis=0) * self._response[:, None]
        y = np.fft.irfft(spectrum, len(line), axis=0)[self._run_in :]
        power: NDArray[np.float64] = (y * y).sum(1).reshape(-1, self._step).mean(1)
        return power


def integrated(squares: NDArray[np.float64]) -> float:
    """Gate mean squares of 100 ms steps and tell the loudness, LUFS."""
    if len(squares) < N_STEPS:
        return -math.inf
    windows = np.convolve(squares, np.full(N_STEPS, 1 / N_STEPS), "valid")
    loud = windows[windows > _power(ABSOLUTE)]
    if len(loud) == 0:
        return -math.inf
    loud = loud[loud > loud.mean() * 10 ** (RELATIVE / 10)]
    return float(-0.691 + 10 * math.log10(loud.mean()))


def even_gain(loudness: float, peak: float, target: float) -> float:
    """Choose the factor that brings a song to a loudness, without clipping it."""
    if not math.isfinite(loudness) or peak <= 0:
        return 1.0
    gain_db = min(target - loudness, PEAK_DB - 20 * math.log10(peak))
    return float(10 ** (gain_db / 20))


def tagged_gain(tags: Mapping[str, str]) -> float | None:
    """Choose the factor that a song's ReplayGain tags ask for; None: they ask nothing.

    Not above what its tagged peak leaves room for; without one, never louder.

    Parameters
    ----------
    tags : mapping
        As `read_extras` finds them.
    """
    gain_db = _leading_number(tags.get("replaygain_track_gain", ""))
    peak = _leading_number(tags.get("replaygain_track_peak", "")) or 0.0
    if gain_db is None or abs(gain_db) > MAX_TAGGED_DB:
        return None
    room_db = PEAK_DB - 20 * math.log10(peak) if 0 < peak < MAX_PEAK else 0.0
    return float(10 ** (min(gain_db, room_db) / 20))


def _leading_number(text: str) -> float | None:
    found = re.match(r"\s*([-+]?\d+(?:\.\d+)?)", text)
    return float(found[1]) if found else None


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def _response(sample_rate: int, n: int) -> NDArray[np.complex128]:
    """Both filters' frequency response at the bins of a transform of n samples."""
    z = np.exp(-2j * np.pi * np.arange(n // 2 + 1) / n)
    k = math.tan(math.pi * SHELF_HZ / sample_rate)
    high = 10 ** (SHELF_DB / 20)
    middle = high**0.4996667741545416
    top = (high + middle * k / SHELF_Q + k * k, 2 * (k * k - high))
    shelf = top[0] + top[1] * z + (high - middle * k / SHELF_Q + k * k) * z * z
    shelf = shelf / _poles(k, SHELF_Q, z)
    k = math.tan(math.pi * HIGH_HZ / sample_rate)
    # The standard's high-pass has the numerator 1, -2, 1 at every rate.
    pole = 1 + k / HIGH_Q + k * k
    found: NDArray[np.complex128] = shelf * (1 - z) ** 2 / _poles(k, HIGH_Q, z) * pole
    return found


def _poles(k: float, q: float, z: NDArray[np.complex128]) -> NDArray[np.complex128]:
    found: NDArray[np.complex128] = (
        (1 + k / q + k * k) + 2 * (k * k - 1) * z + (1 - k / q + k * k) * z * z
    )
    return found
