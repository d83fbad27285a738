"""What the shipped models sound like: tests/data/golden.json, made anew.

    python -m tools.make_golden

The song is 6 seconds of known stems (tests/data/golden.txt), the vocals panned to the
left and the rest to the right.  The table holds for each model, runtime and kind of
machine

* `sha256` of both stems of the song's beginning, as float32 bytes;
* `sdr`: of vocals left, right and instrumental left, right against the known stems, dB;
* `sketch`: 256 sums of the vocals' samples with random signs.  The energy of the
  difference of two sketches is that of the two signals, to some 9 %, so that a machine
  without a line of its own can tell how near its stems are to those of another.

Runtimes that are not installed here, and other machines, keep their lines.  A runtime's
int8 kernels give one result on x86 processors with AVX2, with and without AVX-512 VNNI
(tried with qemu -cpu Haswell); with SSE alone tflite-runtime 2.14 gives another.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from edgestem import Separator, Stems, runtime, spectral

DATA = Path(__file__).parent.parent / "tests" / "data"
TABLE = DATA / "golden.json"
MODELS = ("karaoke", "fast", "best", "stage", "monitor", "live")
RATE = 44100
PAN, REST_PAN = np.array([1.4, 0.3]), np.array([0.4, 1.0])
# Odd, and no divisor of a hop.
BLOCK = 77
# The nets that hear 62 and 124 frames for each take more than real time with
# tflite-runtime.  Every other one is called at least once in three seconds.
SHORT = ("stage", "monitor")
SHORT_S, LONG_S = 0.5, 3.0
N_SKETCH = 256


class Song(NamedTuple):
    """Known stems and their sum, each int16 (n_samples, 2)."""

    mixture: np.ndarray
    vocals: np.ndarray
    instrumental: np.ndarray


def read_song() -> Song:
    """Sum the known stems on the grid of 16 bits."""
    vocals, instrumental = (
        soundfile.read(DATA / f"golden_{name}.ogg", always_2d=True)[0]
        for name in Stems._fields
    )
    n = min(len(vocals), len(instrumental))
    known = [np.rint(x[:n] * 32768) for x in (vocals * PAN, instrumental * REST_PAN)]
    return Song(*(x.astype(np.int16) for x in (sum(known), *known)))


def beginning(mixture: np.ndarray, model: str) -> np.ndarray:
    """Cut what is hashed of the mixture, float32."""
    n = round((SHORT_S if model in SHORT else LONG_S) * RATE)
    return np.float32(mixture[:n] / 32768)


def line_name(model: str, distribution: str) -> str:
    """Name what the bits of the stems depend on."""
    version = runtime.installed()[distribution]
    return f"{model} {distribution} {version} {platform.machine()} {instructions()}"


def instructions() -> str:
    """Name what the machine can do, as far as the bits ask."""
    return spectral.simd_name() if "native" in spectral.available_backends() else "none"


def separate(mixture: np.ndarray, model: str, distribution: str, block: int) -> Stems:
    """Push blocks of one size through a Separator; stems without latency."""
    separator = Separator(
        RATE, 2, model=model, runtime=distribution, device="cpu", fft="auto"
    )
    starts = range(0, len(mixture), block)
    parts = [separator.push(mixture[at : at + block]) for at in starts]
    parts.append(separator.flush())
    late = separator.latency_samples
    return Stems(*(np.concatenate(p)[late:] for p in zip(*parts, strict=True)))


def digests(stems: Stems) -> list[str]:
    """Hash both stems."""
    return [hashlib.sha256(np.float32(x).tobytes()).hexdigest() for x in stems]


def sketch(vocals: np.ndarray) -> np.ndarray:
    """Sum samples with random signs into N_SKETCH numbers."""
    n = vocals.size // N_SKETCH * N_SKETCH
    # The raw bits of PCG64 are the same in every numpy.
    words = np.random.PCG64(1).random_raw(n // 64 + 1).astype("<u8")
    signs = 1 - 2.0 * np.unpackbits(words.view(np.uint8))[:n]
    return np.sum((vocals.ravel()[:n] * signs).reshape(-1, N_SKETCH), axis=0)


def sdr(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Signal to distortion, dB."""
    error = np.sum((truth - np.float64(estimate)) ** 2)
    return float(10 * np.log10(np.sum(np.float64(truth) ** 2) / max(error, 1e-20)))


def figures(song: Song, stems: Stems) -> list[float]:
    """Take SDR of vocals left, right, instrumental left, right."""
    known = (song.vocals / 32768, song.instrumental / 32768)
    return [
        sdr(k[:, c], e[:, c]) for k, e in zip(known, stems, strict=True) for c in (0, 1)
    ]


def make_line(song: Song, model: str, distribution: str) -> dict[str, Any]:
    """Hear a model with a runtime."""
    begin = separate(
        beginning(song.mixture, model), model, distribution, len(song.mixture)
    )
    whole = separate(np.float32(song.mixture / 32768), model, distribution, 1 << 16)
    return {
        "sha256": digests(begin),
        "sdr": [round(value, 3) for value in figures(song, whole)],
        "sketch": [round(float(value), 4) for value in sketch(begin.vocals)],
    }


def main() -> None:
    """Write the lines of this machine into the table."""
    song = read_song()
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {"lines": {}}
    mixture = hashlib.sha256(song.mixture.tobytes()).hexdigest()
    lines = table["lines"] if table.get("mixture") == mixture else {}
    for distribution in runtime.installed():
        for model in MODELS:
            name = line_name(model, distribution)
            lines[name] = make_line(song, model, distribution)
            print(name, *lines[name]["sdr"], flush=True)
    rows = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(lines.items()))
    TABLE.write_text(
        f'{{"mixture": "{mixture}", "lines": {{\n' + ",\n".join(rows) + "\n}}\n"
    )


if __name__ == "__main__":
    main()
