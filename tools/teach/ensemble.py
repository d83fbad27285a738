"""Masks that several nets agree on, for lessons that only the teacher answered.

    python -m tools.teach.ensemble MASKS --lessons LESSONS --net START.pt --net NET.pt

Every net is asked twice, as the teacher was (`tools.teach.lessons.views`): as the
lesson is, and with its grid moved and its channels swapped.  MASKS/<number>.npy is the
mean of the teacher's two views and of these, uint8 (2, 2, n_frames, 1024) as in the
lesson; `tools.train.karaoke --masks MASKS` learns from it.  What the mean is worth on
real songs: `tools.teach.teacher_views --net`.  Running it again goes on where it
stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from tools.judge.blocks import features_of_spectrum
from tools.nets.checkpoint import load_net
from tools.nets.spectrum import N_BINS, stft
from tools.nets.unet import UNet
from tools.teach.lessons import MARGIN, from_int16, whole
from tools.train.run import autocast

SHIFT = MARGIN // 2  # frames that the second view's grid is moved


def answers(net: UNet, X: Tensor) -> Tensor:
    """Sum of a net's two views of a spectrum (batch, 2, n_frames, 1024)."""
    moved = pad(X, (0, 0, SHIFT, SHIFT)).flip(1)
    with autocast():
        one, other = (net(features_of_spectrum(x, net)) for x in (X, moved))
    other = other[:, :, SHIFT:-SHIFT].flip(1)
    return torch.sigmoid(one.float()) + torch.sigmoid(other.float())


@torch.no_grad()
def agreed_mask(lesson: dict[str, np.ndarray], nets: list[UNet]) -> np.ndarray:
    X = stft(from_int16(lesson["mixture"]))[..., :N_BINS]
    total = 2 * torch.from_numpy(lesson["mask"]).float() / 255
    total = total + sum(answers(net, X) for net in nets)
    mask: Tensor = total / (2 + 2 * len(nets))
    return (mask * 255).round().to(torch.uint8).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("masks", type=Path)
    parser.add_argument("--lessons", type=Path, required=True)
    parser.add_argument("--net", type=Path, action="append", required=True)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.masks.mkdir(parents=True, exist_ok=True)
    nets = [load_net(p)[0].to(memory_format=torch.channels_last) for p in args.net]
    for path in sorted(args.lessons.glob("*.npz")):
        out = args.masks / f"{path.stem}.npy"
        if not out.exists():
            with whole(out) as file:
                np.save(file, agreed_mask(dict(np.load(path)), nets))


if __name__ == "__main__":
    main()
