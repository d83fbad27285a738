"""Excerpts of varied sound, on which int8 grids and slimmed channels are chosen.

    python -m tools.pool.excerpts EXCERPTS.npy --music MUSIC --voices VOICES

Every excerpt is one call of `karaoke` long.  By turns it is music as it is, the same
in mono, music with a voice over it (in the middle, or in mono), sustained tones that
are rendered here (organ, choir, strings, steel that glides: what a pool of games'
music lacks), and music with sustained tones.  EXCERPTS.npy is int16
(count, n_samples, 2); the same seed and files give the same bytes.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor, from_numpy

from tools.judge.blocks import BLOCK, LEVEL_DB, features_of
from tools.nets.spectrum import HOP, N_FFT, loudness_gain
from tools.nets.unet import UNet
from tools.pool.songs import SUFFIXES

RATE = 44100
N_SAMPLES = (BLOCK - 1) * HOP + N_FFT
KINDS = ("music", "mono", "voice", "mono voice", "tones", "music and tones")
N_HARMONICS = 24
LEAST_RMS = 1e-3  # quieter stretches are drawn again
SHOWN = 200  # excerpts between two lines of progress


class Files:
    """Stretches of sound files, drawn at random; what is short is repeated."""

    def __init__(self, folders: list[Path], rng: np.random.Generator) -> None:
        suffixes = {*SUFFIXES, ".g722"}
        self.paths = sorted(
            p
            for folder in folders
            for p in folder.rglob("*")
            if p.suffix.lower() in suffixes
        )
        if not self.paths:
            raise SystemExit(f"no sound files below {', '.join(map(str, folders))}")
        self.rng = rng
        self.lengths: dict[Path, float] = {}

    def draw(self) -> np.ndarray:
        """(N_SAMPLES, 2) float32, not silent."""
        while True:
            path = self.paths[self.rng.integers(len(self.paths))]
            spare = max(0.0, self._seconds(path) - N_SAMPLES / RATE)
            x = read(path, float(self.rng.uniform(0, spare)))
            if len(x) and np.sqrt(np.mean(x**2)) > LEAST_RMS:
                return np.resize(x, (N_SAMPLES, 2))

    def _seconds(self, path: Path) -> float:
        if path not in self.lengths:
            command = ["ffprobe", "-v", "error", "-show_entries", "format=duration"]
            command += ["-of", "csv=p=0", str(path)]
            found = subprocess.run(command, capture_output=True, text=True)
            text = found.stdout.strip()
            self.lengths[path] = float(text) if text not in ("", "N/A") else 0.0
        return self.lengths[path]


def read(path: Path, start: float) -> np.ndarray:
    """Decode at most N_SAMPLES samples from `start` seconds on."""
    command = ["ffmpeg", "-v", "error", "-ss", f"{start:.3f}", "-i", str(path)]
    command += ["-map", "0:a:0", "-t", f"{N_SAMPLES / RATE:.4f}", "-f", "f32le"]
    command += ["-ac", "2", "-ar", str(RATE), "-"]
    raw = subprocess.run(command, capture_output=True).stdout  # damaged: empty
    return np.frombuffer(raw, np.float32).reshape(-1, 2)


def tones(rng: np.random.Generator) -> np.ndarray:
    """A chord held for the whole excerpt: (N_SAMPLES, 2) float32.

    Tones with a slope of harmonics, a few cents of detuning, vibrato or none, glides
    or none, each somewhere between left and right.
    """
    t = np.arange(N_SAMPLES) / RATE
    out = np.zeros((N_SAMPLES, 2))
    slope, vibrato = rng.uniform(0.3, 2.5), rng.choice([0.0, 0.003, 0.01])
    glide = rng.choice([0.0, 0.0, 0.06])
    root = rng.uniform(36, 72)
    for step in (0, *rng.choice([3, 4, 5, 7, 9, 10, 12, 16, 19], 3, replace=False)):
        f = 440 * 2 ** ((root + step - 69 + rng.normal(0, 0.05)) / 12)
        bend = glide * np.clip(t - rng.uniform(0, 3), 0, 1)
        bend = bend + vibrato * np.sin(
            2 * np.pi * (rng.uniform(4, 7) * t + rng.random())
        )
        phase = 2 * np.pi * np.cumsum(f * (1 + bend)) / RATE
        k = np.arange(1, 1 + min(N_HARMONICS, int(16000 / f)))
        weights = k**-slope * rng.uniform(0.2, 1, len(k))
        tone = sum(
            w * np.sin(n * phase + rng.uniform(0, 6))
            for n, w in zip(k, weights, strict=True)
        )
        side = rng.uniform(0.1, 0.9)
        out += tone[:, None] * np.sqrt([1 - side, side])
    out *= (
        1 + rng.uniform(0, 0.3) * np.sin(2 * np.pi * rng.uniform(0.1, 6) * t)[:, None]
    )
    return np.float32(0.1 * out / np.abs(out).max())


def mono(x: np.ndarray) -> np.ndarray:
    return np.repeat(x.mean(axis=1, keepdims=True), 2, axis=1)


def over(rest: np.ndarray, other: np.ndarray, db: float) -> np.ndarray:
    """Add `other` to `rest`, louder by so many dB."""
    level = np.sqrt(np.mean(rest**2) / max(float(np.mean(other**2)), 1e-12))
    return rest + np.float32(level * 10 ** (db / 20)) * other


def make(
    kind: str, music: Files, voices: Files, rng: np.random.Generator
) -> np.ndarray:
    """One excerpt, (N_SAMPLES, 2) float32."""
    x = tones(rng) if kind == "tones" else music.draw()
    if "voice" in kind:
        x = over(x, mono(voices.draw()), rng.uniform(-9, 6))
    if kind == "music and tones":
        x = over(x, tones(rng), rng.uniform(-12, 6))
    if "mono" in kind or (kind == "tones" and rng.random() < 0.5):
        x = mono(x)
    return x


def load(path: Path, count: int | None = None) -> Iterator[Tensor]:
    """Excerpts as (1, 2, n_samples) at the model's level: the first so many."""
    for x in np.load(path, mmap_mode="r")[:count]:
        samples = from_numpy(np.ascontiguousarray(x.T, np.float32) / 32768)[None]
        yield samples * loudness_gain(samples, LEVEL_DB)


def features(net: UNet, path: Path, count: int | None = None) -> Iterator[Tensor]:
    """What a net hears of each excerpt."""
    for x in load(path, count):
        yield features_of(x, net)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help=".npy to write")
    parser.add_argument("--music", type=Path, nargs="+", required=True)
    parser.add_argument("--voices", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=1800)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    music, voices = Files(args.music, rng), Files(args.voices, rng)
    shape = (args.count, N_SAMPLES, 2)
    out = np.lib.format.open_memmap(args.output, "w+", np.int16, shape)
    for i in range(args.count):
        x = make(KINDS[i % len(KINDS)], music, voices, rng)
        peak = max(float(np.abs(x).max()), 1e-9)
        out[i] = np.round(x * min(1.0, 0.99 / peak) * 32767)
        if i % SHOWN == SHOWN - 1:
            print(f"{i + 1} of {args.count}", flush=True)


if __name__ == "__main__":
    main()
