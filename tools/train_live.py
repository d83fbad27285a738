"""Train the `live` net from nothing on band lessons (tools/bands.py).

    python -m tools.train_live RUN --lessons LIVE_LESSONS --dev DEV --minutes 60

It learns the true vocals where they are known and the teacher's everywhere, both as
masks of the bands that the engine's short-delay windows give.  Levels are spread
widely: the engine feeds this net the stream as it is.  RUN/state.pt is written at
every evaluation and taken up again; RUN/log.jsonl plots; RUN/best.pt is the averaged
net with the best mean instrumental SDR over the dev songs so far.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools import bands
from tools import songs as dev_songs
from tools.spectrum import HOP, N_FFT, compress
from tools.streamnet import StreamNet
from tools.train import P_END, equaliser, follow, learning_rate, overlay_gain

LEVEL_SPREAD_DB = 7.0  # around the lessons' -21 dBFS
WIDTH = torch.from_numpy(bands.WIDTHS).float()
N_BINS = N_FFT // 2
CENTRES = torch.from_numpy(bands.WIDTHS).cumsum(0) - 1
WEIGHT_DECAY = 0.01
SOFT_POWER = 0.3  # of a band's power, for the term that hears quiet bands


def overlay(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Lay the second half of a batch over the first, as `tools.train.overlay` does.

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
    known = torch.where(
        gain.view(n) > 0, torch.minimum(weight[:n], weight[n:]), weight[:n]
    )
    level = (1 + gain**2).rsqrt()
    return mixed * level, *masks, known


def losses(
    net: StreamNet, batch: tuple[Tensor, ...]
) -> tuple[Tensor, dict[str, float]]:
    """Energy of the error as a share of the mixture's, and a soft term."""
    magnitude, taught, true, weight = overlay(batch)
    gain = 10 ** (LEVEL_SPREAD_DB * torch.randn(len(magnitude), 1, 1, 1) / 20)
    # A band keeps its place in the equaliser's octaves well enough by its centre.
    gain = gain * equaliser(len(magnitude), N_BINS)[:, None, None, CENTRES]
    features = compress(magnitude * gain, P_END)
    features = features.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
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
    x = torch.from_numpy(np.ascontiguousarray(mixture.T))
    n_frames = -(-(x.shape[1] + n_synthesis - HOP) // HOP)
    behind = n_frames * HOP - x.shape[1]
    X = bands.transform(torch.nn.functional.pad(x, (N_FFT - HOP, behind)), analysis)
    features = compress(bands.magnitudes(X[None]), P_END)
    mask = torch.sigmoid(net(features.contiguous(memory_format=torch.channels_last)))
    frames = torch.fft.irfft(bands.expand(mask[0]) * X)[..., -n_synthesis:]
    total = (n_frames - 1) * HOP + n_synthesis
    out = torch.nn.functional.fold(
        (frames * synthesis).transpose(1, 2),
        (1, total),
        (1, n_synthesis),
        stride=(1, HOP),
    )
    out = out[:, 0, 0, n_synthesis - HOP :][:, : x.shape[1]]
    vocals: np.ndarray = out.T.numpy()
    return vocals


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
    parser.add_argument("--lessons", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--synthesis", type=int, default=bands.SYNTHESIS)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--eval-minutes", type=float, default=8.0)
    return parser.parse_args()


class Run:
    """One training run: the net, its average, and what is on disk."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        torch.manual_seed(args.seed)
        self.net, self.average = StreamNet(), StreamNet()
        self.state = {"elapsed": 0.0, "steps": 0, "seen": 0.0, "best": -99.0}
        if args.start is not None:
            saved = torch.load(args.start, weights_only=True)["net"]
            self.net.load_state_dict({k: v.float() for k, v in saved.items()})
        self.net = self.net.to(memory_format=torch.channels_last)
        self.average.load_state_dict(self.net.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), weight_decay=WEIGHT_DECAY
        )
        self.running: dict[str, float] = {}
        self.path = args.run / "state.pt"
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.net.load_state_dict(saved["net"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.state = saved["state"]
        self.dev = DevSet(args.dev, args.synthesis)
        self.log = (args.run / "log.jsonl").open("a", buffering=1)

    @property
    def progress(self) -> float:
        return self.state["elapsed"] / (self.args.minutes * 60)

    def save(self) -> None:
        data = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "state": self.state,
        }
        torch.save(data, self.path.with_suffix(".part"))
        self.path.with_suffix(".part").rename(self.path)

    def evaluate(self) -> None:
        scores = self.dev(self.average)
        mean = float(np.mean(list(scores.values())))
        entry = {k: round(v, 4) for k, v in {**self.state, **self.running}.items()}
        scores = {k: round(v, 2) for k, v in scores.items()}
        print(json.dumps({**entry, "mean": round(mean, 3), **scores}), file=self.log)
        if mean > self.state["best"]:
            self.state["best"] = mean
            torch.save({"net": self.average.state_dict()}, self.args.run / "best.pt")
        self.save()

    def step(self, batch: tuple[Tensor, ...]) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.progress, self.args.rate)
        self.optimiser.zero_grad(set_to_none=True)
        loss, parts = losses(self.net, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        n = self.state["steps"]
        decay = min(0.998, (n + 1) / (n + 10))
        new, old = self.net.state_dict(), self.average.state_dict()
        for key, value in old.items():
            if value.is_floating_point():
                value.lerp_(new[key], 1 - decay)
        for key, value in {"loss": loss.item(), **parts}.items():
            self.running[key] = 0.98 * self.running.get(key, value) + 0.02 * value
        self.state["steps"] += 1
        self.state["seen"] += len(batch[0]) // 2 * batch[0].shape[2] * HOP / 44100


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    args.run.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    follow(run, bands.BandLessons)


if __name__ == "__main__":
    main()
