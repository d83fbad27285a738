"""Sample formats, and the mixture law on each of them.

The *grid* of a file is the set of values its samples can take: n-bit integers or
floats.  The vocals are rounded to the grid first and the instrumental is the
mixture minus the vocals on that grid, so integer stems add up to the mixture
without any error, and float stems to one rounding.

Shapes: (n_samples, n_channels); values of an integer grid are int32, those of 32 bits
int64, so that sums of two fit; full scale is 2^(bits - 1).  Values of a float grid
have full scale 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.sound.formats import SAMPLES

GridSamples = NDArray[Any]
_HUGE = 2.0**30  # int32 holds the difference to any sample of 24 bits


@dataclass(frozen=True, slots=True)
class Grid:
    """One sample format."""

    name: str
    """What `--subtype` calls it."""
    bits: int
    """Size of one sample in a file."""
    dtype: type
    """Of the samples in memory."""

    @property
    def is_float(self) -> bool:
        """Floats have no steps of one size and no range to leave."""
        return issubclass(self.dtype, np.floating)

    @property
    def full_scale(self) -> float:
        """Grid value of a sample at 1.0."""
        return 1.0 if self.is_float else 2.0 ** (self.bits - 1)

    @property
    def lowest(self) -> int:
        """Least integer of the grid."""
        return -(1 << (self.bits - 1))

    @property
    def highest(self) -> int:
        """Greatest integer of the grid."""
        return (1 << (self.bits - 1)) - 1


GRIDS = {
    name: Grid(name, bits, np.dtype(dtype).type)
    for name, (bits, dtype) in SAMPLES.items()
}


def convert(x: GridSamples, source: Grid, target: Grid) -> tuple[GridSamples, int]:
    """Put samples on another grid: round, and clip what leaves its range.

    Returns
    -------
    samples : like `x`, on the target grid
    n_clipped : values that were clipped
    """
    if source == target:
        return x, 0
    scaled = x.astype(np.float64) * (target.full_scale / source.full_scale)
    if target.is_float:
        return scaled.astype(target.dtype), 0
    return _fit(scaled, target.lowest, target.highest, target)


def to_float32(x: GridSamples, grid: Grid) -> NDArray[np.float32]:
    """Scale to +-1 for the engine: exact up to 24 bits."""
    if grid.is_float:
        return np.ascontiguousarray(x, np.float32)
    if grid.bits <= 24:  # a float32 has 24 bits: nothing is rounded
        return x.astype(np.float32) * np.float32(1 / grid.full_scale)
    return (x / grid.full_scale).astype(np.float32)


def split(
    mixture: GridSamples, vocals: NDArray[np.float32], grid: Grid
) -> tuple[GridSamples, GridSamples, int]:
    """Put the vocals on the grid and subtract them from the mixture.

    Where the instrumental would leave the grid's range, the vocals give way:
    both stems fit and still add up.  That is always possible, as 0 would do.

    Parameters
    ----------
    mixture : shape (n_samples, n_channels), on the grid
    vocals : like `mixture`, full scale 1

    Returns
    -------
    vocals, instrumental : like `mixture`; their sum is `mixture`
    n_adjusted : values whose vocals gave way
    """
    if grid.is_float:
        on_grid: GridSamples = vocals.astype(grid.dtype)
        return on_grid, mixture - on_grid, 0
    short = _split_short(mixture, vocals, grid) if grid.bits <= 24 else None
    return short or _split_long(mixture, vocals, grid)


def _split_long(
    mixture: GridSamples, vocals: NDArray[np.float32], grid: Grid
) -> tuple[GridSamples, GridSamples, int]:
    """Split on an integer grid; arrays of any shape."""
    lowest = np.maximum(grid.lowest, mixture - grid.highest)
    highest = np.minimum(grid.highest, mixture - grid.lowest)
    scaled = vocals.astype(np.float64) * grid.full_scale
    fitted, n_adjusted = _fit(scaled, lowest, highest, grid)
    return fitted, mixture - fitted, n_adjusted


def _split_short(
    mixture: GridSamples, vocals: NDArray[np.float32], grid: Grid
) -> tuple[GridSamples, GridSamples, int] | None:
    """Go the long way only with the few values that leave the range.

    Up to 24 bits: scaling by a power of two and rounding are exact in float32 there,
    so the values are those of the long way.  None: vocals are beyond all measure.
    """
    scaled = vocals * np.float32(grid.full_scale)
    np.rint(scaled, out=scaled)
    if scaled.size and not (scaled.min() > -_HUGE and scaled.max() < _HUGE):
        return None
    on_grid: GridSamples = scaled.astype(grid.dtype)
    instrumental = mixture - on_grid
    if _is_inside(on_grid, grid) and _is_inside(instrumental, grid):
        return on_grid, instrumental, 0
    outside = _outside(on_grid, grid) | _outside(instrumental, grid)
    some = _split_long(mixture[outside], vocals[outside], grid)
    on_grid[outside], instrumental[outside], n_adjusted = some
    return on_grid, instrumental, n_adjusted


def _outside(x: GridSamples, grid: Grid) -> NDArray[np.bool_]:
    return (x < grid.lowest) | (x > grid.highest)


def _is_inside(x: GridSamples, grid: Grid) -> bool:
    """Say whether all values are in a grid's range."""
    return x.size == 0 or bool(x.min() >= grid.lowest and x.max() <= grid.highest)


def mix(
    vocals: GridSamples, instrumental: GridSamples, gain: float, grid: Grid
) -> tuple[GridSamples, int]:
    """Add the vocals at a level to the instrumental.

    Returns
    -------
    karaoke : like the stems; a gain of 1 gives the mixture
    n_clipped : values that left the grid's range
    """
    if grid.is_float:
        return instrumental + vocals * grid.dtype(gain), 0
    return _fit(instrumental + vocals * gain, grid.lowest, grid.highest, grid)


def _fit(
    x: GridSamples, lowest: Any, highest: Any, grid: Grid
) -> tuple[GridSamples, int]:
    """Round to integers within bounds and count those that were outside."""
    rounded = np.rint(x)
    fitted = np.clip(rounded, lowest, highest)
    return fitted.astype(grid.dtype), int(np.count_nonzero(fitted != rounded))
