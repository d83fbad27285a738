"""How good are the stems: a table over songs with known stems, one run.

    python -m tools.evaluate SONGS --model karaoke --teacher spleeter.npz

Full-track SDR in dB (energy of the true stem over energy of the error) of both
stems, for every song found below SONGS (see tools/songs.py for the layouts), at
the songs' natural level.  Rows: this model through the engine, its float
checkpoint, Spleeter 2stems float (both official nets, mask zero above 11 kHz as
published), the same with its mask kept as "the rest" above 11 kHz, the mixture
as it is, centre cancellation, and the ideal ratio mask at the same spectrogram.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import edgestem
from tools import songs, spectrum, train
from tools.checkpoint import load_net
from tools.spleeter import N_BINS
from tools.unet import Teacher

Pair = tuple[np.ndarray, np.ndarray]


def through_engine(model: str, runtime: str | None) -> Callable[[np.ndarray], Pair]:
    separator = edgestem.Separator(44100, 2, model=model, runtime=runtime)

    def run(mixture: np.ndarray) -> Pair:
        separator.reset()
        parts = zip(separator.push(mixture), separator.flush(), strict=True)
        late = separator.latency_samples
        vocals, rest = (np.concatenate(p)[late:] for p in parts)
        return vocals, rest

    return run


def by_mask(
    make: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
) -> Callable[[np.ndarray], Pair]:
    """Estimates from a function (padded samples, X) -> masks of both stems."""

    def run(mixture: np.ndarray) -> Pair:
        x, X = spectrum.song_spectrum(mixture)
        masks = make(x, X)
        vocals, rest = (
            spectrum.overlap_add(m * X, len(mixture)).T.numpy() for m in masks
        )
        return vocals, rest

    return run


def spleeter(path: Path, zeros: bool) -> Callable[[np.ndarray], Pair]:
    weights = dict(np.load(path))
    teachers = (Teacher(weights, "vocals"), Teacher(weights, "accompaniment"))

    def masks(x: torch.Tensor, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        vocals = train.teacher_mask(X, teachers)
        rest = 1 - vocals
        if zeros:
            rest[:, :, N_BINS:] = 0
        return vocals, rest

    return by_mask(masks)


def student(path: Path) -> Callable[[np.ndarray], Pair]:
    net, _ = load_net(path)

    def masks(x: torch.Tensor, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        vocals = train.student_mask(net, x, X, train.P_END)
        return vocals, 1 - vocals

    return by_mask(masks)


def centre_cancellation(mixture: np.ndarray) -> Pair:
    """(L - R) / 2 on both sides: what karaoke boxes did before networks."""
    side = (mixture[:, :1] - mixture[:, 1:]) / 2
    rest = np.repeat(side, 2, axis=1)
    return mixture - rest, rest


def ideal(vocals: np.ndarray, rest: np.ndarray) -> Pair:
    """The ratio mask that knows the stems; a ceiling for any mask of this STFT."""
    V, R = (spectrum.song_spectrum(a)[1] for a in (vocals, rest))
    mask = V.abs() / (V.abs() + R.abs() + 1e-9)
    estimate = spectrum.overlap_add(mask * (V + R), len(vocals)).T.numpy()
    return estimate, vocals + rest - estimate


def table(results: dict[str, dict[str, list[float]]], stem: int) -> str:
    """Markdown: a row a system, a column a song, the mean last."""
    names = list(next(iter(results.values())))
    head = ["", *names, "mean"]
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    for system, scores in results.items():
        values = [scores[n][stem] for n in names]
        cells = [f"{v:.2f}" for v in [*values, float(np.mean(values))]]
        lines.append(" | ".join([system, *cells]))
    return "\n".join(f"| {line} |" for line in lines)


def means(results: dict[str, dict[str, list[float]]]) -> dict[str, object]:
    """What `edgestem info` prints: mean full-track SDR of the first row and peers."""
    n_songs = len(next(iter(results.values())))
    out: dict[str, object] = {"SDR": f"full track, mean of {n_songs} songs, dB"}
    for name, scores in results.items():
        vocals, rest = np.mean(list(scores.values()), axis=0)
        out[name] = f"vocals {vocals:.2f}, instrumental {rest:.2f}"
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("songs", type=Path)
    parser.add_argument("--model", default="karaoke")
    parser.add_argument("--runtime", help="TFLite distribution; default the fastest")
    parser.add_argument("--checkpoint", type=Path, help="its float weights")
    parser.add_argument("--teacher", type=Path, help="spleeter.npz of tools/spleeter")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--sidecar", type=Path, help="put the means into this sidecar")
    args = parser.parse_args()
    systems = {
        f"edgestem {Path(args.model).stem} int8": through_engine(
            args.model, args.runtime
        )
    }
    if args.checkpoint:
        systems["the same, float"] = student(args.checkpoint)
    if args.teacher:
        systems["Spleeter 2stems float"] = spleeter(args.teacher, zeros=True)
        systems["the same, full band"] = spleeter(args.teacher, zeros=False)
    systems["centre cancellation"] = centre_cancellation
    systems["mixture as it is"] = lambda m: (m, m)
    results: dict[str, dict[str, list[float]]] = {}
    with torch.no_grad():
        for song in songs.find(args.songs):
            vocals, rest = songs.load(song)
            mixture = np.ascontiguousarray(vocals + rest)
            estimates = {name: run(mixture) for name, run in systems.items()}
            estimates["ideal ratio mask"] = ideal(vocals, rest)
            for name, (v, i) in estimates.items():
                scores = [songs.sdr(vocals, v), songs.sdr(rest, i)]
                results.setdefault(name, {})[song.name] = scores
    for i, stem in enumerate(("vocals", "instrumental")):
        print(f"\n{stem}: full-track SDR, dB\n\n{table(results, i)}")
    if args.sidecar:
        data = json.loads(args.sidecar.read_text())
        data["figures"] = means(results)
        args.sidecar.write_text(json.dumps(data, indent=1) + "\n")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
