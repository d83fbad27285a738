"""The page and the pictures of tools.judge.evaluate, from nothing but its figures.

    python -m tools.judge.report PAGE.md RUN.json...

puts several runs of `tools.judge.evaluate --json` over the same songs on one page with
one picture: a system that works through every hop anew takes as long as all others.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from tools.judge import halves
from tools.judge.metrics import BAND_NAMES, EXCERPT_S, HOP, LEVELS_DB, short_spectra

STEMS = ("vocals", "instrumental")


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float, digits: int = 2) -> str:
    if np.isnan(value):
        return "-"
    return f"{round(float(value), digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.00"


def mean(values: list[float]) -> float:
    """Of the numbers among them; NaN when there is none."""
    real = [v for v in values if not np.isnan(v)]
    return float(np.mean(real)) if real else float("nan")


def summary(data: dict) -> str:
    """Means over the songs, with speed and memory beside them."""
    rows = []
    for name, by_song in data["scores"].items():
        figures = [
            mean([s[kind][stem] for s in by_song.values()])
            for kind in ("sdr", "bsseval")
            for stem in (0, 1)
        ]
        left = np.mean([s["left"][0] for s in by_song.values()])
        bass = np.mean([s["kept"][1] for s in by_song.values()])
        foot = data["footprint"].get(name)
        tail = [f"{foot['rtf']:.4f}", f"{foot['peak_mb']:.0f}"] if foot else ["", ""]
        rows.append([name, *map(number, figures), number(left, 1), number(bass), *tail])
    head = ["mean of the songs", "SDR vocals", "SDR instr.", "BSSEval v4 vocals",
            "BSSEval v4 instr.", "vocals left", "bass kept", "RTF", "MB"]  # fmt: skip
    return markdown(head, rows)


def by_song(scores: dict, kind: str, stem: int) -> str:
    names = list(next(iter(scores.values())))
    rows = []
    for system, songs in scores.items():
        values = [songs[n][kind][stem] for n in names]
        rows.append([system, *map(number, [*values, mean(values)])])
    return markdown(["", *names, "mean"], rows)


def by_half(scores: dict) -> str:
    """Our systems against Spleeter: on songs that chose nothing, on those that did."""
    if halves.PEER not in scores:
        return ""
    head = ["", "songs", "vocals minus Spleeter float", "instrumental"]
    return f"""Full-track SDR minus Spleeter's, dB: mean (95 % of the means of songs
drawn anew), songs better, the worst one. Constants were chosen on the songs that chose;
the others are the check:

{markdown(head, halves.rows(scores))}

All songs together:

"""


def by_band(scores: dict, kind: str) -> str:
    rows = []
    for system, songs in scores.items():
        values = np.mean([s[kind] for s in songs.values()], axis=0)
        rows.append([system, *(number(v, 1 + (kind == "kept")) for v in values)])
    return markdown(["", "all", *BAND_NAMES], rows)


def extra_text(extra: dict) -> str:
    """The sections of tools.judge.robustness."""
    levels = [
        [name, *map(number, [*r["mean"], *r["largest change"]])]
        for name, r in extra["loudness"].items()
    ]
    rates = [
        [name, *map(number, [*r["mean"], *r["largest change"]])]
        for name, r in extra["rates"].items()
    ]
    stems = [
        [name, *(number(v, 1) for v in r["no vocals"] + r["a cappella"])]
        for name, r in extra["one stem"].items()
    ]
    heads = [f"{db} dB" for db in LEVELS_DB]
    return f"""
## Level, rate, one stem alone

The middle {EXCERPT_S} s of every song. Instrumental SDR when the same song is played
quieter, and the largest change of any song:

{markdown(["", *heads, "largest change"], levels)}

Instrumental SDR of the same song at two rates:

{markdown(["", "44.1 kHz", "48 kHz", "largest change"], rates)}

A song without vocals (instrumental SDR: what is lost of it; above 25 dB wanted), and
an a cappella (level of it in the instrumental; under -20 dB wanted), mean and worst:

{markdown(["", "no vocals", "worst", "a cappella", "worst"], stems)}
"""


def joined(runs: list[dict]) -> dict:
    """One run's figures from those of several: ours, int8 before float, then others.

    A system that several runs have is the last one's.
    """
    songs = {tuple(by_song) for run in runs for by_song in run["scores"].values()}
    if len(songs) > 1:
        raise SystemExit(f"report: the runs are not of the same songs: {sorted(songs)}")
    scores: dict = {}
    footprint: dict = {}
    extra: dict = {}
    for run in runs:
        scores |= run["scores"]
        footprint |= run["footprint"]
        for section, rows in run["extra"].items():
            extra[section] = in_order(extra.get(section, {}) | rows)
    commands = [command for run in runs for command in run["commands"]]
    return {
        "scores": in_order(scores),
        "footprint": footprint,
        "extra": extra,
        "commands": commands,
    }


def in_order(rows: dict) -> dict:
    """Rows by system: ours first, and of these int8 first."""

    def place(name: str) -> int:
        if not name.startswith("edgestem"):
            return 2
        return int(name.endswith("float"))

    return {name: rows[name] for name in sorted(rows, key=place)}


def page(data: dict, picture: str) -> str:
    scores, commands = data["scores"], data["commands"]
    how = "one run" if len(commands) == 1 else "these runs"
    songs = [
        f"## {stem.capitalize()}, song by song\n\nFull-track SDR, dB:\n\n"
        f"{by_song(scores, 'sdr', i)}\n\nBSSEval v4 (median of 1 s windows), dB:\n\n"
        f"{by_song(scores, 'bsseval', i)}\n"
        for i, stem in enumerate(STEMS)
    ]
    n_songs = len(next(iter(scores.values())))
    return f"""# Evaluation

{n_songs} songs with known stems, every system on the same samples, in {how}:

```text
{chr(10).join(commands)}
```

{by_half(scores)}{summary(data)}

SDR: energy of the true stem over energy of the error, whole track, dB. BSSEval v4:
museval's SDR, median of 1 s windows, dB. Vocals left: level of the vocals in the
instrumental against the true ones, in vocal-active seconds, dB. Bass kept: level of
the instrumental below 120 Hz against the true one, dB. RTF: the network alone, one
thread, per second of audio (Spleeter: its two nets), on a shared machine, so compare
within the table. MB: peak of a process that holds the runtime and that net, or both.

![SDR and leakage by band]({picture})

{chr(10).join(songs)}
## What is left of the vocals in the instrumental, by band

Mean of the songs, dB:

{by_band(scores, "left")}

## What is kept of the instrumental, by band

Mean of the songs, dB; 0 is all of it:

{by_band(scores, "kept")}
{extra_text(data["extra"]) if data["extra"] else ""}"""


def plot(data: dict, path: Path) -> None:
    """Bars of both stems' SDR; lines of leakage by band."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    scores = data["scores"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(15, 4.8))
    at = np.arange(len(scores))
    for i, stem in enumerate(STEMS):
        means = [np.mean([s["sdr"][i] for s in b.values()]) for b in scores.values()]
        left.barh(at + 0.4 * i, means, 0.38, label=stem)
    left.set_yticks(at + 0.2, list(scores))
    left.invert_yaxis()
    left.set_xlabel("full-track SDR, mean of the songs, dB")
    left.legend(loc="lower right", bbox_to_anchor=(1, 0.1))
    right.set_prop_cycle(color=plt.get_cmap("tab20").colors)
    for name, songs in scores.items():
        if name not in ("mixture as it is", "centre cancellation"):
            values = np.mean([s["left"][1:] for s in songs.values()], axis=0)
            right.plot(BAND_NAMES, values, "o-", label=name)
    right.set_ylabel("vocals left in the instrumental, dB")
    right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def spectrograms(
    path: Path, title: str, panels: dict[str, np.ndarray], rate: int = 44100
) -> None:
    """One spectrogram a panel, same colours; signals float32 (n_samples, 2)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(panels), 1, figsize=(11, 11), sharex=True)
    for axis, (name, x) in zip(axes, panels.items(), strict=True):
        power = np.mean(np.abs(short_spectra(x)) ** 2, axis=1).T
        extent = (0, power.shape[1] * HOP / rate, 0, rate / 2000)
        axis.imshow(10 * np.log10(power + 1e-7), origin="lower", aspect="auto",
                    extent=extent, vmin=-50, vmax=40, cmap="magma")  # fmt: skip
        axis.set_ylim(0, 12)
        axis.set_ylabel("kHz")
        axis.set_title(f"{title}: {name}", fontsize=9)
    axes[-1].set_xlabel("s")
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path, help="write this .md and its .png")
    parser.add_argument(
        "runs", type=Path, nargs="+", help="of tools.judge.evaluate --json"
    )
    args = parser.parse_args()
    data = joined([json.loads(path.read_text()) for path in args.runs])
    picture = args.page.with_suffix(".png")
    args.page.write_text(page(data, picture.name))
    plot(data, picture)


if __name__ == "__main__":
    main()
