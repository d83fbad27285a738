"""Lessons made as they are needed: mixtures no two alike, and a karaoke net's answers.

A net on disk (models/karaoke.pt) answers in a tenth of the time that the mixture
takes to make, so what learns from lessons (`tools.train.karaoke`, `tools.train.stage`,
`tools.train.live`) need not come back to any of them, nor keep them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from tools.judge.blocks import CALL_LEVELS_DB, features_of_spectrum
from tools.nets.checkpoint import load_model
from tools.nets.spectrum import N_BINS, loudness_gain, stft
from tools.nets.unet import Pair, UNet
from tools.pool.mixtures import Mixtures
from tools.teach.lessons import N_FRAMES, Lessons
from tools.train.run import autocast

N_EXAMPLES = 2  # of a lesson, as on disk


@torch.no_grad()
def taught_mask(mixture: Tensor, net: UNet | Pair) -> Tensor:
    """Mean vocals mask of two views, (batch, 2, N_FRAMES, 1024), as it is deployed.

    They differ in level and by half of the net's 64 frames in where its grid begins.
    """
    X = stft(mixture)[..., :N_BINS]
    masks = torch.zeros(X.shape)
    for shift, level in zip((0, 32), CALL_LEVELS_DB, strict=True):
        gain = loudness_gain(mixture, level).unsqueeze(-1)
        moved = torch.nn.functional.pad(X * gain, (0, 0, shift, shift))
        with autocast():
            logits = net(features_of_spectrum(moved, net))
        masks += torch.sigmoid(logits.float())[:, :, shift : shift + N_FRAMES]
    return masks / 2


class FreshLessons(Mixtures):
    """Endless batches as `Lessons` gives them.

    Each is laid over the one before, and that over it: without bfloat16 a lesson costs
    as much to make as to learn from.
    """

    seconds = staticmethod(Lessons.seconds)

    def __init__(self, pool: Path, seed: int, taught_by: Path) -> None:
        super().__init__(pool, seed, (N_FRAMES,), N_EXAMPLES * N_FRAMES)
        self.net = load_model(taught_by)
        self.net.to(memory_format=torch.channels_last)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        last = None
        for batch in super().__iter__():
            mixture, vocals, weight = map(torch.from_numpy, batch)
            gain = loudness_gain(mixture)
            mixture, vocals = mixture * gain, vocals * gain
            new = mixture, vocals, 255 * taught_mask(mixture, self.net), weight
            if last is not None:
                yield tuple(torch.cat(pair) for pair in zip(new, last, strict=True))
                yield tuple(torch.cat(pair) for pair in zip(last, new, strict=True))
            last = new


def add_fresh(parser: argparse.ArgumentParser) -> None:
    """The arguments of a run that may do without --lessons."""
    parser.add_argument("--pool", type=Path, help="of tools.pool.corpus")
    parser.add_argument("--taught-by", type=Path, help="a karaoke net, for --lessons")


def checked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    args = parser.parse_args()
    if (args.lessons is None) == (args.taught_by is None):
        parser.error("either --lessons or --taught-by")
    if args.taught_by is not None and args.pool is None:
        parser.error("--taught-by asks about mixtures of a --pool")
    return args


def lessons(
    args: argparse.Namespace, seed: int, on_disk: Callable[[Path, int], Lessons]
) -> Lessons | FreshLessons:
    """Fresh lessons with --taught-by, else those on disk."""
    if args.taught_by is not None:
        return FreshLessons(args.pool, seed, args.taught_by)
    return on_disk(args.lessons, seed)
