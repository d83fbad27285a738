"""GridSamples of a song of unknown length, written anywhere, read anywhere.

Pages of one size, so that nothing is moved while a song grows.  One thread writes a
place before it tells others that it is there; reading takes no lock.  What was never
written is silence, and so is what lies before the song and behind it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgestem.sound.grid import Grid, GridSamples

PAGE = 1 << 16  # samples: 1.4 s at 48 kHz


def narrow_dtype(grid: Grid) -> type:
    """Choose the smallest type of memory that holds a grid."""
    if grid.is_float:
        return grid.dtype
    return np.int16 if grid.bits <= 16 else np.int32


class Pages:
    """GridSamples (n, n_channels) by position.

    Parameters
    ----------
    n_channels : int
    dtype : type
        Of the memory; see `narrow_dtype`.
    """

    def __init__(self, n_channels: int, dtype: type) -> None:
        self._shape, self._dtype = (PAGE, n_channels), dtype
        self._pages: dict[int, Any] = {}

    def write(self, start: int, x: GridSamples) -> None:
        """Put samples at a place; values fit into the type."""
        done = 0
        while done < len(x):
            number, at = divmod(start + done, PAGE)
            page = self._pages.get(number)
            if page is None:
                page = self._pages[number] = np.zeros(self._shape, self._dtype)
            n = min(PAGE - at, len(x) - done)
            page[at : at + n] = x[done : done + n]
            done += n

    def read(self, start: int, n: int) -> GridSamples:
        """Copy samples; silence where nothing is."""
        out: GridSamples = np.zeros((n, self._shape[1]), self._dtype)
        done = 0
        while done < n:
            number, at = divmod(start + done, PAGE)
            m = min(PAGE - at, n - done)
            page = self._pages.get(number)
            if page is not None:
                out[done : done + m] = page[at : at + m]
            done += m
        return out

    def drop(self) -> None:
        """Forget everything."""
        self._pages = {}

    @property
    def n_bytes(self) -> int:
        """Memory of the pages."""
        return sum(page.nbytes for page in list(self._pages.values()))
