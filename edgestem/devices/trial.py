"""The child that tries a delegate: `python -m edgestem.devices.trial JOB`."""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgestem.devices.probe import MARK, Probe, Trial
from edgestem.errors import EdgestemError
from edgestem.network.geometry import Geometry
from edgestem.network.model import Model
from edgestem.network.reading import read_config
from edgestem.network.runtime import n_partitions, named, open_interpreter
from edgestem.network.sidecar import ModelConfig
from edgestem.spectrum.spectral import Spectral

# What TFLite adds to the text of a delegate that refuses a model.
RESTORED = "Restored original execution plan after delegate application failure."
CLIP_FRAMES = 64  # whose masks are compared, 1.5 s; at least two calls


def clip(config: ModelConfig) -> NDArray[Any]:
    """Make a moment of music: (n_calls, frames_per_call, n_bands, n_features).

    Codes, int8, or magnitudes, float32: what the model hears.

    A voice of harmonics with vibrato in the middle, a chord left and right; calls
    overlap by their context, as in a song.
    """
    c = config
    n_calls = max(2, CLIP_FRAMES // c.group)
    n_frames = (n_calls - 1) * c.group + c.frames_per_call
    t = np.arange((n_frames - 1) * c.hop + c.n_fft) / c.sample_rate
    phase = 2 * np.pi * (220 * t + 0.6 * np.sin(2 * np.pi * 5.5 * t))
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    left, right = (
        sum(np.sin(2 * np.pi * f * t) for f in chord)
        for chord in ((130.8, 329.6, 1046.5), (196.0, 392.0, 784.0))
    )
    x = 0.1 * np.stack([voice + left, voice + right], axis=1)
    spectral = Spectral(Geometry.of(c, c.sample_rate).tables(c, 2))
    shape = (n_frames, c.n_bands, c.n_features)
    features: NDArray[Any] = np.empty(shape, np.float32 if c.levels else np.int8)
    spectrum = np.empty((n_frames, 2, c.n_fft // 2 + 1), np.complex64)
    samples = np.ascontiguousarray(x, np.float32)
    spectral.analyse(samples, 1.0, spectrum, None if c.levels else features)
    if c.levels:
        spectral.magnitudes(spectrum, 1.0, features)
    calls = sliding_window_view(features, c.frames_per_call, axis=0)[:: c.group]
    return np.moveaxis(calls, -1, 1)


def run_clip(
    config: ModelConfig, interpreter: Any
) -> tuple[NDArray[np.float32], float]:
    """Return the clip's masks as gains 0..1 and the best time of a call in ms."""
    model = Model(config, [interpreter])
    table, best = config.mask_table(), np.inf
    masks = []
    for features in clip(config):
        model.features()[...] = features
        start = time.perf_counter()
        model.invoke()
        best = min(best, time.perf_counter() - start)
        masks.append(table[model.mask().astype(np.intp) + 128])
    return np.stack(masks), 1000 * best


def _tell(**message: Any) -> None:
    sys.stdout.write(f"{MARK}{json.dumps(message)}\n")
    sys.stdout.flush()


def _try(job: Trial) -> None:
    """Run the clip on the CPU, then on the delegate."""
    config = read_config(Path(job.model))
    _tell(stage="cpu")
    interpreter, name = open_interpreter(config.path, distribution=job.runtime)
    wanted, cpu_ms = run_clip(config, interpreter)
    _tell(stage="load", runtime=named(name))
    interpreter, _ = open_interpreter(
        Path(job.delegate_model),
        distribution=job.runtime,
        library=job.library,
        options=job.options,
    )
    _tell(stage="invoke")
    got, device_ms = run_clip(config, interpreter)
    off = got.astype(np.float64) - wanted
    _tell(stage="close")
    del interpreter
    n = n_partitions(Path(job.delegate_model), job.library, job.options, job.runtime)
    result = Probe(
        max_difference=float(np.abs(off).max()),
        rms_difference=float(np.sqrt(np.mean(off**2))),
        n_partitions=n,
        cpu_ms=cpu_ms,
        device_ms=device_ms,
    )
    _tell(result=asdict(result))


def _cause(error: BaseException) -> str:
    """Return the innermost text on one line; a silent delegate leaves none."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    text = str(error).replace(RESTORED, "")
    return " ".join(text.split())[:300].rstrip(".")


def main(argument: str) -> int:
    """Run a job given as JSON; the body of the child."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is an answer
    try:
        _try(Trial(**json.loads(argument)))
    except (EdgestemError, ValueError, RuntimeError, OSError, AttributeError) as error:
        _tell(error=_cause(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
