"""Choose the int8 grids of a karaoke U-net on training mixtures."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tools import bands, stage
from tools.blocks import features_of
from tools.mixtures import Mixtures
from tools.quantise import Observer, equalise, part_quants
from tools.spectrum import HOP, loudness_gain
from tools.tflite_writer import Quant
from tools.unet import UNet

N_BATCHES = 16
N_FRAMES = 128
STAGE_ENDS = [70, 86, 102, 118]  # frames of a mixture that end a window


def pool_features(net: UNet, pool: Path) -> list[Tensor]:
    """Features of mixtures, each at the model's level."""
    return [features_of(x * loudness_gain(x), net) for x in pool_mixtures(pool)]


def stage_features(net: UNet, pool: Path) -> list[Tensor]:
    """Features of windows of mixtures, as each of the models of tools/stage.py hears.

    One set of grids serves all of them.
    """
    out = []
    for mixture in pool_mixtures(pool):
        for hop in stage.HOPS.values():
            analysis, _ = bands.window_pair(2 * hop, hop)
            ends = [end * HOP // hop for end in STAGE_ENDS]
            for x in mixture:
                X = bands.transform(x, analysis, hop)
                gain = stage.gains(x, ends, hop).view(-1, 1, 1, 1)
                inside = stage.windows(X, ends, hop) * gain
                out.append(stage.features_of_windows(net, inside))
    return out


def pool_mixtures(pool: Path) -> list[Tensor]:
    batches = iter(Mixtures(pool, 12345, (N_FRAMES,)))
    return [torch.from_numpy(next(batches)[0]) for _ in range(N_BATCHES)]


@torch.no_grad()
def calibrate(
    net: UNet, features: list[Tensor], row: int | None = None
) -> dict[str, Quant]:
    """Equalise the net's channels and choose int8 grids on features."""
    for is_equalised in (False, True):
        observer = net.tap = Observer()
        for x in features:
            net(x, row)
        if not is_equalised:
            equalise(net, observer.ranges)
    quants = observer.quants()
    return quants | part_quants(quants, net.n_wide, net.slope)
