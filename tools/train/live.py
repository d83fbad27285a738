"""Train the `live` net from nothing on band lessons (tools/nets/bands.py).

    python -m tools.train.live RUN --lessons LIVE_LESSONS --dev DEV --minutes 60

    python -m tools.train.live RUN2 ... --start RUN/best.pt (or models/live.pt)
    python -m tools.train.live RUN3 --pool POOL --taught-by models/karaoke.pt --dev DEV

The last makes its lessons as it goes (tools/teach/fresh.py).

It learns the true vocals where they are known and the teacher's everywhere, both as
masks of the bands that the engine's short-delay windows give.  Levels are spread
widely: the engine feeds this net the stream as it is.  RUN/state.pt is written at
every evaluation and taken up again; RUN/log.jsonl plots; RUN/best.pt is the averaged
net with the best mean instrumental SDR over the dev songs so far.
"""

from __future__ import annotations

import argparse
import math
import operator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.nets import bands
from tools.nets.spectrum import N_FFT, compress, vocals_spectrum
from tools.nets.streamnet import CHANNELS, StreamNet, channels_of
from tools.pool import songs as dev_songs
from tools.teach.fresh import add_fresh, checked, lessons
from tools.train.run import (
    Run,
    add_arguments,
    autocast,
    equaliser,
    overlay_gain,
    overlay_weight,
)

LEVEL_SPREAD_DB = 7.0  # around the lessons' -21 dBFS
WIDTH = torch.from_numpy(bands.WIDTHS).float()
N_BINS = N_FFT // 2
CENTRES = torch.from_numpy(bands.WIDTHS).cumsum(0) - 1
WEIGHT_DECAY = 0.01
SOFT_POWER = 0.3  # of a band's power, for the term that hears quiet bands


def overlay(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Lay the second half of a batch over the first, as `tools.train.karaoke.overlay`
    does.

    The bands hold powers only, so the two parts meet at random phases, which count
    the less the more bins a band has.
    """
    magnitude, taught, true, weight = batch
    n = len(magnitude) // 2
    gain = overlay_gain(n).view(n, 1, 1, 1)
    one, other = magnitude[:n], gain * magnitude[n:]
    phase = torch.cos(2 * math.pi * torch.rand_like(one)) / WIDTH.sqrt()
    power = one**2 + other**2
    mixed = (power + 2 * one * other * phase).clamp(min=0.02 * power).sqrt()
    share = (one**2 / (power + 1e-9))[:, :2]
    masks = (share * m[:n] + (1 - share) * m[n:] for m in (taught, true))
    level = (1 + gain**2).rsqrt()
    return mixed * level, *masks, overlay_weight(gain, weight)


def losses(
    net: StreamNet, batch: tuple[Tensor, ...]
) -> tuple[Tensor, dict[str, float]]:
    """Energy of the error as a share of the mixture's, and a soft term."""
    magnitude, taught, true, weight = batch
    gain = 10 ** (LEVEL_SPREAD_DB * torch.randn(len(magnitude), 1, 1, 1) / 20)
    # A band keeps its place in the equaliser's octaves well enough by its centre.
    gain = gain * equaliser(len(magnitude), N_BINS)[:, None, None, CENTRES]
    features = compress(magnitude * gain, bands.POWER)
    features = features.contiguous(memory_format=torch.channels_last)
    with autocast():
        logits = net(features)
    mask = torch.sigmoid(logits.float())
    power = magnitude[:, :2].pow(2)
    energy = power * WIDTH
    energy = energy / (energy.mean((1, 2, 3), keepdim=True) + 1e-3)
    soft = WIDTH.sqrt() * (power + 1e-6) ** SOFT_POWER
    soft = soft / soft.mean((1, 2, 3), keepdim=True)

    def distance(target: Tensor) -> Tensor:
        error = mask - target
        each = 3 * energy * error.pow(2) + soft * error.abs()
        return each.mean((1, 2, 3))

    distill = distance(taught)
    truth = distance(true.clamp(0, 1))
    loss = ((1 - 0.5 * weight) * distill + weight * truth).mean()
    known = weight > 0
    parts = {"distill": distill.mean().item()}
    if known.any():
        parts["truth"] = truth[known].mean().item()
    return loss, parts


@torch.no_grad()
def live_vocals(net: StreamNet, mixture: np.ndarray, n_synthesis: int) -> np.ndarray:
    """Vocals of a whole song at its own level, each sample at its place."""
    analysis, synthesis = bands.window_pair(n_synthesis)
    x, _ = bands.padded(mixture, n_synthesis)
    X = bands.transform(x, analysis)
    features = compress(bands.magnitudes(X[None]), bands.POWER)
    mask = torch.sigmoid(net(features.contiguous(memory_format=torch.channels_last)))
    masks = bands.expand(mask[0])
    V = vocals_spectrum(masks, X, past_s=bands.PAST_S, n_heard=N_BINS)
    return bands.overlap_add(V, synthesis, len(mixture))


class DevSet:
    """Instrumental SDR of a net over the dev songs."""

    def __init__(self, root: Path, n_synthesis: int) -> None:
        self.n_synthesis = n_synthesis
        self.songs = [(s.name, *dev_songs.load(s)) for s in dev_songs.find(root)]

    def __call__(self, net: StreamNet) -> dict[str, float]:
        net.eval()
        out = {}
        for name, vocals, instrumental in self.songs:
            mixture = vocals + instrumental
            rest = mixture - live_vocals(net, mixture, self.n_synthesis)
            out[name] = dev_songs.sdr(instrumental, rest)
        net.train()
        return out


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--lessons", type=Path, help="of tools.nets.bands")
    add_fresh(parser)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from")
    parser.add_argument(
        "--channels", type=int, nargs=len(CHANNELS), metavar="N",
        help="of the levels and the bottom; may be more than those of --start",
    )  # fmt: skip
    parser.add_argument("--synthesis", type=int, default=bands.SYNTHESIS)
    add_arguments(parser, rate=2e-3)
    return checked(parser)


class LiveRun(Run):
    """A run from nothing, or from a checkpoint."""

    keep = 0.998

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        start = args.start and torch.load(args.start, weights_only=True)["net"]
        least = channels_of(start) if start else ()
        channels = args.channels or least or CHANNELS
        if any(map(operator.lt, channels, least)):
            raise SystemExit(
                "train_live: --channels: a net can grow, not shrink; "
                f"{args.start} has {' '.join(map(str, least))}"
            )
        net, average = StreamNet(channels), StreamNet(channels)
        if start:
            net.load(start)
        average.load(net.state_dict())
        net = net.to(memory_format=torch.channels_last)
        decay = {"weight_decay": WEIGHT_DECAY}
        super().__init__(
            args, net, average, torch.optim.AdamW(net.parameters(), **decay)
        )
        self.dev = DevSet(args.dev, args.synthesis)
        self.analysis, _ = bands.window_pair(args.synthesis)

    def losses(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, float]]:
        if self.args.lessons is not None:
            return losses(self.net, overlay(batch))
        samples, weight = bands.laid_over(batch)
        return losses(self.net, (*bands.seen(samples, self.analysis), weight))

    def evaluate(self) -> None:
        scores = self.dev(self.average)
        mean = float(np.mean(list(scores.values())))
        self.write(
            {"mean": round(mean, 3)} | {k: round(v, 2) for k, v in scores.items()}
        )
        if mean > self.state["best"]:
            self.state["best"] = mean
            torch.save({"net": self.average.state_dict()}, self.args.run / "best.pt")
        self.save()


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    args.run.mkdir(parents=True, exist_ok=True)
    LiveRun(args).follow(lambda seed: lessons(args, seed, bands.BandLessons))


if __name__ == "__main__":
    main()
