"""Rubber Band as an engine of `stretch`: the user's own library, never shipped.

Rubber Band (https://breakfastquay.com/rubberband/) is under the GPL, version 2 or
later.  edgestem neither contains nor needs it; who has installed it can choose it, and
with it its licence's terms for what he passes on.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIBRARY = "librubberband.so.2"
HOP = 1024  # frames of a step
BLOCK = 512  # samples that are given at once
_DECLARATIONS = """
typedef struct RubberBandState_ *RubberBandState;
RubberBandState rubberband_new(
    unsigned int, unsigned int, int options, double time_ratio, double pitch_scale);
void rubberband_delete(RubberBandState);
void rubberband_set_time_ratio(RubberBandState, double);
void rubberband_set_pitch_scale(RubberBandState, double);
unsigned int rubberband_get_preferred_start_pad(RubberBandState);
unsigned int rubberband_get_start_delay(RubberBandState);
void rubberband_process(
    RubberBandState, const float *const *, unsigned int, int is_final);
int rubberband_available(RubberBandState);
unsigned int rubberband_retrieve(RubberBandState, float *const *, unsigned int);
"""
REAL_TIME, PITCH_HIGH_CONSISTENCY, CHANNELS_TOGETHER = 0x1, 0x04000000, 0x10000000
FORMANTS_PRESERVED, NO_THREADS = 0x01000000, 0x00010000
PITCH_HIGH_QUALITY, FINER = 0x02000000, 0x20000000
OPTIONS = REAL_TIME | NO_THREADS | CHANNELS_TOGETHER | PITCH_HIGH_CONSISTENCY


@functools.cache
def _load() -> tuple[Any, Any]:
    """Return the FFI and the library; OSError without it."""
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(_DECLARATIONS)
    return ffi, ffi.dlopen(LIBRARY)


class RubberBand:
    """One stem through Rubber Band in real-time mode; see stretch.Engine.

    Its output depends on the blocks it is given, so it always gets BLOCK samples.

    Parameters
    ----------
    sample_rate, n_channels : int
    keeps_formants : bool
    options : int
        Rubber Band's, beside that for formants.

    Raises
    ------
    OSError
        The library is not installed.
    """

    def __init__(
        self,
        sample_rate: int,
        n_channels: int,
        keeps_formants: bool,
        options: int = OPTIONS,
    ) -> None:
        self._ffi, self._lib = _load()
        self.hop = HOP
        self._rate, self._n_channels = sample_rate, n_channels
        self._options = options | (FORMANTS_PRESERVED if keeps_formants else 0)
        self._y = np.zeros((n_channels, HOP), np.float32)
        self.reset(0.0, 0.0, 1.0)

    def reset(self, position: float, key: float, tempo: float) -> None:
        """See stretch.Engine.reset."""
        self._key, self._tempo = key, tempo
        state = self._lib.rubberband_new(
            self._rate, self._n_channels, self._options, 1.0 / tempo, 2.0 ** (key / 12)
        )
        self._state = self._ffi.gc(state, self._lib.rubberband_delete)
        pad = self._lib.rubberband_get_preferred_start_pad(self._state)
        self._late = self._lib.rubberband_get_start_delay(self._state)
        self._next = round(position) - pad
        self._place = float(position)
        # What was given: (output frames to come of it, source samples per frame).
        self._given: deque[list[float]] = deque()
        self._unheard = float(pad) / tempo

    def set(self, key: float, tempo: float) -> None:
        """See stretch.Engine.set; Rubber Band has ramps of its own."""
        self._key, self._tempo = key, tempo
        self._lib.rubberband_set_pitch_scale(self._state, 2.0 ** (key / 12))
        self._lib.rubberband_set_time_ratio(self._state, 1.0 / tempo)

    def position(self, frames: int) -> float:
        """See stretch.Engine.position."""
        place, rest = self._place, float(frames)
        for count, tempo in self._given:
            part = min(count, rest)
            place, rest = place + part * tempo, rest - part
        return place + rest * self._tempo

    def is_plain(self) -> bool:
        """See stretch.Engine.is_plain."""
        ahead = any(tempo != 1.0 for _, tempo in self._given)
        return self._key == 0.0 and self._tempo == 1.0 and not ahead

    def step(
        self, read: Callable[[int, int], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """See stretch.Engine.step."""
        while self._late:
            self._late -= len(self._take(min(self._late, HOP), read))
        end = self.position(HOP)
        y = self._take(HOP, read)
        self._forget(HOP)
        self._place = end
        return y

    def _take(
        self, n: int, read: Callable[[int, int], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        while self._lib.rubberband_available(self._state) < n:
            self._give(np.ascontiguousarray(read(self._next, BLOCK).T))
        got = self._lib.rubberband_retrieve(self._state, self._pointers(self._y), n)
        y = np.ascontiguousarray(self._y[:, :got].T)
        return np.where(np.isfinite(y), y, np.float32(0))

    def _give(self, x: NDArray[np.float32]) -> None:
        x = np.where(np.isfinite(x), x, np.float32(0))
        self._lib.rubberband_process(self._state, self._pointers(x), BLOCK, 0)
        self._next += BLOCK
        count = BLOCK / self._tempo
        padded = min(count, self._unheard)  # of what lies before the start
        self._unheard -= padded
        self._given.append([count - padded, self._tempo])

    def _forget(self, n: float) -> None:
        while n > 0 and self._given:
            part = min(self._given[0][0], n)
            self._given[0][0] -= part
            n -= part
            if self._given[0][0] <= 0:
                self._given.popleft()

    def _pointers(self, a: NDArray[np.float32]) -> Any:
        rows = [self._ffi.from_buffer("float[]", row) for row in a]
        return self._ffi.new("float *[]", rows)
