"""Write the small int8 nets of the tests.

    python -m tools.export.test_models tests/data

`tiny` is a block net with context, `twice` the same with two views and a past, `slide`
one whose window slides by a frame and that gives the last frame's mask alone, as the
stage model has it.  `front` leaves its first two levels to the engine, and `pair` is
it with a second net, `rest`, that masks the accompaniment.  `stateful` is a causal
U-net with state tensors and lookahead, written for 1, 2, 8 and 64 frames a call from
one set of scales.  `short` is the latter without lookahead and with a short synthesis
window, as the live model has it.
Their weights are random (seeded): the tests hold laws with them, not quality.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

from tools.export.tflite_writer import RELU, Graph, Quant, Tensor

INPUT = Quant(0.05, -128)
HIDDEN = Quant(0.05, -128)
LOGITS = Quant(0.1, 0)
BANDS = ((32, 1), (16, 3), (16, 27))  # 64 bands over 512 of 513 bins


def kernel(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(0, 1.4 / np.sqrt(np.prod(shape[1:])), shape)


def write_block(path: Path, n_frames: int, is_sliding: bool) -> None:
    rng = np.random.default_rng(1)
    g = Graph("edgestem test block net")
    x = g.input("features", (1, n_frames, 64, 2), INPUT)
    h = g.conv("a", x, kernel(rng, 8, 3, 3, 2), np.zeros(8), HIDDEN, fused=RELU)
    w = 3 * kernel(rng, 2, 3, 3, 8)
    h = g.conv("b", h, w, np.float64([-0.4, 0.4]), LOGITS)
    if is_sliding:
        h = g.rows("last", h, n_frames - 1, n_frames)
    g.output(g.logistic("mask", h))
    g.write(path)


def write_tiny(path: Path) -> dict:
    write_block(path, 8, is_sliding=False)
    return {"frames_per_call": 8, "left_context": 1, "right_context": 2}


def write_twice(path: Path) -> dict:
    context = {"left_context": 1, "right_context": 1}
    return write_tiny(path) | context | {"views": 2, "past_s": 0.4}


def write_slide(path: Path) -> dict:
    write_block(path, 4, is_sliding=True)
    return {"frames_per_call": 4, "left_context": 3, "synthesis_length": 512}


def write_front(path: Path, seed: int = 3) -> dict:
    """Levels of 16 channels in float, then one convolution of each in int8."""
    rng, levels = np.random.default_rng(seed), (2, 16, 16)
    g = Graph("edgestem test net with levels in float")
    shapes = [(1, 4, 32, 16), (1, 2, 16, 16)]
    z = [g.input(f"z{i}", s, Quant(0.05, 0)) for i, s in enumerate(shapes)]
    r = g.input("r1", shapes[1], Quant(0.02, -100))
    b = g.conv("b", r, kernel(rng, 8, 3, 3, 16), np.zeros(8), HIDDEN, fused=RELU)
    c = g.conv("c", z[1], kernel(rng, 8, 3, 3, 16), np.zeros(8), HIDDEN, fused=RELU)
    a = g.conv("a", z[0], kernel(rng, 8, 3, 3, 16), np.zeros(8), HIDDEN, fused=RELU)
    up = g.resize_nearest("up", g.concat("bc", [b, c]), 2, 2)
    up = g.resize_nearest("again", g.concat("abc", [a, up]), 2, 2)
    g.output(
        g.logistic(
            "mask", g.conv("d", up, kernel(rng, 2, 3, 3, 24), np.zeros(2), LOGITS)
        )
    )
    for i in range(2):
        w = kernel(rng, levels[i + 1], 5, 5, levels[i]).transpose(1, 2, 3, 0)
        g.constant(f"level{i}/w", np.float16(w))
        g.constant(f"level{i}/b", np.float32(rng.normal(0, 0.1, levels[i + 1])))
    g.write(path)
    return {
        "frames_per_call": 8,
        "left_context": 1,
        "right_context": 1,
        "levels": 2,
        "slope": 0.2,
        "compression_power": 1.0,
        "feature_scale": 1.0,
    }


def write_pair(path: Path) -> None:
    """A sidecar of its own beside two files."""
    rest = path.with_name("rest.tflite")
    write_front(rest, seed=4)
    about = {"name": path.stem, "file": "front.tflite", "rest_file": rest.name}
    about["rest_sha256"] = hashlib.sha256(rest.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")


class Stateful:
    """Causal layers: time is padded with a state, frequency with zeros."""

    def __init__(self, n_frames: int) -> None:
        self.rng = np.random.default_rng(2)
        self.n_frames = n_frames
        self.graph = Graph(f"edgestem test stateful net, {n_frames} frames a call")
        self.states: list[tuple[str, str]] = []
        self.new_states: list[Tensor] = []

    def conv(
        self, name: str, x: Tensor, n_out: int, stride: int = 1, quant: Quant = HIDDEN
    ) -> Tensor:
        """3x3, `stride` in frequency; the last two input frames are its state."""
        g, n = self.graph, self.n_frames
        shape = (1, 2, *x.shape[2:])
        old = g.input(f"{name}_in", shape, x.quant)
        joined = g.concat(f"{name}/joined", [old, x], axis=1)
        # A slice of the joined tensor has its scale: nothing drifts.
        self.new_states.append(g.slice(f"{name}_out", joined, (0, n, 0, 0), shape))
        self.states.append((f"{name}_in", f"{name}_out"))
        behind = 1 if stride == 1 else 0
        padded = g.pad(f"{name}/padded", joined, ((0, 0), (0, 0), (1, behind), (0, 0)))
        w = kernel(self.rng, n_out, 3, 3, x.shape[3])
        fused = RELU if quant == HIDDEN else 0
        return g.conv(
            name,
            padded,
            w,
            np.zeros(n_out),
            quant,
            stride=(1, stride),
            padding="VALID",
            fused=fused,
        )

    def write(self, path: Path, about: dict | None = None) -> dict:
        g = self.graph
        x = g.input("features", (1, self.n_frames, 64, 3), INPUT)
        a = self.conv("a", x, 8)
        b = self.conv("b", a, 12, stride=2)
        c = self.conv("c", b, 12)
        up = g.resize_nearest("up", c, 1, 2)
        d = self.conv("d", g.concat("skip", [a, up]), 2, quant=LOGITS)
        g.output(g.logistic("mask", d))
        for state in self.new_states:
            g.output(state)
        g.write(path)
        return {
            "frames_per_call": self.n_frames,
            "lookahead_frames": 2,
            "n_features": 3,
            "target_rms_db": None,
            "states": self.states,
        } | (about or {})


def sidecar(path: Path, about: dict) -> None:
    data = {
        "name": path.stem,
        "sample_rate": 44100,
        "n_fft": 1024,
        "hop": 256,
        "bands": BANDS,
        "n_features": 2,
        "left_context": 0,
        "right_context": 0,
        "lookahead_frames": 0,
        "states": [],
        "compression_power": 0.4,
        "compression_offset": 1e-3,
        "compression_pivot": 3.0,
        "feature_scale": INPUT.scale,
        "feature_zero_point": INPUT.zero_point,
        "mask_scale": 1 / 256,
        "mask_zero_point": -128,
        "top_bands": 4,
        "target_rms_db": -18.0,
        "max_gain_db": 36.0,
        "gain_step_db": 1.5,
        "licence": "MIT",
        "attribution": "random weights, for tests only",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(data | about, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    sidecar(folder / "tiny.tflite", write_tiny(folder / "tiny.tflite"))
    sidecar(folder / "twice.tflite", write_twice(folder / "twice.tflite"))
    sidecar(folder / "slide.tflite", write_slide(folder / "slide.tflite"))
    sidecar(folder / "front.tflite", write_front(folder / "front.tflite"))
    write_pair(folder / "pair.tflite")
    for n_frames in (1, 2, 8, 64):
        path = folder / f"stateful{n_frames}.tflite"
        sidecar(path, Stateful(n_frames).write(path))
    short = {"lookahead_frames": 0, "synthesis_length": 512}
    for n_frames in (1, 8):
        path = folder / f"short{n_frames}.tflite"
        sidecar(path, Stateful(n_frames).write(path, short))


if __name__ == "__main__":
    main()
