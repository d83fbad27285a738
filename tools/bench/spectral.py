"""Fused analysis and synthesis against bare FFTW, pyfftw + numpy and scipy.

    python -m tools.bench.spectral [--json] [--check] [--instructions]

One run, all contestants in one loop, medians of the ratios of each round: the
machine may be busy, the ratios hold.  A frame is `n_channels` transforms.

bare FFTW      pyfftw, single precision, planned with MEASURE, only the
               transforms, whichever is faster: one frame again and again in
               cache, or all frames of a call
pyfftw+numpy   the same FFTW plan and every other stage in numpy, in blocks of
               1, 8 or 64 frames, whichever is faster
scipy          the same with scipy.fft
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyfftw
import scipy
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgestem import native
from edgestem.spectrum.spectral import Spectral
from edgestem.spectrum.tables import Tables
from edgestem.spectrum.windows import hann_pair

ROOT = Path(__file__).parent.parent.parent
N_FRAMES = 64  # of a call: the karaoke model's block
EXPONENT, CODE_SCALE = 0.2, 40.0  # code = |X|^0.4 * 40 - 128
GOALS = {  # ratio of medians: name -> (contestant, least ratio)
    "whole analysis no slower than bare FFTW": ("analysis", "bare FFTW", 1.0),
    "analysis 3 times faster than pyfftw+numpy": ("analysis", "pyfftw+numpy", 3.0),
    "synthesis 3 times faster than pyfftw+numpy": ("synthesis", "pyfftw+numpy", 3.0),
}
Run = Callable[[], Any]


class Shape:
    """One model's shape, with data."""

    def __init__(self, n_fft: int, bands: str) -> None:
        self.n_fft, self.hop, self.n_channels = n_fft, n_fft // 4, 2
        self.n_bins = n_fft // 2 + 1
        if bands == "single":
            self.edges, self.n_features = np.arange(n_fft // 4 + 1), 2
        else:
            self.edges, self.n_features = widening(192, self.n_bins, 192), 3
        self.n_bands = len(self.edges) - 1
        self.analysis, self.synthesis = hann_pair(n_fft, self.hop)
        rng = np.random.default_rng(0)
        n = (N_FRAMES - 1) * self.hop + n_fft
        self.x = rng.standard_normal((n, 2)).astype(np.float32) * np.float32(0.1)
        shape = (N_FRAMES, self.n_bands, 2)
        self.mask = rng.integers(-128, 128, shape).astype(np.int8)
        self.mask_table = (np.arange(256) / 255).astype(np.float32)
        self.thresholds = ((np.arange(255) + 0.5) / CODE_SCALE) ** (1 / EXPONENT)
        self.X = np.zeros((N_FRAMES, 2, self.n_bins), np.complex64)
        shape = (N_FRAMES, self.n_bands, self.n_features)
        self.features = np.zeros(shape, np.int8)
        self.y = np.zeros((N_FRAMES * self.hop, 2), np.float32)
        self.tail = np.zeros((n_fft - self.hop, 2), np.float32)

    def native(self, simd: str) -> Spectral:
        tables = Tables(
            n_fft=self.n_fft,
            hop=self.hop,
            n_channels=2,
            analysis_window=self.analysis,
            synthesis_window=self.synthesis,
            band_edges=self.edges,
            n_features=self.n_features,
            thresholds=self.thresholds,
            mask_table=self.mask_table,
            top_bands=64,
        )
        return Spectral(tables, backend="native", simd=simd)


def widening(n_single: int, n_bins: int, n_wide: int) -> NDArray[np.int64]:
    """n_single single bins, then n_wide bands that grow up to n_bins."""
    edges = list(range(n_single + 1))
    for target in np.geomspace(n_single, n_bins, n_wide + 1)[1:]:
        edges.append(max(int(target), edges[-1] + 1))
    edges[-1] = max(n_bins, edges[-1])
    return np.array(edges)


class ArrayContestant:
    """All stages in numpy, everything preallocated, `size` frames at a time."""

    def __init__(self, s: Shape, size: int, transform: str) -> None:
        self.s, self.size, self.transform = s, size, transform
        n = (size, s.n_channels)
        self.frames = pyfftw.zeros_aligned((*n, s.n_fft), "float32")
        self.X = pyfftw.zeros_aligned((*n, s.n_bins), "complex64")
        self.masked = pyfftw.zeros_aligned((*n, s.n_bins), "complex64")
        options = {"axes": (2,), "flags": ("FFTW_MEASURE",)}
        self.forward = pyfftw.FFTW(self.frames, self.X, **options)
        options["direction"] = "FFTW_BACKWARD"
        self.backward = pyfftw.FFTW(self.masked, self.frames, **options)
        self.stop = int(s.edges[-1])
        self.is_single = self.stop == s.n_bands
        self.width = np.diff(s.edges).astype(np.float32)
        bins = np.searchsorted(s.edges, np.arange(s.n_bins), side="right") - 1
        self.band_of_bin = bins
        self.tail = np.zeros((s.n_channels, s.n_fft), np.float32)

    def analyse(self) -> None:
        s, size = self.s, self.size
        windows = sliding_window_view(s.x, s.n_fft, axis=0)[:: s.hop]
        for k in range(0, N_FRAMES, size):
            np.multiply(windows[k : k + size], s.analysis, out=self.frames)
            if self.transform == "scipy":
                self.X = scipy.fft.rfft(self.frames, workers=1)
            else:
                self.forward.execute()
            for f in range(s.n_features):
                X = self.X[:, f] if f < 2 else self.X[:, 0] - self.X[:, 1]
                s.features[k : k + size, :, f] = self.codes(X[:, : self.stop])

    def codes(self, X: NDArray[np.complex64]) -> NDArray[np.float32]:
        """Codes, as float, of one feature (size, n_bins)."""
        power = X.real**2
        power += X.imag**2
        if not self.is_single:
            power = np.add.reduceat(power, self.s.edges[:-1], axis=1)
            power /= self.width
        np.power(power, np.float32(EXPONENT), out=power)
        power *= np.float32(CODE_SCALE)
        power -= np.float32(128)
        np.rint(power, out=power)
        return np.clip(power, -128, 127, out=power)

    def synthesise(self) -> None:
        s, size = self.s, self.size
        for k in range(0, N_FRAMES, size):
            gains = np.zeros((size, s.n_bands + 1, 2), np.float32)
            codes = s.mask[k : k + size].view(np.uint8) ^ np.uint8(128)
            np.take(s.mask_table, codes, out=gains[:, :-1])
            gains[:, -1] = gains[:, -65:-1].mean(axis=1)
            expanded = gains.transpose(0, 2, 1)[:, :, self.band_of_bin]
            np.multiply(expanded, s.X[k : k + size], out=self.masked)
            if self.transform == "scipy":
                frames = scipy.fft.irfft(self.masked, s.n_fft, workers=1)
            else:
                self.backward.execute()
                frames = self.frames
                frames *= np.float32(1 / s.n_fft)
            frames *= s.synthesis
            for i in range(size):
                at = (k + i) * s.hop
                self.tail += frames[i]
                s.y[at : at + s.hop] = self.tail[:, : s.hop].T
                self.tail[:, : -s.hop] = self.tail[:, s.hop :]
                self.tail[:, -s.hop :] = 0


def bare_fftw(s: Shape, direction: str) -> list[Run]:
    """FFTW alone: (one frame, repeated), (all frames of a call)."""
    runs: list[Run] = []
    for size in (1, N_FRAMES):
        x = pyfftw.zeros_aligned((size, 2, s.n_fft), "float32")
        X = pyfftw.zeros_aligned((size, 2, s.n_bins), "complex64")
        options = {"axes": (2,), "flags": ("FFTW_MEASURE",)}
        if direction == "analysis":
            plan = pyfftw.FFTW(x, X, **options)
        else:
            plan = pyfftw.FFTW(X, x, direction="FFTW_BACKWARD", **options)
        x[:] = np.random.default_rng(0).standard_normal(x.shape)
        runs.append(lambda e=plan.execute, n=N_FRAMES // size: [e() for _ in range(n)])
    return runs


def best_of(runs: list[Run]) -> Run:
    """Choose the contestant's own fastest way."""
    return min(runs, key=lambda run: min(timed(run) for _ in range(15)))


def timed(run: Run) -> float:
    """Microseconds of this thread per frame, in caches the run has warmed."""
    run()
    start = time.thread_time_ns()
    run()
    return (time.thread_time_ns() - start) * 1e-3 / N_FRAMES


def contestants(s: Shape) -> dict[str, dict[str, Run]]:
    out: dict[str, dict[str, Run]] = {"analysis": {}, "synthesis": {}}
    arrays = {
        name: [ArrayContestant(s, size, name) for size in (1, 8, N_FRAMES)]
        for name in ("pyfftw", "scipy")
    }
    for simd in reversed(native.simd_levels()):
        n = s.native(simd)
        out["analysis"][simd] = lambda n=n: n.analyse(s.x, 1.0, s.X, s.features)
        m = n.memory(tail=s.tail)  # nothing learnt: what the others do, too
        out["synthesis"][simd] = lambda n=n, m=m: n.synthesise(s.mask, s.X, m, s.y)
    for what, method in (("analysis", "analyse"), ("synthesis", "synthesise")):
        out[what]["bare FFTW"] = best_of(bare_fftw(s, what))
        for name, label in (("pyfftw", "pyfftw+numpy"), ("scipy", "scipy")):
            out[what][label] = best_of([getattr(a, method) for a in arrays[name]])
    return out


def check_same_answer(s: Shape, runs: dict[str, Run]) -> None:
    """Whoever is fast must also be right."""
    runs[native.simd_name()]()
    expected = s.features.copy()
    for name in ("pyfftw+numpy", "scipy"):
        runs[name]()
        distance = np.abs(s.features.astype(int) - expected)
        assert distance.max() <= 1, name
        assert np.mean(distance) < 0.01, name


def measure(runs: dict[str, Run], n_rounds: int) -> dict[str, dict[str, float]]:
    """Medians of microseconds per frame, and of ratios to the native kernel."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(n_rounds):
        for name, run in runs.items():
            times[name].append(timed(run))
    ours = times[native.simd_name()]
    return {
        name: {
            "us": statistics.median(values),
            "ratio": statistics.median(
                a / b for a, b in zip(values, ours, strict=True)
            ),
            "us_min": min(values),
        }
        for name, values in times.items()
    }


def instructions() -> dict[str, dict[str, int]]:
    """Count instructions per frame under callgrind, for each level."""
    out: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "kernel")
        kernel = ROOT / "native"
        flags = ["-std=c11", "-O3", "-ffp-contract=off"]
        sources = [Path(__file__).with_name("kernel.c"), *kernel.rglob("*.c")]
        command = ["gcc", *flags, f"-I{kernel}", *sources, "-lm", "-o", program]
        subprocess.run(command, check=True)
        for level in native.simd_levels():
            out[level] = {
                call: count(program, call, native.SIMD[level])
                for call in ("analyse", "synthesise")
            }
    return out


def count(program: Path, call: str, level: int) -> int:
    totals = []
    for n in (650, 660):  # the past is full then
        tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        command = [*tool, str(program), call, str(level), str(n)]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        found = re.search(r"Collected : (\d+)", result.stderr)
        assert found, result.stderr
        totals.append(int(found[1]))
    return (totals[1] - totals[0]) // 10


def versions() -> dict[str, str]:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "governor": governor.read_text().strip() if governor.exists() else "unknown",
        "simd": native.simd_name(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "pyfftw": pyfftw.__version__,
        "fftw": pyfftw.fftw_version,
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-fft", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    parser.add_argument("--check", action="store_true", help="exit 1 below a goal")
    parser.add_argument(
        "--instructions", action="store_true", help="count them with callgrind"
    )
    return parser.parse_args()


def show(report: dict[str, Any]) -> None:
    print("  ".join(f"{k} {v}" for k, v in report["versions"].items()))
    if report["versions"]["governor"] != "performance":
        print("note: the CPU governor is not `performance`; trust the ratios")
    for name, shape in report["shapes"].items():
        for what in ("analysis", "synthesis"):
            print(f"\n{what}, {name}: microseconds per frame, median (min); ratio")
            for contestant, r in shape[what].items():
                print(
                    f"  {contestant:14s} {r['us']:8.2f} ({r['us_min']:7.2f})"
                    f" {r['ratio']:8.2f}"
                )
    for level, calls in report.get("instructions", {}).items():
        counts = ", ".join(f"{call} {n}" for call, n in calls.items())
        print(f"instructions per frame, {level}: {counts}")
    print()
    for goal in report["goals"]:
        verdict = "met" if goal["is_met"] else "MISSED"
        print(f"{verdict}: {goal['name']}, {goal['shape']}: {goal['ratio']:.2f}")


def main() -> int:
    args = arguments()
    report: dict[str, Any] = {"versions": versions(), "shapes": {}, "goals": []}
    for bands in ("single", "widening"):
        s = Shape(args.n_fft, bands)
        name = (
            f"n_fft {s.n_fft}, hop {s.hop}, stereo, {s.n_bands} bands, "
            f"{s.n_features} features"
        )
        runs = contestants(s)
        check_same_answer(s, runs["analysis"])
        shape = {what: measure(runs[what], args.rounds) for what in runs}
        report["shapes"][name] = shape
        for goal, (what, contestant, least) in GOALS.items():
            ratio = shape[what][contestant]["ratio"]
            goals = {"name": goal, "shape": name, "ratio": ratio}
            report["goals"].append(goals | {"is_met": ratio >= least})
    if args.instructions:
        report["instructions"] = instructions()
    if args.json:
        json.dump(report, sys.stdout, indent=2)
        print()
    else:
        show(report)
    is_met = all(goal["is_met"] for goal in report["goals"])
    return int(args.check and not is_met)


if __name__ == "__main__":
    sys.exit(main())
