"""The C kernel as an engine of `stretch`: plan, scratch and calls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgestem.native import (
    aligned,
    ffi,
    floats,
    level_of,
    lib,
    require_array,
    require_built,
    require_ok,
)


class NativeStretch:
    """es_stretch: one stem at another key and tempo; an engine of `stretch`.

    Parameters
    ----------
    sample_rate : int
        8000 to 192000 Hz.
    n_channels : int
        1 or 2.
    keeps_formants : bool
        The stem is a voice.
    simd : str
        The most that the kernel may use; "best" or a level.

    Raises
    ------
    NativeError
        The kernel is not built, or refuses rate or channels.
    """

    def __init__(
        self,
        sample_rate: int,
        n_channels: int,
        keeps_formants: bool,
        simd: str = "best",
    ) -> None:
        require_built()
        config, plan = ffi.new("es_stretch_config *"), ffi.new("es_stretch **")
        config.sample_rate, config.n_channels = sample_rate, n_channels
        config.keeps_formants, config.simd = keeps_formants, level_of(simd)
        self._memory = aligned(lib.es_stretch_bytes(config))
        memory, n_bytes = ffi.from_buffer(self._memory), self._memory.size
        require_ok(lib.es_stretch_init(memory, n_bytes, config, plan))
        self._plan, self._n_channels = plan[0], n_channels
        self.hop = int(lib.es_stretch_hop(self._plan))

    def reset(self, position: float, key: float, tempo: float) -> None:
        """See stretch.Engine.reset."""
        require_ok(lib.es_stretch_reset(self._plan, position, key, tempo))

    def set(self, key: float, tempo: float) -> None:
        """See stretch.Engine.set."""
        require_ok(lib.es_stretch_set(self._plan, key, tempo))

    def position(self, frames: int) -> float:
        """See stretch.Engine.position."""
        return float(lib.es_stretch_position(self._plan, frames))

    def is_plain(self) -> bool:
        """See stretch.Engine.is_plain."""
        return bool(lib.es_stretch_is_plain(self._plan))

    def step(
        self, read: Callable[[int, int], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """See stretch.Engine.step."""
        start, n = lib.es_stretch_next(self._plan), lib.es_stretch_wants(self._plan)
        x = np.ascontiguousarray(read(int(start), int(n)))
        require_array("source", x, np.float32, (int(n), self._n_channels))
        y = np.empty((self.hop, self._n_channels), np.float32)
        require_ok(lib.es_stretch_step(self._plan, floats(x), n, floats(y, True)))
        return y
