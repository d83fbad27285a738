"""What the shipped models make of two short songs, for test_golden and its table.

`clip` is made of integers and has no library's rounding in it, so the bits of its
stems are the model's, the runtime's and the kernel's: the same with and without
AVX-512's dot products (tried under an emulator); `known_song` has stems that are
known, so it says whether the model still separates.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from edgestem import Separator, Stems

DATA = Path(__file__).parent.parent / "data"
TABLE = DATA / "golden.json"
RATE = 44100
Samples = NDArray[np.float32]

# `stage` and `monitor` call the network every hop: with tflite-runtime that is slower
# than the music.
SECONDS = {"stage": 1.5, "monitor": 0.75}
MODELS = ("karaoke", "fast", "best", "stage", "monitor", "live")


def clip(model: str, n_channels: int = 2) -> Samples:
    """Chords of sawtooths with a glide and a hiss, in 16-bit steps.

    (n_samples, n_channels); one channel is the left one.
    """
    n = round(SECONDS.get(model, 6.0) * RATE)
    i = np.arange(n, dtype=np.int64)
    age = i % 11000
    glide = i * (600 + i // 4000) % 65536 - 32768
    left, right = (
        sum(i * f % 65536 - 32768 for f in c) for c in ((327, 411), (490, 653))
    )
    hiss = (i * 1103515245 + 12345) % 65536 // 64 - 512
    sides = [(glide + side // 2) // (3 + age // 900) + hiss for side in (left, right)]
    return (np.stack(sides[:n_channels], 1) / 65536).astype(np.float32)


def digest(stems: Stems) -> str:
    """Name the bits of two stems."""
    sha = hashlib.sha256()
    for stem in stems:
        sha.update(np.ascontiguousarray(stem).tobytes())
    return sha.hexdigest()[:32]


def in_blocks(separator: Separator, x: Samples, block: int) -> Stems:
    """Push a song in blocks; its stems, aligned with it."""
    late = separator.latency_samples
    parts = [separator.push(x[i : i + block]) for i in range(0, len(x), block)]
    parts.append(separator.flush())
    vocals, instrumental = (np.concatenate(s)[late:] for s in zip(*parts, strict=True))
    return Stems(vocals, instrumental)


@lru_cache(maxsize=1)
def known_song() -> Stems:
    """Read the stems of eight seconds of a real song, (n_samples, 2)."""
    paths = [DATA / "song" / f"{name}.ogg" for name in Stems._fields]
    return Stems(*(soundfile.read(path, dtype="float32")[0] for path in paths))


def sdr(truth: Samples, estimate: Samples) -> float:
    """Energy of the truth over that of the error, dB."""
    error = np.sum((truth.astype(np.float64) - estimate) ** 2)
    return 10 * math.log10(np.sum(truth.astype(np.float64) ** 2) / error)


def known_sdr(model: str, runtime: str | None) -> tuple[float, float]:
    """SDR of both stems of the known song, dB; of its last seconds for slow models."""
    truth = known_song()
    if model in SECONDS:
        truth = Stems(*(stem[-3 * RATE :] for stem in truth))
    separator = Separator(RATE, 2, model=model, runtime=runtime, device="cpu")
    stems = in_blocks(separator, truth.vocals + truth.instrumental, 1 << 15)
    vocals, instrumental = (sdr(t, s) for t, s in zip(truth, stems, strict=True))
    return vocals, instrumental


def key_of(model: str, n_channels: int, runtime: str, version: str) -> str:
    """Name a line of the table, on this machine."""
    what = model if n_channels == 2 else f"{model} in mono"
    return f"{what}, {runtime} {version}, {platform.machine()}"


def rows(runtimes: dict[str, str]) -> Iterator[tuple[str, str, int]]:
    """Yield (key, model, channels) of every line that the table should have here."""
    for name, version in runtimes.items():
        for model in MODELS:
            for n_channels in (1, 2):
                yield key_of(model, n_channels, name, version), model, n_channels
