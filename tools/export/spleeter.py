"""Write Spleeter's vocals net as .tflite: `python -m tools.export.spleeter NPZ DIR`.

The peer for speed (`spleeter_float.tflite`) and for the linter
(`spleeter_int8.tflite`: plain post-training int8, as a converter would make it).
NPZ is what `tools.teach.spleeter` writes.  Batch norm stays as MUL and ADD, because the
skips are taken before it.  Calibration uses a synthetic clip unless --song is given:
good enough for work and structure; the int8 stems' quality is not measured with it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tools.export.tflite_writer import Graph, Quant, Tensor, quant_for
from tools.teach.spleeter import BN_EPSILON, HOP, N_BINS, N_FFT, N_LEVELS

SLOPE = 0.2  # LeakyReLU
N_FRAMES = 512  # 11.9 s, Spleeter's own


class Net:
    """One net; float while `ranges` is empty, int8 with the ranges of its tensors."""

    def __init__(
        self, weights: dict, n_frames: int, ranges: dict, stem: str = "vocals"
    ) -> None:
        self.weights, self.ranges, self.n_frames = weights, ranges, n_frames
        self.stem = stem
        kind = "int8" if ranges else "float"
        self.graph = Graph(f"Spleeter 2stems {stem}, {kind}; MIT, Deezer SA")

    def quant(self, *names: str) -> Quant | None:
        """One Quant for all these tensors; concat wants the same for its parts."""
        if not self.ranges:
            return None
        lows, highs = zip(*(self.ranges[n] for n in names), strict=True)
        return quant_for(min(lows), max(highs))

    def norm(self, name: str, x: Tensor, quant: Quant | None) -> Tensor:
        """Batch norm as a multiplication and an addition."""
        g, b, m, v = (
            self.weights[f"{self.stem}/{name}/{leaf}"]
            for leaf in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = g / np.sqrt(v + BN_EPSILON)
        x = self.graph.multiply(
            f"{name}/scaled", x, self.row(f"{name}/scale", scale),
            self.quant(f"{name}/scaled"),
        )  # fmt: skip
        shift = self.row(f"{name}/shift", b - scale * m)
        return self.graph.add(f"{name}/normed", x, shift, quant)

    def row(self, name: str, values: np.ndarray) -> int:
        """A constant per channel."""
        if not self.ranges:
            return self.graph.constant(name, np.float32(values))
        scale = max(float(np.abs(values).max()), 1e-6) / 127
        codes = np.clip(np.round(values / scale), -127, 127).astype(np.int8)
        return self.graph.constant(name, codes, scale)

    def kernel(self, name: str, order: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        w, b = (
            self.weights[f"{self.stem}/{name}/{leaf}"] for leaf in ("kernel", "bias")
        )
        return np.ascontiguousarray(w.transpose(order)), b

    def encode(self, h: Tensor) -> list[Tensor]:
        """Return the raw output of each level; they are the skips."""
        skips = []
        for i in range(1, N_LEVELS + 1):
            name = f"enc{i}"
            # Beside decoder 6 - i + 1 in a concat: the two share one scale.
            partner = f"dec{N_LEVELS - i}/normed"
            names = (name, partner) if i < N_LEVELS else (name,)
            w, b = self.kernel(name, (3, 0, 1, 2))
            h = self.graph.conv(name, h, w, b, self.quant(*names), stride=2)
            skips.append(h)
            if i < N_LEVELS:
                h = self.norm(name, h, self.quant(f"{name}/normed"))
                h = self.graph.leaky_relu(
                    f"{name}/leaky", h, SLOPE, self.quant(f"{name}/leaky")
                )
        return skips

    def decode(self, skips: list[Tensor]) -> Tensor:
        h = skips.pop()
        for i in range(1, N_LEVELS + 1):
            name = f"dec{i}"
            w, b = self.kernel(name, (2, 0, 1, 3))
            h = self.graph.transpose_conv(name, h, w, b, self.quant(name))
            h = self.graph.relu(f"{name}/relu", h, self.quant(f"{name}/relu"))
            names = [f"{name}/normed"]
            if skips:
                names.append(f"enc{N_LEVELS - i}")
            h = self.norm(name, h, self.quant(*names))
            if skips:
                h = self.graph.concat(f"{name}/joined", [skips.pop(), h])
        return h

    def write(self, path: Path) -> None:
        g = self.graph
        x = g.input("features", (1, self.n_frames, N_BINS, 2), self.quant("features"))
        h = self.decode(self.encode(x))
        w, b = self.kernel("mask", (3, 0, 1, 2))
        h = g.conv("logits", h, w, b, self.quant("logits"), dilation=2)
        h = g.logistic("mask", h)
        g.output(g.multiply("stem", h, x.index, self.quant("features")))
        g.write(path)


def magnitudes(song: Path | None, n_frames: int) -> np.ndarray:
    """Spleeter's features of a moment of music, (1, n_frames, N_BINS, 2) float32."""
    n = (n_frames - 1) * HOP + N_FFT
    if song is not None:
        import soundfile

        x = soundfile.read(song, frames=n, always_2d=True, dtype="float32")[0]
        x = np.pad(x[:, [0, -1]], ((0, n - len(x)), (0, 0)))
    else:
        rng = np.random.default_rng(0)
        t = np.arange(n)[:, None] / 44100
        tones = sum(np.sin(2 * np.pi * 110 * k * t) / k for k in range(1, 30))
        x = 0.1 * tones * (1 + np.sin(2 * np.pi * 2 * t)) + rng.normal(0, 0.02, (n, 2))
    frames = np.lib.stride_tricks.sliding_window_view(x, N_FFT, axis=0)[::HOP]
    window = np.hanning(N_FFT + 1)[:-1]
    spectrum = np.abs(np.fft.rfft(frames * window))[..., :N_BINS]
    return np.float32(spectrum.transpose(0, 2, 1)[None])


def measure_ranges(
    path: Path, patches: list[np.ndarray]
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of every tensor over all these inputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    ranges: dict[str, tuple[float, float]] = {}
    for x in patches:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        for detail in interpreter.get_tensor_details():
            name = detail["name"]
            if detail["dtype"] == np.float32 and name:
                value = interpreter.get_tensor(detail["index"])
                low, high = ranges.get(name, (np.inf, -np.inf))
                ranges[name] = min(low, value.min()), max(high, value.max())
    return {k: (float(low), float(high)) for k, (low, high) in ranges.items()}


def write_pair(
    weights: dict, folder: Path, patches: list[np.ndarray]
) -> tuple[Path, Path]:
    """Both nets in int8, calibrated on these features: (vocals, accompaniment)."""
    paths = []
    for stem in ("vocals", "accompaniment"):
        plain = folder / f"{stem}_float.tflite"
        Net(weights, N_FRAMES, {}, stem).write(plain)
        ranges = measure_ranges(plain, patches)
        paths.append(folder / f"{stem}_int8.tflite")
        Net(weights, N_FRAMES, ranges, stem).write(paths[-1])
    return paths[0], paths[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("npz", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=N_FRAMES)
    parser.add_argument("--song", type=Path, help="calibrate with this song's start")
    args = parser.parse_args()
    weights = dict(np.load(args.npz))
    args.folder.mkdir(parents=True, exist_ok=True)
    path = args.folder / "spleeter_float.tflite"
    Net(weights, args.frames, {}).write(path)
    ranges = measure_ranges(path, [magnitudes(args.song, args.frames)])
    Net(weights, args.frames, ranges).write(args.folder / "spleeter_int8.tflite")
    for file in sorted(args.folder.glob("spleeter_*.tflite")):
        print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
