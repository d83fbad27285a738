"""The stretcher beside Rubber Band and SoundTouch: attacks, chords, clicks, CPU.

    python -m tools.bench.stretch [--check] [--json] [--song FILE] [--rounds N]

Ours gets the two stems that edgestem makes of the song, the others its mixture, as a
player would use them; chord and clicks are the accompaniment.  All are 48 kHz, stereo,
read in blocks of 1024.

attack   mean of the steepest 0.2 % of rises of power from one millisecond to the
         third after it, above 5 kHz, in 16 s of the song; less is softer
chord    energy of a held chord of six notes of four partials outside +-3 Hz of where
         the 24 belong, beside all, in dB; less is cleaner
close    the same of a chord with a semitone and a tone in it
click    width of 5 to 95 % of the energy of an isolated click, ms
timing   spread of the places of 12 clicks, ms
cpu      process time, beside Rubber Band R2 in the same round
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import soundfile
from cffi import FFI
from numpy.typing import NDArray

import edgestem
from edgestem.stretch import rubberband as rb
from edgestem.stretch.stretcher import Stretcher

ROOT = Path(__file__).parent.parent.parent
RATE, BLOCK = 48000, 1024
CASES = {"+3 st": (3.0, 1.0), "80 %": (0.0, 0.8)}
CHORDS = {  # Hz, equal temperament
    "chord": (82.41, 123.47, 164.81, 207.65, 246.94, 329.63),  # a guitar's E major
    "close": (110.0, 164.81, 246.94, 261.63, 329.63, 392.0),  # A minor 9
}
GOALS = {
    ("+3 st", "attack"): (28.0, 1),
    ("80 %", "attack"): (26.0, 1),
    ("+3 st", "chord"): (-20.0, -1),
    ("80 %", "chord"): (-20.0, -1),
    ("+3 st", "timing"): (1.0, -1),
    ("80 %", "timing"): (1.0, -1),
    ("+3 st", "cpu"): (0.5, -1),
    ("80 %", "cpu"): (0.5, -1),
}
Samples = NDArray[np.float32]
Run = Callable[[list[Samples], float, float], Samples]


# ---- Signals ----------------------------------------------------------------


def partials(name: str) -> list[tuple[float, int]]:
    return [(f * k, k) for f in CHORDS[name] for k in range(1, 5)]


def chord(name: str, seconds: float = 8.0) -> Samples:
    t = np.arange(round(seconds * RATE)) / RATE
    x = sum(np.sin(2 * np.pi * f * t + f) / k for f, k in partials(name))
    return stereo(0.08 * x)


def clicks(seconds: float = 7.0) -> tuple[Samples, NDArray[np.float64]]:
    """Twelve clicks of 0.75 ms, at places that no grid shares."""
    places = np.round((0.5 + 0.487 * np.arange(12)) * RATE)
    x = np.zeros(round(seconds * RATE))
    n = round(0.00075 * RATE)
    for place in places.astype(int):
        x[place - n // 2 : place - n // 2 + n] = 0.5 * np.hanning(n) * (-1) ** place
    return stereo(x), places


def stereo(x: NDArray[Any]) -> Samples:
    return np.repeat(np.float32(x)[:, None], 2, axis=1)


# ---- Measures ---------------------------------------------------------------


def attack_db(y: Samples) -> float:
    sos = scipy.signal.butter(4, 5000, "high", fs=RATE, output="sos")
    high = scipy.signal.sosfilt(sos, y.mean(axis=1))
    n = len(high) // 48
    level = 10 * np.log10(np.mean(high[: n * 48].reshape(n, 48) ** 2, axis=1) + 1e-10)
    rises = np.sort(level[3:] - level[:-3])
    return float(rises[-round(0.002 * len(rises)) :].mean())


def chord_db(y: Samples, name: str, pitch: float) -> float:
    """Leave a second at each end out: the chord is held, not struck."""
    x = y[RATE:-RATE, 0].astype(float)
    power = np.abs(np.fft.rfft(x * scipy.signal.windows.blackmanharris(len(x)))) ** 2
    f = np.fft.rfftfreq(len(x), 1 / RATE)
    inside = np.zeros(len(f), bool)
    for partial, _ in partials(name):
        inside |= np.abs(f - pitch * partial) <= 3
    return float(10 * np.log10(power[~inside].sum() / power.sum()))


def click_spread(
    y: Samples, places: NDArray[np.float64], tempo: float
) -> tuple[float, float]:
    """Median width of clicks and spread of their places, ms."""
    widths, late = [], []
    for place in places / tempo:
        first = round(place) - RATE // 10
        energy = np.cumsum(y[first : first + RATE // 5, 0].astype(float) ** 2)
        low, middle, high = np.searchsorted(energy / energy[-1], (0.05, 0.5, 0.95))
        widths.append(high - low)
        late.append(first + middle - place)
    ms = 1000 / RATE
    return float(np.median(widths)) * ms, float(np.ptp(late)) * ms


# ---- Contestants ------------------------------------------------------------


def reader(stems: list[Samples]) -> Callable[[int, int], list[Samples]]:
    """Read stems by place, silence around them."""

    def read(start: int, n: int) -> list[Samples]:
        first, last = max(start, 0), max(start + n, 0)
        before = np.zeros((min(max(-start, 0), n), 2), np.float32)
        out = []
        for stem in stems:
            part = stem[first:last]
            after = np.zeros((n - len(before) - len(part), 2), np.float32)
            out.append(np.concatenate([before, part, after]))
        return out

    return read


def ours(stems: list[Samples], key: float, tempo: float, **options: Any) -> Samples:
    stretcher = Stretcher(reader(stems), RATE, 2, **options)
    stretcher.set(key, tempo)
    stretcher.seek(0)
    n = round(len(stems[0]) / tempo)
    blocks = [sum(stretcher.render(BLOCK)) for _ in range(n // BLOCK)]
    return np.concatenate(blocks)


def rubberband(options: int) -> Run:
    def run(stems: list[Samples], key: float, tempo: float) -> Samples:
        engine = rb.RubberBand(RATE, 2, False, options)
        engine.reset(0.0, key, tempo)
        read = reader([np.float32(sum(stems))])
        n = round(len(stems[0]) / tempo)
        steps = [engine.step(lambda i, k: read(i, k)[0]) for _ in range(n // rb.HOP)]
        return np.concatenate(steps)

    return run


def soundtouch(stems: list[Samples], key: float, tempo: float) -> Samples:
    ffi = FFI()
    ffi.cdef("""
    void *soundtouch_createInstance(); void soundtouch_destroyInstance(void *);
    void soundtouch_setTempo(void *, float); void soundtouch_setPitch(void *, float);
    int soundtouch_setChannels(void *, unsigned); int soundtouch_flush(void *);
    int soundtouch_setSampleRate(void *, unsigned);
    int soundtouch_putSamples(void *, const float *, unsigned);
    unsigned soundtouch_receiveSamples(void *, float *, unsigned);
    """)
    lib = ffi.dlopen("libSoundTouchDll.so.1")
    handle = ffi.gc(lib.soundtouch_createInstance(), lib.soundtouch_destroyInstance)
    lib.soundtouch_setChannels(handle, 2)
    lib.soundtouch_setSampleRate(handle, RATE)
    lib.soundtouch_setTempo(handle, tempo)
    lib.soundtouch_setPitch(handle, 2 ** (key / 12))
    mixture = np.concatenate([np.float32(sum(stems)), np.zeros((RATE, 2), np.float32)])
    out, y = [], np.empty((16 * BLOCK, 2), np.float32)
    for i in range(0, len(mixture) - BLOCK, BLOCK):
        x = np.ascontiguousarray(mixture[i : i + BLOCK])
        lib.soundtouch_putSamples(handle, ffi.from_buffer("float[]", x), BLOCK)
        while got := lib.soundtouch_receiveSamples(
            handle, ffi.from_buffer("float[]", y), len(y)
        ):
            out.append(y[:got].copy())
    return np.concatenate(out)[: round(len(stems[0]) / tempo)]


HIGH_QUALITY = rb.REAL_TIME | rb.NO_THREADS | rb.PITCH_HIGH_QUALITY
RUNS: dict[str, Run] = {
    "edgestem, two stems": ours,
    "edgestem, the mixture": lambda stems, key, tempo: ours(
        [np.float32(sum(stems))], key, tempo, keeps_formants=[False]
    ),
    "Rubber Band R2": rubberband(HIGH_QUALITY),
    "Rubber Band R3": rubberband(HIGH_QUALITY | rb.FINER),
    "SoundTouch": soundtouch,
}


# ---- The table --------------------------------------------------------------


def song_stems(path: Path) -> list[Samples]:
    """Separate 16 s; at RATE, stereo."""
    x, rate = soundfile.read(path, dtype="float32", always_2d=True, stop=None)
    if rate != RATE:
        x = np.float32(scipy.signal.resample_poly(x, RATE, rate))
    x = np.ascontiguousarray(np.broadcast_to(x, (len(x), 2))[: 16 * RATE])
    vocals, instrumental = edgestem.separate(x, RATE)
    return [np.float32(vocals), np.float32(instrumental)]


def quality(run: Run, stems: list[Samples], key: float, tempo: float) -> dict[str, Any]:
    silence = np.zeros((8 * RATE, 2), np.float32)
    x, places = clicks()
    pitch = 2 ** (key / 12)
    width, spread = click_spread(run([silence[: len(x)], x], key, tempo), places, tempo)
    chords = {
        name: chord_db(run([silence, chord(name)], key, tempo), name, pitch)
        for name in CHORDS
    }
    return chords | {
        "attack": attack_db(run(stems, key, tempo)),
        "click": width,
        "timing": spread,
    }


def cpu(
    runs: dict[str, Run], stems: list[Samples], key: float, tempo: float, n: int
) -> dict[str, float]:
    """Medians of process time beside Rubber Band R2, rounds of all contestants."""
    ratios: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(n):
        times = {}
        for name, run in runs.items():
            start = time.process_time()
            run(stems, key, tempo)
            times[name] = time.process_time() - start
        for name in runs:
            ratios[name].append(times[name] / times["Rubber Band R2"])
    return {name: statistics.median(values) for name, values in ratios.items()}


def table(stems: list[Samples], n_rounds: int) -> dict[str, Any]:
    report: dict[str, Any] = {"the song itself": attack_db(sum(stems))}
    for case, (key, tempo) in CASES.items():
        ratios = cpu(RUNS, stems, key, tempo, n_rounds)
        for name, run in RUNS.items():
            row = quality(run, stems, key, tempo) | {"cpu": ratios[name]}
            report.setdefault(name, {})[case] = row
    return report


def show(report: dict[str, Any]) -> None:
    print(f"the song's own attacks: {report['the song itself']:.1f} dB")
    print(f"{'':24s}{'':8s} attack  chord  close  click timing    cpu")
    for name in RUNS:
        for case, r in report[name].items():
            print(
                f"{name:24s}{case:8s} {r['attack']:6.1f} {r['chord']:6.1f} "
                f"{r['close']:6.1f} {r['click']:6.2f} "
                f"{r['timing']:6.2f} {r['cpu']:6.3f}"
            )


def misses(report: dict[str, Any]) -> list[str]:
    ours = report["edgestem, two stems"]
    return [
        f"{case}: {measure} {ours[case][measure]:.2f}, goal {goal}"
        for (case, measure), (goal, sign) in GOALS.items()
        if sign * ours[case][measure] < sign * goal
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--song", type=Path, default=ROOT / "examples" / "song.ogg")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    parser.add_argument("--check", action="store_true", help="exit 1 below a goal")
    args = parser.parse_args()
    report = table(song_stems(args.song), args.rounds)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)
    missed = misses(report)
    for line in missed:
        print("MISSED:", line, file=sys.stderr)
    return int(args.check and bool(missed))


if __name__ == "__main__":
    sys.exit(main())
