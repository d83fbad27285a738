"""What both training loops share: schedule, augmentation, checkpoints, averaging."""

from __future__ import annotations

import argparse
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tools.teach.lessons import Lessons

OVERLAY_SHARE, OVERLAY_DB = 0.4, (-14.0, 3.0)  # another lesson laid over one
EQUALISER_DB, N_KNOTS = 4.0, 6


def autocast() -> torch.autocast:
    """Convolve in bfloat16 where the processor can; elsewhere that takes many times
    as long as float32."""
    has_bfloat16 = (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )
    return torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16)


def learning_rate(progress: float, peak: float) -> float:
    """A short rise, then half a cosine; progress is 0 to 1."""
    warm = min(1.0, progress / 0.02)
    return peak * warm * max(0.02, 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def overlay_gain(n: int) -> Tensor:
    """Amplitude of the other lesson for each of n examples, 0 where it stays out."""
    gain = 10 ** (torch.empty(n).uniform_(*OVERLAY_DB) / 20)
    return gain * (torch.rand(n) < OVERLAY_SHARE)


def overlay_weight(gain: Tensor, weight: Tensor) -> Tensor:
    """How far the truth of the sum is known: as far as that of its lesser part."""
    one, other = weight.chunk(2)
    return torch.where(gain.view(len(one)) > 0, torch.minimum(one, other), one)


def equaliser(n: int, n_bins: int) -> Tensor:
    """Smooth random gain over the bins, (n, n_bins); half of them flat."""
    octaves = torch.log2(torch.linspace(1, n_bins, n_bins)) / math.log2(n_bins)
    at = octaves * (N_KNOTS - 1)
    low = at.floor().clamp(max=N_KNOTS - 2).long()
    knots = torch.empty(n, N_KNOTS).uniform_(-EQUALISER_DB, EQUALISER_DB)
    knots = knots * (torch.rand(n, 1) < 0.5)
    share = at - low
    return 10 ** ((knots[:, low] * (1 - share) + knots[:, low + 1] * share) / 20)


def add_arguments(parser: argparse.ArgumentParser, rate: float) -> None:
    """The arguments of every run."""
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--accumulate", type=int, default=1, help="batches an update")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--eval-minutes", type=float, default=8.0)


class Run(ABC):
    """One training run: the net, its running average, and what is on disk.

    RUN/state.pt holds all that a run needs to go on, RUN/log.jsonl one line for
    every evaluation.
    """

    keep = 0.999  # how slowly the average follows, once there were many updates

    def __init__(
        self,
        args: argparse.Namespace,
        net: nn.Module,
        average: nn.Module,
        optimiser: torch.optim.Optimizer,
    ) -> None:
        self.args, self.net, self.average = args, net, average
        self.optimiser = optimiser
        self.state = {"elapsed": 0.0, "steps": 0, "seen": 0.0, "best": -99.0}
        self.running: dict[str, float] = {}
        self.path = args.run / "state.pt"
        if self.path.exists():
            self.restore(torch.load(self.path, weights_only=True))
        torch.manual_seed(args.seed + int(self.state["steps"]))
        self.log = (args.run / "log.jsonl").open("a", buffering=1)

    @property
    def progress(self) -> float:
        return self.state["elapsed"] / (self.args.minutes * 60)

    def data(self) -> dict[str, Any]:
        """What state.pt holds."""
        parts = {k: getattr(self, k) for k in ("net", "average", "optimiser")}
        return {k: v.state_dict() for k, v in parts.items()} | {"state": self.state}

    def restore(self, data: dict[str, Any]) -> None:
        for key in ("net", "average", "optimiser"):
            getattr(self, key).load_state_dict(data[key])
        self.state = data["state"]

    def save(self) -> None:
        part = self.path.with_suffix(".part")
        torch.save(self.data(), part)
        part.rename(self.path)

    def write(self, entry: dict[str, Any]) -> None:
        """One line of the log: how far the run is, then `entry`."""
        seen = {k: round(v, 4) for k, v in {**self.state, **self.running}.items()}
        print(json.dumps(seen | entry), file=self.log)

    @abstractmethod
    def losses(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, and its parts for the log."""

    @abstractmethod
    def evaluate(self) -> None:
        """Measure the average on the dev songs, log it, keep the best, save."""

    def rate(self, group: dict[str, Any]) -> float:
        return learning_rate(self.progress, self.args.rate)

    def step(self, batch: tuple[Tensor, ...], seconds: float) -> None:
        """Learn from a batch of so many seconds."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(group)
        loss, parts = self.losses(batch)
        (loss / self.args.accumulate).backward()
        self.state["steps"] += 1
        self.state["seen"] += seconds
        for key, value in {"loss": loss.item(), **parts}.items():
            self.running[key] = 0.98 * self.running.get(key, value) + 0.02 * value
        if self.state["steps"] % self.args.accumulate == 0:
            nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            self._follow(self.state["steps"] // self.args.accumulate)

    @torch.no_grad()
    def _follow(self, n: int) -> None:
        new, decay = self.net.state_dict(), min(self.keep, (n + 1) / (n + 10))
        for key, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(new[key], 1 - decay)

    def follow(self, lessons: Callable[[int], Lessons]) -> None:
        """Take steps until the run is over; evaluate now and then, and at the end.

        `lessons` gives those of a seed.
        """
        args = self.args
        data = lessons(args.seed + int(self.state["steps"]))
        loader = iter(torch.utils.data.DataLoader(data, batch_size=None, num_workers=1))
        last = self.state["elapsed"]
        while self.progress < 1:
            start = time.monotonic()
            batch = next(loader)
            self.step(batch, data.seconds(batch))
            self.state["elapsed"] += time.monotonic() - start
            if self.state["elapsed"] - last > args.eval_minutes * 60:
                last = self.state["elapsed"]
                self.evaluate()
        self.evaluate()
