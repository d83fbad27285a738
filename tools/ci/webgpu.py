"""Run a model on LiteRT's WebGPU accelerator and compare it with the CPU.

    python -m tools.ci.webgpu MODEL.tflite [--mixed]

The accelerator comes in the wheel of ai-edge-litert and takes any Vulkan driver, also
a software one (Debian 13: mesa-vulkan-drivers; Debian 12's is too old).  It is no
external delegate: the engine does not use it, this only says what it would be like.
--mixed lets the CPU run what the accelerator cannot.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from numpy.typing import NDArray

from edgestem.devices.trial import clip
from edgestem.network.reading import read_config
from edgestem.network.runtime import open_interpreter
from edgestem.network.sidecar import ModelConfig

N_RUNS = 3
Codes = NDArray[np.int8]


def on_cpu(config: ModelConfig) -> Callable[[Codes], Codes]:
    interpreter, _ = open_interpreter(config.path, distribution="ai-edge-litert")
    (feature,) = interpreter.get_input_details()
    (mask,) = interpreter.get_output_details()

    def run(features: Codes) -> Codes:
        interpreter.set_tensor(feature["index"], features.reshape(feature["shape"]))
        interpreter.invoke()
        return interpreter.get_tensor(mask["index"]).ravel()

    return run


def on_accelerator(config: ModelConfig, is_mixed: bool) -> Callable[[Codes], Codes]:
    where = HardwareAccelerator.GPU
    if is_mixed:
        where |= HardwareAccelerator.CPU
    model = CompiledModel.from_file(str(config.path), hardware_accel=where)
    print("all of it on the accelerator:", model.is_fully_accelerated())
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)

    def run(features: Codes) -> Codes:
        inputs[0].write(features.ravel())
        model.run_by_index(0, inputs, outputs)
        n_codes = config.frames_per_call * config.n_bands * 2
        return outputs[0].read(n_codes, np.int8)

    return run


def timed(run: Callable[[Codes], Codes], features: Codes) -> tuple[Codes, float]:
    """The mask, and the best time of a few runs after a first one, ms."""
    run(features)
    best = np.inf
    for _ in range(N_RUNS):
        start = time.perf_counter()
        found = run(features)
        best = min(best, time.perf_counter() - start)
    return found, 1000 * best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--mixed", action="store_true", help="with the CPU's help")
    args = parser.parse_args()
    config = read_config(args.model)
    if config.states:
        parser.error(f"{args.model} keeps states between calls: not tried here")
    features = np.ascontiguousarray(clip(config)[0])
    wanted, cpu_ms = timed(on_cpu(config), features)
    got, ms = timed(on_accelerator(config, args.mixed), features)
    table = config.mask_table()
    off = table[got + np.intp(128)] - table[wanted + np.intp(128)]
    print(
        f"mask off the CPU's by up to {np.abs(off).max():.3f}, "
        f"RMS {np.sqrt(np.mean(off**2)):.4f}; {ms / cpu_ms:.1f} times the CPU's time"
    )


if __name__ == "__main__":
    main()
