"""How well `edgestem activity` finds the vocals, song by song, against true stems.

    python -m tools.judge.activity ../shared/corpus/dev --keep /tmp/levels [--choose]

A frame of 0.1 s is truly sung when the true vocals are within 30 dB of their own loud
level (half of their energy is above it).  Precision and recall are of these frames;
starts and ends are those of true spans, pauses below 0.3 s filled, against the nearest
found one within a second.  Beside it stands what an RMS threshold on the mixture does,
at the level that is best for the old half.  `--choose` lists thresholds by their
F-measure on the songs of the old half only (`halves.CHOSE`).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import edgestem
from edgestem.karaoke.activity import Activity, Meter, loud_level
from edgestem.sound.singing import DEFAULT, Thresholds
from tools.judge.halves import CHOSE, halves
from tools.pool import songs

RATE = 44100
TRUE_DB = -30.0  # of the true vocals' loud level
NEAR_S = 1.0
Levels = dict[str, tuple[Activity, Activity]]  # song -> found, true


def measure(root: Path, model: str, keep: Path) -> Levels:
    """Levels of estimated and true stems, kept in a folder."""
    keep.mkdir(parents=True, exist_ok=True)
    found: Levels = {}
    for song in songs.find(root):
        path = keep / f"{song.name}-{model}.npz"
        if not path.exists():
            vocals, rest = songs.load(song)
            mixture = np.ascontiguousarray(vocals + rest, np.float32)
            stems = edgestem.separate(mixture, RATE, model=model)
            pair = [_levels(*stems), _levels(vocals, rest)]
            arrays = {
                f"{name}{n}": getattr(one, name)
                for n, one in enumerate(pair)
                for name in ("vocals_db", "instrumental_db", "mixture_db")
            }
            np.savez(path, n_samples=len(mixture), **arrays)
        found[song.name] = _read(path)
    return found


def _levels(vocals: np.ndarray, rest: np.ndarray) -> Activity:
    meter = Meter(RATE)
    meter.add(vocals, rest)
    return meter.result()


def _read(path: Path) -> tuple[Activity, Activity]:
    with np.load(path) as data:
        n, hop = int(data["n_samples"]), round(RATE * 0.1)
        names = ("vocals_db", "instrumental_db", "mixture_db")
        one, two = (
            Activity(RATE, hop, n, *(data[f"{name}{k}"] for name in names))
            for k in range(2)
        )
    return one, two


def true_frames(true: Activity) -> np.ndarray:
    """Frames in which somebody sings, by the true vocals alone."""
    return true.vocals_db >= loud_level(true.vocals_db) + TRUE_DB


def frames(activity: Activity, thresholds: Thresholds) -> np.ndarray:
    """Frames that the thresholds find."""
    found = np.zeros(len(activity.vocals_db), bool)
    for start, end in activity.spans(thresholds):
        found[start // activity.hop : -(-end // activity.hop)] = True
    return found


def by_mixture(true: Activity, below_db: float) -> np.ndarray:
    """What a threshold on the song itself finds."""
    return true.mixture_db >= loud_level(true.mixture_db) + below_db


def score(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Precision and recall of frames."""
    both = np.count_nonzero(found & true)
    precision = both / max(np.count_nonzero(found), 1)
    return precision, both / max(np.count_nonzero(true), 1)


def edges(found: np.ndarray, true: np.ndarray) -> Iterator[tuple[str, float]]:
    """Offsets of starts and ends of true spans, seconds, where one is near."""
    true = _filled(true)
    for name, sign in (("start", 1), ("end", -1)):
        places = np.flatnonzero(np.diff(found.astype(int), prepend=0) == sign)
        for at in np.flatnonzero(np.diff(true.astype(int), prepend=0) == sign):
            if len(places):
                offset = float(places[np.argmin(np.abs(places - at))] - at) / 10
                if abs(offset) <= NEAR_S:
                    yield name, offset


def _filled(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    changes = np.flatnonzero(np.diff(x.astype(int)))
    for a, b in itertools.pairwise(changes):
        if not x[a + 1] and b - a < 3:
            x[a + 1 : b + 1] = True
    return x


def f_measure(precision: float, recall: float) -> float:
    return 2 * precision * recall / max(precision + recall, 1e-9)


def mean_f(levels: Levels, names: list[str], thresholds: Thresholds) -> float:
    scores = [
        score(frames(levels[n][0], thresholds), true_frames(levels[n][1]))
        for n in names
    ]
    return float(np.mean([f_measure(*s) for s in scores]))


def choose(levels: Levels) -> None:
    """List thresholds by what they do on the half that may choose."""
    names = [name for name in levels if name in CHOSE]
    rows = []
    grid = itertools.product(
        (-11, -14, -17, -20, -23), (3, 6, 9), (-20, -24, -28, -32, -99), (0.3, 0.5)
    )
    for on, more, heard, pause in grid:
        one = replace(
            DEFAULT, on_db=on, off_db=on - more, heard_db=heard, pause_s=pause
        )
        rows.append((mean_f(levels, names, one), on, on - more, heard, pause))
    print("F of the old half   on  off  heard  pause")
    for f, *values in sorted(rows, reverse=True)[:8]:
        print(f"{f:.4f}            ", *values)


def best_mixture(levels: Levels) -> float:
    """Level below the loud mixture that is best for the half that may choose."""
    names = [name for name in levels if name in CHOSE]

    def mean(below: float) -> float:
        found = [
            score(by_mixture(levels[n][1], below), true_frames(levels[n][1]))
            for n in names
        ]
        return float(np.mean([f_measure(*s) for s in found]))

    return max(range(-40, 0), key=mean)


def table(levels: Levels) -> None:
    below = best_mixture(levels)
    print(f"mixture: RMS within {-below} dB of its loud level, best on the old half")
    print(f"{'song':20} sung  precision recall F     mixture P/R   starts  ends (s)")
    for half, names in halves(levels).items():
        rows = []
        for name in names:
            found, true = levels[name]
            ours, truth = frames(found, DEFAULT), true_frames(true)
            p, r = score(ours, truth)
            mp, mr = score(by_mixture(true, below), truth)
            shift = {"start": [], "end": []}
            for kind, offset in edges(ours, truth):
                shift[kind].append(abs(offset))
            ends = [float(np.median(v)) if v else np.nan for v in shift.values()]
            rows.append((p, r, f_measure(p, r), mp, mr, *ends))
            _print(name, float(truth.mean()), rows[-1])
        _print(f"= {half}", np.nan, tuple(np.nanmean(rows, axis=0)))


def _print(name: str, share: float, row: tuple[float, ...]) -> None:
    p, r, f, mp, mr, start, end = row
    print(
        f"{name:20} {share:4.0%}  {p:.3f}     {r:.3f}  {f:.3f} "
        f"{mp:.2f}/{mr:.2f}     {start:.2f}    {end:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("songs", type=Path)
    parser.add_argument("--keep", type=Path, default=Path("levels"))
    parser.add_argument("--model", default="karaoke")
    parser.add_argument("--choose", action="store_true")
    args = parser.parse_args()
    levels = measure(args.songs, args.model, args.keep)
    if args.choose:
        choose(levels)
    table(levels)


if __name__ == "__main__":
    main()
