"""What a song's level, its rate, or a missing stem does to the result.

Sections of `python -m tools.judge.evaluate --extra`, each a dict: row -> figures.
They take the middle 30 s of every song, because they need many runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tools.judge import metrics, systems
from tools.judge.metrics import EXCERPT_S, LEVELS_DB
from tools.judge.systems import System
from tools.pool import songs

SKIPPED = (
    "centre cancellation",
    "mixture as it is",
    "Spleeter 2stems float, full",
    "edgestem stage float",  # in torch a frame of it costs as much as a window
    "edgestem monitor",  # the stage net, twice as often
)


def excerpts(root: Path, rate: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for song in songs.find(root):
        vocals, rest = songs.load(song, rate)
        start = max(0, (len(vocals) - EXCERPT_S * rate) // 2)
        span = slice(start, start + EXCERPT_S * rate)
        yield song.name, vocals[span], rest[span]


def mixed(vocals: np.ndarray, rest: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vocals + rest)


def loudness(root: Path, run: System) -> dict[str, list[float]]:
    """Mean instrumental SDR at each level, and the largest change of a song."""
    rows = []
    for _, vocals, rest in excerpts(root, 44100):
        mixture, row = mixed(vocals, rest), []
        for level in LEVELS_DB:
            gain = np.float32(10 ** (level / 20))
            row.append(songs.sdr(rest, run(mixture * gain)[1] / gain))
        rows.append(row)
    table = np.array(rows)
    change = np.abs(table - table[:, :1]).max()
    return {"mean": table.mean(0).tolist(), "largest change": [float(change)]}


def rates(root: Path, model: str, runtime: str | None) -> dict[str, list[float]]:
    """Instrumental SDR at 44.1 and 48 kHz, and the largest difference of a song."""
    rows = []
    for rate in (44100, 48000):
        run = systems.through_engine(model, runtime, rate)
        rows.append(
            [songs.sdr(r, run(mixed(v, r))[1]) for _, v, r in excerpts(root, rate)]
        )
    table = np.array(rows)
    change = np.abs(table[1] - table[0]).max()
    return {"mean": table.mean(1).tolist(), "largest change": [float(change)]}


def one_stem(root: Path, run: System) -> dict[str, list[float]]:
    """Instrumental SDR of songs without vocals; level left of an a cappella, dB."""
    alone, left = [], []
    for _, vocals, rest in excerpts(root, 44100):
        alone.append(songs.sdr(rest, run(np.ascontiguousarray(rest))[1]))
        estimate = run(np.ascontiguousarray(vocals))[1]
        energies = (np.sum(np.float64(x) ** 2) for x in (estimate, vocals))
        left.append(metrics.decibels(next(energies) / max(next(energies), 1e-12)))
    return {
        "no vocals": [float(np.mean(alone)), min(alone)],
        "a cappella": [float(np.mean(left)), max(left)],
    }


def extra_sections(
    args: argparse.Namespace, rows: dict[str, System]
) -> dict[str, dict]:
    """All sections: name -> row -> figures."""
    kept = {k: run for k, run in rows.items() if not k.startswith(SKIPPED)}
    by_rate = {
        f"edgestem {Path(m).stem} int8": rates(args.songs, m, args.runtime)
        for m in args.model
    }
    return {
        "loudness": {k: loudness(args.songs, run) for k, run in kept.items()},
        "rates": by_rate,
        "one stem": {k: one_stem(args.songs, run) for k, run in kept.items()},
    }
