"""The compiled kernel: its functions, its instruction sets, its refusals.

Only this module imports `_native`; what native/edgestem.h promises is bound here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.errors import NativeError

try:
    from edgestem._native import ffi as ffi
    from edgestem._native import lib as lib
except ImportError:  # not built: see require_built
    ffi = lib = None

ABI = 10  # of native/edgestem.h
SIMD = {"best": -1, "scalar": 0, "sse2": 1, "avx2": 2, "neon": 3}
STATUS = {  # never renamed: NativeError.code
    -1: "es_err_null",
    -2: "es_err_size",
    -3: "es_err_align",
    -4: "es_err_memory",
    -5: "es_err_simd",
    -6: "es_err_bands",
    -7: "es_err_thresholds",
}

if lib is not None and lib.es_abi() != ABI:
    raise NativeError(
        f"the compiled kernel speaks ABI {lib.es_abi()}, this package {ABI}: "
        "reinstall edgestem",
        code="es_err_abi",
    )


def require_built() -> None:
    """Refuse to go on without the kernel where nobody asked for another back end.

    Raises
    ------
    NativeError
        `kernel_missing`.  numpy would take its place at two to four times the cost,
        and nobody would know why.
    """
    if lib is None:
        raise NativeError(
            f"the compiled kernel is not beside {Path(__file__).parent}: "
            "run `pip install -e .` in a checkout, or reinstall edgestem; "
            "fft='numpy' (--fft numpy) does without it, two to four times slower",
            code="kernel_missing",
        )


def simd_name() -> str:
    """Name the best instruction set of the native back end, or "none"."""
    return "none" if lib is None else name_of(lib.es_simd_best())


def simd_levels() -> tuple[str, ...]:
    """Name the instruction sets that this machine and build can use."""
    if lib is None:
        return ()
    return tuple(n for n, v in SIMD.items() if lib.es_simd_runs(v))


def name_of(level: int) -> str:
    """Name an instruction set by its ES_SIMD_* number."""
    return str(ffi.string(lib.es_simd_name(level)).decode())


def level_of(simd: str) -> int:
    """Return the ES_SIMD_* number of an instruction set's name."""
    if simd not in SIMD:
        raise ValueError(f"simd: expected one of {(*SIMD,)}, got {simd!r}")
    return SIMD[simd]


def floats(a: NDArray[Any], is_out: bool = False) -> Any:
    """Point C at a contiguous array of float32 or complex64 (re, im)."""
    return ffi.from_buffer("float[]", a, require_writable=is_out)


def aligned(n_bytes: int) -> NDArray[np.uint8]:
    """Allocate memory that the kernel accepts; 0 bytes, the refusal, too."""
    memory = np.zeros(n_bytes + lib.ES_ALIGN, np.uint8)
    start = -memory.ctypes.data % lib.ES_ALIGN
    return memory[start : start + n_bytes]


def require_ok(status: int) -> None:
    """Turn a refusal of the kernel into an exception; nothing else does."""
    if status:
        text = ffi.string(lib.es_strerror(status)).decode()
        code = STATUS.get(status, "es_err_unknown")
        raise NativeError(f"spectrogram kernel: {text}", code=code, status=status)


def require_array(
    name: str, a: NDArray[Any], dtype: type, shape: tuple[int, ...], out: bool = False
) -> None:
    """Refuse an array that the back ends would misread."""
    if not isinstance(a, np.ndarray) or a.dtype != dtype:
        got = getattr(a, "dtype", type(a).__name__)
        raise TypeError(f"{name}: expected {np.dtype(dtype)} {shape}, got {got}")
    if a.shape != shape:
        raise ValueError(f"{name}: expected {np.dtype(dtype)} {shape}, got {a.shape}")
    if not a.flags.c_contiguous or (out and not a.flags.writeable):
        raise ValueError(f"{name}: expected a writable C-contiguous array")
