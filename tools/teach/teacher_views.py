"""What asking the teacher several times is worth, on the dev songs.

    python -m tools.teach.teacher_views --teacher spleeter.npz --dev DEV --net NET.pt

Spleeter's mask depends on where its grid begins, on the level and on which channel
is which.  Rows: mean full-track SDR of 40 seconds from the middle of every dev song
for one view, for the mean of several, and for that mean softened by an exponent
(`tools.teach.lessons.soften`); the mask goes on above 11 kHz in all of them.  Then
every `--net`, asked twice as well, and what all agree on (`tools.teach.ensemble`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.judge.blocks import TOP, student_mask
from tools.nets.checkpoint import load_net
from tools.nets.spectrum import (
    HOP,
    N_BINS,
    N_FFT,
    loudness_gain,
    overlap_add,
    song_spectrum,
)
from tools.nets.unet import Teacher, UNet, ratio_mask
from tools.pool import songs as dev_songs
from tools.teach.lessons import soften

BLOCK = 512  # frames, as Spleeter takes them
SECONDS = 40
NET_SHIFT = 72  # frames that the grid of a net's second view moves
EXPONENTS = (0.4, 0.5, 0.65, 0.8, 1.25)
# (frames the grid moves, gain, channels swapped)
VIEWS = (
    (0, 1.0, False),
    (32, 1.5, True),
    (128, 0.5, False),
    (300, 2.0, False),
)


def view(
    magnitude: Tensor, teachers: tuple[Teacher, Teacher], how: tuple[int, float, bool]
) -> Tensor:
    """Vocals mask (2, n_frames, 1024) of one view."""
    shift, gain, is_swapped = how
    x = magnitude.flip(0) if is_swapped else magnitude
    n_frames = x.shape[1]
    out = torch.zeros_like(x)
    for start in range(-shift, n_frames, BLOCK):
        first, last = max(start, 0), min(start + BLOCK, n_frames)
        pad = (0, 0, first - start, start + BLOCK - last)
        block = torch.nn.functional.pad(gain * x[:, first:last], pad)[None]
        block = block.contiguous(memory_format=torch.channels_last)
        mask = ratio_mask(*(t(block) for t in teachers))[0]
        out[:, first:last] = mask[:, first - start : last - start]
    return out.flip(0) if is_swapped else out


def net_mask(net: UNet, x: Tensor, X: Tensor) -> Tensor:
    """Mean vocals mask (2, n_frames, 1024) of two views, each of one call a frame."""
    pad = torch.nn.functional.pad
    one = student_mask(net, x, X, 1)
    moved = pad(x, (NET_SHIFT * HOP, 0)).flip(0), pad(X, (0, 0, NET_SHIFT, 0)).flip(0)
    other = student_mask(net, *moved, 1)[:, NET_SHIFT:].flip(0)
    return ((one + other) / 2)[..., :N_BINS]


def scores(mask: Tensor, X: Tensor, vocals: np.ndarray, rest: np.ndarray) -> list:
    """SDR of both stems."""
    top = mask[..., -TOP:].mean(-1, keepdim=True)
    above = top.expand(*mask.shape[:2], N_FFT // 2 + 1 - N_BINS)
    mixture = vocals + rest
    estimate = overlap_add(torch.cat([mask, above], -1) * X, len(mixture)).T.numpy()
    return [dev_songs.sdr(vocals, estimate), dev_songs.sdr(rest, mixture - estimate)]


def middle(song: dev_songs.Song) -> tuple[np.ndarray, np.ndarray]:
    vocals, rest = dev_songs.load(song)
    half, centre = SECONDS * 44100 // 2, len(vocals) // 2
    part = slice(max(0, centre - half), centre + half)
    return vocals[part], rest[part]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--net", type=Path, action="append", default=[])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    nets = {path.stem: load_net(path)[0] for path in args.net}
    torch.set_num_threads(args.threads)
    weights = dict(np.load(args.teacher))
    teachers = (Teacher(weights, "vocals"), Teacher(weights, "accompaniment"))
    results: dict[str, list] = {}
    for song in dev_songs.find(args.dev):
        vocals, rest = middle(song)
        x, X = song_spectrum(vocals + rest)
        masks = {"as published": view(X[..., :N_BINS].abs(), teachers, VIEWS[0])}
        magnitude = X[..., :N_BINS].abs() * float(loudness_gain(x[None]))
        seen = [view(magnitude, teachers, how) for how in VIEWS]
        masks["at -21 dBFS"] = seen[0]
        masks["two views"] = sum(seen[:2]) / 2
        masks["four views"] = sum(seen) / 4
        for e in EXPONENTS:
            masks[f"two views, exponent {e}"] = soften(masks["two views"], e)
        asked = {name: net_mask(net, x, X) for name, net in nets.items()}
        masks |= {f"{name}, two views": mask for name, mask in asked.items()}
        if asked:
            together = [masks["two views"], *asked.values()]
            masks["all of these agreed"] = sum(together) / len(together)
        for name, mask in masks.items():
            results.setdefault(name, []).append(scores(mask, X, vocals, rest))
    print("| view | vocals | instrumental |\n|---|---|---|")
    for name, values in results.items():
        v, i = np.mean(values, axis=0)
        print(f"| {name} | {v:.2f} | {i:.2f} |")


if __name__ == "__main__":
    with torch.no_grad():
        main()
