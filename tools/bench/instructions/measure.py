"""Do one part of the work once, between two marks: `measure.py PART MODEL RUNTIME`.

PART is analysis, synthesis or network; MODEL a .tflite file.  Prints the seconds of
audio that the part covers.  Run by `table.py` below callgrind or qemu.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgestem.network.geometry import Geometry
from edgestem.network.reading import read_config
from edgestem.network.runtime import open_interpreter
from edgestem.spectrum.spectral import Spectral

N_FRAMES = 64
SPLEETER_HOP = 1024


def marked(work: Callable[[], object]) -> None:
    """Run `work` between two marks, after it has run once."""
    work()
    library = os.environ.get("EDGESTEM_MARKER")
    mark = ctypes.CDLL(library).edgestem_mark if library else os.getppid
    mark()
    work()
    mark()


def kernel(part: str, model: Path) -> float:
    """The fused stages with the model's own sizes, stereo."""
    c = read_config(model)
    geometry = Geometry.of(c, c.sample_rate)
    spectral = Spectral(geometry.tables(c, 2))
    print(spectral.backend, spectral.simd)
    rng = np.random.default_rng(0)
    x = np.float32(rng.normal(0, 0.1, ((N_FRAMES - 1) * c.hop + c.n_fft, 2)))
    features = np.empty((N_FRAMES, c.n_bands, c.n_features), np.int8)
    X = np.empty((N_FRAMES, 2, c.n_fft // 2 + 1), np.complex64)
    mask = rng.integers(-128, 128, (N_FRAMES, c.n_bands, 2)).astype(np.int8)
    y = np.empty((N_FRAMES * c.hop, 2), np.float32)
    memory = spectral.new_memory()
    if part == "analysis":
        marked(lambda: spectral.analyse(x, 1.0, X, features))
    else:
        spectral.analyse(x, 1.0, X, features)
        for _ in range(0, geometry.n_past, N_FRAMES):  # a full past costs most
            spectral.synthesise(mask, X, memory, y)
        marked(lambda: spectral.synthesise(mask, X, memory, y))
    return N_FRAMES * c.hop / c.sample_rate


def network(model: Path, runtime: str) -> float:
    """One call of a network; Spleeter's has no sidecar."""
    interpreter, name = open_interpreter(model, distribution=runtime)
    print(name)
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        shape = detail["shape"]
        x = rng.integers(-128, 128, shape)
        interpreter.set_tensor(detail["index"], x.astype(detail["dtype"]))
    marked(interpreter.invoke)
    if model.with_suffix(".json").exists():
        c = read_config(model)
        return c.group * c.hop / c.sample_rate
    n_frames = int(interpreter.get_input_details()[0]["shape"][1])
    return n_frames * SPLEETER_HOP / 44100


def main() -> None:
    part, model, runtime = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    seconds = network(model, runtime) if part == "network" else kernel(part, model)
    print(f"@seconds {seconds}", flush=True)


if __name__ == "__main__":
    main()
