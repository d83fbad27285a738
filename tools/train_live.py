"""Train the live net from nothing, on band lessons.

    python -m tools.train_live RUN --lessons LIVE_LESSONS --dev DEV --minutes 60

It learns the teacher's mask on every mixture and the true stem where there is one,
at levels from -41 to -9 dBFS, as nothing normalises a live input.  Whole excerpts
go through at once; the left padding is what a stream's empty states are.
RUN/state.pt is taken up again; RUN/log.jsonl plots; RUN/best.pt is the averaged
net with the best mean instrumental SDR over the dev songs.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools import songs as dev_songs
from tools.bands import (
    SYNTHESIS,
    WIDTHS,
    BandLessons,
    expand,
    magnitudes,
    transform,
    window_pair,
)
from tools.spectrum import HOP, N_FFT, compress
from tools.streamnet import StreamNet

POWER = 0.3  # of the compression
LEVEL_DB = (-20.0, 12.0)  # around the lessons' -21 dBFS
SKIPPED = 16  # frames at the start, where the net has heard nothing yet


@torch.no_grad()
def vocals_of(net: StreamNet, mixture: np.ndarray, n_synthesis: int) -> np.ndarray:
    """Separate as the engine does: (n_samples, 2) -> vocals of the same shape."""
    analysis, synthesis = window_pair(n_synthesis)
    n = len(mixture)
    n_frames = math.ceil((n + N_FFT - HOP) / HOP)
    x = torch.from_numpy(np.ascontiguousarray(mixture.T))
    x = torch.nn.functional.pad(x, (N_FFT - HOP, n_frames * HOP - n))
    X = transform(x, analysis)[None]
    features = compress(magnitudes(X), POWER)
    mask = torch.sigmoid(net(features.contiguous(memory_format=torch.channels_last)))
    frames = torch.fft.irfft(expand(mask)[0] * X[0]) * synthesis
    total = (n_frames - 1) * HOP + N_FFT
    y = torch.nn.functional.fold(
        frames.transpose(1, 2), (1, total), (1, N_FFT), stride=(1, HOP)
    )
    return y[:, 0, 0, N_FFT - HOP :][:, :n].T.numpy()


def dev_scores(net: StreamNet, root: Path, n_synthesis: int) -> dict[str, float]:
    """Instrumental SDR of every dev song."""
    net.eval()
    scores = {}
    for song in dev_songs.find(root):
        vocals, instrumental = dev_songs.load(song)
        mixture = vocals + instrumental
        rest = mixture - vocals_of(net, mixture, n_synthesis)
        scores[song.name] = dev_songs.sdr(instrumental, rest)
    return scores


def losses(
    net: StreamNet, batch: list[Tensor], true_weight: float
) -> tuple[Tensor, dict[str, float]]:
    magnitude, taught, true, rest, weight = batch
    low, high = LEVEL_DB
    level = low + (high - low) * torch.rand(len(magnitude), 1, 1, 1)
    features = compress(magnitude * 10 ** (level / 20), POWER)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(features.contiguous(memory_format=torch.channels_last))
    mask = torch.sigmoid(logits.float())[:, :, SKIPPED:]
    # Wide bands hold the energy of all their bins.
    width = torch.from_numpy(np.sqrt(WIDTHS).astype(np.float32))
    M = (magnitude[:, :2, SKIPPED:] * width).contiguous()
    taught, true = taught[:, :, SKIPPED:], true[:, :, SKIPPED:]
    rest = rest[:, :, SKIPPED:] * width
    mean = M.mean((1, 2, 3), keepdim=True) + 1e-3
    soft = M**0.6
    emphasis = M / mean + soft / (soft.mean((1, 2, 3), keepdim=True) + 1e-3)
    distill = (emphasis * (mask - taught).abs()).mean()
    error = ((M * (mask - true)) ** 2 + rest**2 + 1e-8).sqrt() / mean
    truth = (error.mean((1, 2, 3)) * weight).mean()
    parts = {"distill": distill.item(), "truth": truth.item()}
    return distill + true_weight * truth, parts


class Run:
    """One training run: the net, its average, and what is on disk."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        torch.manual_seed(args.seed)
        self.net = StreamNet()
        if args.start:
            saved = torch.load(args.start, weights_only=True)
            self.net.load_state_dict({k: v.float() for k, v in saved["net"].items()})
        self.net = self.net.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), weight_decay=1e-2)
        self.state = {"elapsed": 0.0, "steps": 0, "seen": 0.0, "best": -99.0}
        self.running: dict[str, float] = {}
        if (args.run / "state.pt").exists():
            saved = torch.load(args.run / "state.pt", weights_only=True)
            self.net.load_state_dict(saved["net"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.state = saved["state"]
        self.log = (args.run / "log.jsonl").open("a", buffering=1)

    @property
    def progress(self) -> float:
        return self.state["elapsed"] / (self.args.minutes * 60)

    def evaluate(self) -> None:
        scores = dev_scores(self.average, self.args.dev, self.args.synthesis)
        mean = float(np.mean(list(scores.values())))
        entry = {k: round(v, 4) for k, v in {**self.state, **self.running}.items()}
        scores = {k: round(float(v), 2) for k, v in scores.items()}
        print(json.dumps(entry | {"mean": round(mean, 3)} | scores), file=self.log)
        if mean > self.state["best"]:
            self.state["best"] = mean
            torch.save({"net": self.average.state_dict()}, self.args.run / "best.pt")
        part = self.args.run / "state.part"
        data = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "state": self.state,
        }
        torch.save(data, part)
        part.rename(part.with_suffix(".pt"))

    def step(self, batch: list[Tensor]) -> None:
        warm = min(1.0, (self.state["steps"] + 1) / 100)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress)))
        for group in self.optimiser.param_groups:
            group["lr"] = self.args.rate * warm * max(0.01, cosine)
        self.net.train()
        self.optimiser.zero_grad(set_to_none=True)
        loss, parts = losses(self.net, batch, self.args.true_weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        n = self.state["steps"]
        decay = min(0.998, (n + 1) / (n + 10))
        with torch.no_grad():
            ours = self.net.state_dict()
            for key, a in self.average.state_dict().items():
                if a.is_floating_point():
                    a.lerp_(ours[key], 1 - decay)
        for key, value in {"loss": loss.item(), **parts}.items():
            self.running[key] = 0.98 * self.running.get(key, value) + 0.02 * value
        self.state["steps"] += 1
        self.state["seen"] += batch[0].shape[0] * batch[0].shape[2] * HOP / 44100


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--lessons", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--true-weight", type=float, default=0.3)
    parser.add_argument("--synthesis", type=int, default=SYNTHESIS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--eval-minutes", type=float, default=10.0)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    args.run.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    data = BandLessons(args.lessons, args.seed + int(run.state["steps"]))
    loader = iter(torch.utils.data.DataLoader(data, batch_size=None, num_workers=1))
    last = run.state["elapsed"]
    while run.progress < 1:
        start = time.monotonic()
        run.step(next(loader))
        run.state["elapsed"] += time.monotonic() - start
        if run.state["elapsed"] - last > args.eval_minutes * 60:
            last = run.state["elapsed"]
            run.evaluate()
    run.evaluate()


if __name__ == "__main__":
    main()
