"""The C kernel as a back end of `spectral`: plans, scratch and calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.native import aligned, ffi, floats, lib, name_of, require_ok
from edgestem.spectrum.memory import Memory
from edgestem.spectrum.tables import Tables


class NativeTransform:
    """es_fft with its plan and its scratch."""

    def __init__(self, n_fft: int, level: int) -> None:
        plan = ffi.new("es_fft **")
        self._memory = aligned(lib.es_fft_bytes(n_fft, level))
        self._work_memory = aligned(lib.es_fft_work_bytes(n_fft))
        memory, n_bytes = ffi.from_buffer(self._memory), self._memory.size
        require_ok(lib.es_fft_init(memory, n_bytes, n_fft, level, plan))
        self._plan, self._work = plan[0], ffi.from_buffer(self._work_memory)
        self.simd = name_of(lib.es_fft_simd(self._plan))
        self._x = np.empty(n_fft, np.float32)
        self._X = np.empty(n_fft // 2 + 1, np.complex64)
        self._x_out, self._X_out = floats(self._x, True), floats(self._X, True)

    def rfft(self, x: NDArray[Any]) -> NDArray[Any]:
        """See Transform; the result lasts until the next call."""
        require_ok(lib.es_rfft(self._plan, floats(x), self._X_out, self._work))
        return self._X

    def irfft(self, X: NDArray[Any]) -> NDArray[Any]:
        """See Transform; the result lasts until the next call."""
        require_ok(lib.es_irfft(self._plan, floats(X), self._x_out, self._work))
        return self._x


class NativeStages:
    """es_spectral with its plan and its scratch."""

    def __init__(self, tables: Tables, level: int) -> None:
        t, plan, config = tables, ffi.new("es_spectral **"), ffi.new("es_config *")
        for name in ("n_fft", "hop", "n_synthesis", "n_channels", "n_features"):
            setattr(config, name, getattr(t, name))
        config.n_bands, config.top_bands, config.simd = t.n_bands, t.top_bands, level
        config.decay, config.n_past = t.decay, t.n_past
        # The kernel copies the tables; `tables` keeps them alive until then.
        config.analysis_window = floats(t.analysis_window)
        config.synthesis_window = floats(t.synthesis_window)
        config.band_edges = ffi.cast("int32_t *", ffi.from_buffer(t.band_edges))
        config.thresholds = floats(t.thresholds)
        config.mask_table = floats(t.mask_table)
        self._memory = aligned(lib.es_spectral_bytes(config))
        self._work_memory = aligned(lib.es_spectral_work_bytes(config))
        memory, n_bytes = ffi.from_buffer(self._memory), self._memory.size
        require_ok(lib.es_spectral_init(memory, n_bytes, config, plan))
        self._plan, self._work = plan[0], ffi.from_buffer(self._work_memory)
        self.simd = name_of(lib.es_spectral_simd(self._plan))

    def analyse(
        self,
        x: NDArray[np.float32],
        gain: float,
        X: NDArray[np.complex64],
        features: NDArray[np.int8] | None,
    ) -> None:
        """See Spectral.analyse."""
        n, plan, work = len(X), self._plan, self._work
        codes = ffi.NULL
        if features is not None:
            codes = ffi.from_buffer("int8_t[]", features, require_writable=True)
        require_ok(
            lib.es_analyse(plan, floats(x), n, gain, floats(X, True), codes, work)
        )

    def features(
        self, X: NDArray[np.complex64], gain: float, features: NDArray[np.int8]
    ) -> None:
        """See Spectral.features."""
        codes = ffi.from_buffer("int8_t[]", features, require_writable=True)
        require_ok(
            lib.es_features(self._plan, floats(X), len(X), gain, codes, self._work)
        )

    def magnitudes(
        self, X: NDArray[np.complex64], gain: float, magnitudes: NDArray[np.float32]
    ) -> None:
        """See Spectral.magnitudes."""
        n, plan, out = len(X), self._plan, floats(magnitudes, True)
        require_ok(lib.es_magnitudes(plan, floats(X), n, gain, out, self._work))

    def hold(self, memory: Memory) -> Any:
        """Point C at the arrays of a memory, once for all calls."""
        held = [None if part is None else floats(part, True) for part in memory.parts()]
        struct = ffi.new("es_memory *", [ffi.NULL if p is None else p for p in held])
        return struct, held  # which keep the arrays alive

    def synthesise(
        self,
        mask: NDArray[np.int8],
        X: NDArray[np.complex64],
        held: Any,
        y: NDArray[np.float32],
    ) -> None:
        """See Spectral.synthesise."""
        codes, out = ffi.from_buffer("int8_t[]", mask), floats(y, True)
        n, memory = len(X), held[0]
        require_ok(
            lib.es_synthesise(self._plan, codes, floats(X), n, memory, out, self._work)
        )

    def energy(self, x: NDArray[np.float32]) -> float:
        """See Spectral.energy."""
        return float(lib.es_energy(floats(x), x.size))
