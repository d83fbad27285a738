"""The first levels of a network, computed here in float: int8 cannot hold them.

Music above 4 kHz lies 50 dB under its peak, and sustained tones stand far above all
else: 255 steps do not reach from one to the other, and the sums of the first levels
are where that is lost (models/EXPERIMENTS.md, seventeenth campaign).  So the kernel
computes these levels, in one fixed order, and hands the network codes of what they
are.  `es_levels_codes` in native/edgestem.h is the definition; `ArrayLevels` is its
oracle in numpy, and what `fft="numpy"` takes.  Both give the same
bits.

Shapes: magnitudes (n_frames, n_bands, n_features) float32; codes of level i
(n_frames / 2^(i + 1), n_bands / 2^(i + 1), n_out) int8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgestem import native

TAPS = 5  # of a kernel, each way
PAD = (1, 2)  # rows and columns of zeros before and behind


class Grid(NamedTuple):
    """Codes of numbers: round(number / scale) + zero, within -128 to 127."""

    scale: float
    zero: int


@dataclass(frozen=True, slots=True)
class Level:
    """One level: a 5 x 5 convolution with a step of 2, and the grid of its codes."""

    kernel: NDArray[np.float32]
    """(5, 5, n_in, n_out)."""
    bias: NDArray[np.float32]
    """(n_out,)."""
    grid: Grid
    """Of its codes."""


@dataclass(frozen=True, slots=True)
class Front:
    """The first levels of one front."""

    levels: tuple[Level, ...]
    """1 to 4, from the first one on."""
    slope: float
    """Of the LeakyReLU behind each, 0 to 1."""
    heard: Grid
    """Of the codes of what the last level hands on."""


class Levels(Protocol):
    """What computes the levels of a call."""

    def codes(
        self, magnitudes: NDArray[np.float32], out: list[NDArray[np.int8]]
    ) -> None:
        """Write the codes of each level, then of what the last one hands on.

        Magnitudes are (n_frames, n_bands, n_features) float32, finite.
        """


class Scratch:
    """Memory that all levels of one thread may use in turn."""

    def __init__(self) -> None:
        self.memory: NDArray[np.uint8] = np.empty(0, np.uint8)

    def at_least(self, n_bytes: int) -> NDArray[np.uint8]:
        """Return so much of it, aligned as the kernel wants."""
        if self.memory.size < n_bytes:
            self.memory = native.aligned(n_bytes)
        return self.memory


def make_levels(
    front: Front,
    shape: tuple[int, int, int],
    *,
    scratch: Scratch | None = None,
    backend: str = "auto",
    simd: str = "best",
) -> Levels:
    """Make what computes levels: the kernel, or numpy where that is asked for.

    Parameters
    ----------
    front : Front
        Kernels and grids.
    shape : (n_frames, n_bands, n_features)
        Of a call.
    scratch : Scratch, optional
        Shared with other levels of the same thread; default its own.
    backend : str
        "native", "numpy" or "fftw" (which is numpy here), or "auto".
    simd : str
        The most that the native back end may use; "best" or a level.

    Raises
    ------
    NativeError
        The kernel does not support these sizes.
    """
    if backend == "auto":
        native.require_built()
    if backend in ("auto", "native"):
        return _NativeLevels(front, shape, scratch or Scratch(), native.level_of(simd))
    return ArrayLevels(front)


class ArrayLevels:
    """The levels in numpy: the sums of the definition, one tap after the other."""

    def __init__(self, front: Front) -> None:
        self.front = front

    def codes(
        self, magnitudes: NDArray[np.float32], out: list[NDArray[np.int8]]
    ) -> None:
        """See Levels.codes."""
        h = magnitudes
        *of_levels, heard = out
        for level, codes in zip(self.front.levels, of_levels, strict=True):
            z = _convolve(h, level)
            codes[...] = _codes(z, level.grid)
            h = np.maximum(z, np.float32(self.front.slope) * z)
        heard[...] = _codes(h, self.front.heard)


def _codes(values: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    on_grid = values * (np.float32(1) / np.float32(grid.scale)) + np.float32(grid.zero)
    rounded: NDArray[np.float32] = np.rint(np.clip(on_grid, -128, 127))
    return rounded


def _convolve(h: NDArray[np.float32], level: Level) -> NDArray[np.float32]:
    """Add up (n_rows, n_columns, n_in) in the definition's order, all float32."""
    n_rows, n_columns, n_in = h.shape
    x = np.pad(h, (PAD, PAD, (0, 0)))
    z = np.empty((n_rows // 2, n_columns // 2, len(level.bias)), np.float32)
    z[...] = level.bias
    for i in range(TAPS):
        rows = x[i : i + n_rows - 1 : 2]
        for j in range(TAPS):
            taps = rows[:, j : j + n_columns - 1 : 2]
            for c in range(n_in):
                z += taps[:, :, c, None] * level.kernel[i, j, c]
    return z


class _NativeLevels:
    """es_levels with its plan and its scratch."""

    def __init__(
        self,
        front: Front,
        shape: tuple[int, int, int],
        scratch: Scratch,
        simd: int,
    ) -> None:
        ffi, lib = native.ffi, native.lib
        config, plan = ffi.new("es_levels_config *"), ffi.new("es_levels **")
        config.n_frames, config.n_bands, config.n_features = shape
        config.n_levels, config.slope = len(front.levels), front.slope
        config.heard_scale, config.heard_zero = front.heard
        config.simd = simd
        # The kernel copies the arrays; `front` keeps them alive until then.
        for to, level in zip(config.level, front.levels, strict=False):
            to.n_out, (to.scale, to.zero) = len(level.bias), level.grid
            to.kernel = native.floats(level.kernel)
            to.bias = native.floats(level.bias)
        self._memory = native.aligned(lib.es_levels_bytes(config))
        self._scratch, self._n_work = scratch, lib.es_levels_work_bytes(config)
        memory, n_bytes = ffi.from_buffer(self._memory), self._memory.size
        native.require_ok(lib.es_levels_init(memory, n_bytes, config, plan))
        self._plan = plan[0]
        scratch.at_least(self._n_work)
        self.simd = native.name_of(lib.es_levels_simd(self._plan))
        self._codes = ffi.new("int8_t *[]", len(front.levels) + 1)

    def codes(
        self, magnitudes: NDArray[np.float32], out: list[NDArray[np.int8]]
    ) -> None:
        """See Levels.codes."""
        ffi, lib = native.ffi, native.lib
        kept: list[Any] = []
        for i, codes in enumerate(out):
            kept.append(ffi.from_buffer("int8_t[]", codes, require_writable=True))
            self._codes[i] = kept[-1]
        x = native.floats(magnitudes)
        work = ffi.from_buffer(self._scratch.at_least(self._n_work))
        native.require_ok(lib.es_levels_codes(self._plan, x, self._codes, work))
