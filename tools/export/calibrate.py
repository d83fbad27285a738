"""Choose the int8 grids of a U-net: on excerpts, or on training mixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from tools.export.quantise import FakeQuant, Identity, Observer, equalise, group_of
from tools.export.tflite_writer import Quant, quant_for
from tools.judge.blocks import features_of
from tools.nets import bands, stage
from tools.nets.spectrum import HOP, loudness_gain
from tools.nets.unet import UNet
from tools.pool.mixtures import Mixtures

N_BATCHES = 16
N_FRAMES = 128
NARROWER = 0.75  # a step of refine
STAGE_ENDS = [70, 86, 102, 118]  # frames of a mixture that end a window


def pool_features(net: UNet, pool: Path) -> list[Tensor]:
    """Features of mixtures, each at the model's level."""
    return [features_of(x * loudness_gain(x), net) for x in pool_mixtures(pool)]


def stage_features(net: UNet, pool: Path) -> list[Tensor]:
    """Features of windows of mixtures, as each of the models of tools/nets/stage.py
    hears.

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
    net: UNet, hear: Callable[[], Iterable[Tensor]], row: int | None = None
) -> dict[str, Quant]:
    """Equalise the net's channels and choose int8 grids on the features heard."""
    for is_equalised in (False, True):
        observer = net.tap = Observer()
        for x in hear():
            net(x, row)
        if not is_equalised:
            equalise(net, observer.ranges)
    net.tap = Identity()
    return observer.quants()


class Only(FakeQuant):
    """Round the activations of one group, and no kernel."""

    def __init__(self, quants: dict[str, Quant], group: str) -> None:
        super().__init__(quants)
        self.group = group

    def act(self, name: str, x: Tensor) -> Tensor:
        return super().act(name, x) if group_of(name) == self.group else x

    def kernel(self, w: Tensor, axis: int) -> Tensor:
        return w


class MaskError:
    """What rounding does to the masks: the energy it moves, as a share of all."""

    def __init__(self, net: UNet, heard: list[Tensor]) -> None:
        self.net, self.heard = net, heard
        self.masks = [self._mask(x) for x in heard]

    def _mask(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.net(x))

    def __call__(self, quants: dict[str, Quant], group: str) -> float:
        """Mean over excerpts, with only the tensors of one group rounded."""
        self.net.tap = Only(quants, group)
        shares = []
        for x, mask in zip(self.heard, self.masks, strict=True):
            error = (self._mask(x) - mask) * x[:, :2]
            shares.append(float(error.pow(2).sum() / x[:, :2].pow(2).sum()))
        self.net.tap = Identity()
        return sum(shares) / len(shares)


@torch.no_grad()
def refine(
    net: UNet, quants: dict[str, Quant], heard: list[Tensor]
) -> dict[str, Quant]:
    """Narrow each grid, at both ends and at either, as long as masks get better.

    Outliers that no mask depends on are worth no steps: logits end where a mask is 0
    or 1, and the loudest bins of the first levels need not be exact.
    """
    error, out = MaskError(net, heard), dict(quants)
    for group in quants:
        least = first = error(out, group)
        for moved in ((0, 1), (1,), (0,)):
            least = _narrow(error, out, group, moved, least)
        print(f"{group}: {1e4 * first:.3f} to {1e4 * least:.3f} of 10000", flush=True)
    return out


def _narrow(
    error: MaskError,
    quants: dict[str, Quant],
    group: str,
    moved: tuple[int, ...],
    least: float,
) -> float:
    """Move ends of a group's grid in, past one step that does not help."""
    q = quants[group]
    ends = [q.scale * (code - q.zero_point) for code in (-128, 127)]
    n_worse = 0
    while n_worse < 2:
        for i in moved:
            ends[i] *= NARROWER
        tried = quant_for(*ends)
        found = error(quants | {group: tried}, group)
        n_worse += 1
        if found < 0.99 * least:
            least, quants[group], n_worse = found, tried, 0
    return least
