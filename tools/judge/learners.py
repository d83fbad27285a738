"""What each learner is worth: the stems of a model without it, on both halves.

    python -m tools.judge.learners SONGS --model live --model stage

A learner is what the engine remembers of a stream besides the network: directions,
the past (repetition) and places (the Wiener filter); see docs/signal.md.  For each
model and half of the songs (tools/judge/halves.py) a row of mean full-track SDR with
all of them, and how far it falls when one, or every one, is left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import edgestem
from edgestem.spectrum.memory import PARTS
from tools.judge.halves import halves
from tools.pool import songs

RATE = 44100
LEFT_OUT = {
    "all learners": (),
    "without directions": ("directions",),
    "without the past": ("repetition",),
    "without places": ("places",),
    "without any": ("directions", "repetition", "places"),
}
Table = dict[str, dict[str, list[float]]]  # what is left out -> song -> both SDRs


def without(separator: edgestem.Separator, names: tuple[str, ...]) -> None:
    """Take learners from a separator; its memory is made anew."""
    memory = separator._memory
    parts = {n: p for n in PARTS if (p := getattr(memory, n)) is not None}
    kept = {n: p for n, p in parts.items() if n not in names}
    separator._memory = separator._spectral.memory(**kept)


def stems(separator: edgestem.Separator, mixture: np.ndarray) -> list[np.ndarray]:
    """Both stems of a song, at their place."""
    separator.reset()
    parts = zip(separator.push(mixture), separator.flush(), strict=True)
    return [np.concatenate(p)[separator.latency_samples :] for p in parts]


def measure(root: Path, model: str, runtime: str | None) -> Table:
    table: Table = {what: {} for what in LEFT_OUT}
    for song in songs.find(root):
        truths = songs.load(song)
        mixture = np.ascontiguousarray(sum(truths))
        for what, names in LEFT_OUT.items():
            separator = edgestem.Separator(RATE, 2, model=model, runtime=runtime)
            without(separator, names)
            pairs = zip(truths, stems(separator, mixture), strict=True)
            table[what][song.name] = [songs.sdr(t, e) for t, e in pairs]
        print(f"learners: {model}, {song.name}", file=sys.stderr, flush=True)
    return table


def lines(model: str, table: Table) -> list[str]:
    """Rows of Markdown: vocals / instrumental, and the worst song's instrumental."""
    whole = table["all learners"]
    found = halves(whole)
    out = []
    for what, by_song in table.items():
        cells = []
        for names in found.values():
            values = np.array([by_song[name] for name in names])
            if what == "all learners":
                cells.append("{:.2f} / {:.2f}".format(*values.mean(0)))
                continue
            fall = values - np.array([whole[name] for name in names])
            mean = "{:+.2f} / {:+.2f}".format(*fall.mean(0))
            cells.append(f"{mean} ({fall[:, 1].min():+.2f} to {fall[:, 1].max():+.2f})")
        out.append(f"| `{model}`, {what} | " + " | ".join(cells) + " |")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("songs", type=Path)
    parser.add_argument("--model", action="append", help="name; repeatable")
    parser.add_argument("--runtime", help="TFLite distribution; default the fastest")
    args = parser.parse_args()
    header = halves(song.name for song in songs.find(args.songs))
    counts = " | ".join(f"{len(names)} that {half}" for half, names in header.items())
    print(f"| vocals / instrumental, dB | {counts} |\n|---|" + "---|" * len(header))
    for model in args.model or ["karaoke"]:
        table = measure(args.songs, model, args.runtime)
        print("\n".join(lines(model, table)), flush=True)


if __name__ == "__main__":
    main()
