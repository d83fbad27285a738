"""What `mono_side` is worth: stems of songs mixed down to mono, on both halves.

    python -m tools.judge.mono SONGS --model live --model stage --share 0 --share 0.6

A model that hears |L - R| takes mono for a band that stands in one place
(edgestem/engine/width.py).  For each model, half of the songs (tools/judge/halves.py)
and share that its sidecar's `mono_side` may have: mean SDR of the middle 30 s of every
song, both stems, and the gain over the first share; then each song's instrumental.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgestem.network.catalogue import model_path
from tools.judge import systems
from tools.judge.halves import halves
from tools.judge.robustness import excerpts, mixed
from tools.pool import songs

RATE = 44100
Scores = dict[str, list[float]]  # song -> both SDRs


def with_share(model: str, share: float, folder: Path) -> Path:
    """A copy of a model, by links, whose sidecar says `share`."""
    path = model_path(model)
    sidecar = json.loads(path.with_suffix(".json").read_text())
    sidecar["file"] = sidecar.get("file") or path.name
    sidecar["mono_side"] = share
    link = folder / sidecar["file"]
    if not link.exists():
        link.symlink_to((path.parent / sidecar["file"]).resolve())
    copy = folder / f"{path.stem}-{share}.tflite"
    copy.with_suffix(".json").write_text(json.dumps(sidecar))
    return copy


def downmixes(root: Path, seconds: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Name, vocals and instrumental of every song, in mono on two channels."""
    for name, *stems in excerpts(root, RATE):
        cut = (max(0, len(stems[0]) - seconds * RATE)) // 2
        span = slice(cut, cut + seconds * RATE)
        mono = (np.repeat(s[span].mean(1, keepdims=True), 2, 1) for s in stems)
        yield name, [np.float32(s) for s in mono]


def measure(root: Path, model: Path, runtime: str | None, seconds: int) -> Scores:
    run = systems.through_engine(str(model), runtime)
    out = {}
    for name, truths in downmixes(root, seconds):
        pairs = zip(truths, run(mixed(*truths)), strict=True)
        out[name] = [songs.sdr(truth, estimate) for truth, estimate in pairs]
    return out


def line(model: str, share: float, scores: Scores, first: Scores) -> str:
    cells = []
    for names in halves(scores).values():
        values = np.array([scores[n] for n in names])
        gain = values - np.array([first[n] for n in names])
        mean = "{:.2f} / {:.2f}".format(*values.mean(0))
        cells.append(f"{mean} ({'{:+.2f} / {:+.2f}'.format(*gain.mean(0))})")
    return f"| `{model}`, {share:g} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("songs", type=Path)
    parser.add_argument("--model", action="append", required=True, help="repeatable")
    parser.add_argument("--share", action="append", type=float, required=True)
    parser.add_argument("--seconds", type=int, default=30, help="of a song, up to 30")
    parser.add_argument("--runtime", help="TFLite distribution; default the fastest")
    args = parser.parse_args()
    for model in args.model:
        found: dict[float, Scores] = {}
        with tempfile.TemporaryDirectory() as folder:
            for share in args.share:
                path = with_share(model, share, Path(folder))
                found[share] = measure(args.songs, path, args.runtime, args.seconds)
                print(f"mono: {model}, {share:g}", file=sys.stderr, flush=True)
        first = found[args.share[0]]
        for share, scores in found.items():
            print(line(model, share, scores, first))
        for name in first:
            cells = " ".join(f"{s[name][1]:7.2f}" for s in found.values())
            print(f"{name:20s}{cells}", flush=True)


if __name__ == "__main__":
    main()
