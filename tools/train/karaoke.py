"""Train the karaoke U-net on lessons: mixtures with the teacher's answers.

    python -m tools.train.karaoke RUN --lessons LESSONS --teacher spleeter.npz --dev DEV

    python -m tools.train.karaoke RUN2 ... --start RUN/best.pt --minutes 60 --rate 1e-4

The student starts as Spleeter's vocals net, or as the checkpoint `--start`, and is
trained to give the teacher's two-net ratio mask (with `--masks` the one that several
nets agree on) on every mixture, and the true stem where there is one
(`tools.teach.lessons` holds both, brought to about -21 dBFS RMS).  The
exponent that compresses its features and LeakyReLU's slope glide from where they
are to `--power` and `--slope`.  RUN/state.pt is written every few minutes and taken
up again; RUN/log.jsonl plots; RUN/best.pt is the averaged student with the best
mean instrumental SDR over the dev songs so far.  With `--int8` every activation and
kernel is rounded as in the exported graph.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tools.export.calibrate import calibrate, pool_features
from tools.export.quantise import FakeQuant
from tools.export.tflite_writer import Quant
from tools.judge.blocks import DevSet, features_of_spectrum
from tools.nets.checkpoint import kind_of, load_net
from tools.nets.spectrum import (
    N_BINS,
    stft,
)
from tools.nets.unet import Teacher, UNet
from tools.teach.fresh import add_fresh, checked, lessons
from tools.teach.lessons import Lessons
from tools.train.run import (
    Run,
    add_arguments,
    autocast,
    equaliser,
    overlay_gain,
    overlay_weight,
)

GLIDE = 0.6  # share of the run in which the exponent and the slope glide
LEVEL_SPREAD_DB = 2.0  # so that the student does not hang on the level


def overlay(
    X: Tensor, V: Tensor, taught: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lay the second half of a batch over the first, at random levels.

    The teacher is not asked about the sum: it answered for either part, where its
    task was easier, and its two answers add up.  So lessons on disk become as many
    mixtures as there are pairs of them.
    """
    n = len(X) // 2
    gain = overlay_gain(n).view(n, 1, 1, 1)
    level = (1 + gain**2).rsqrt()  # both halves come at one level
    sung, played = taught * X, (1 - taught) * X
    sung, played = (y[:n] + gain * y[n:] for y in (sung, played))
    sung, played = sung.abs(), played.abs()
    mask = torch.where(gain > 0, sung / (sung + played + 1e-6), taught[:n])
    X, V = ((y[:n] + gain * y[n:]) * level for y in (X, V))
    return X, V, mask, overlay_weight(gain, weight)


def distance_loss(distance: Tensor, magnitude: Tensor) -> Tensor:
    """How far a mask is off, squared: what is best in doubt is the mean mask.

    With magnitudes of distances beside it (the mask's median) every run fell behind
    its start (EXPERIMENTS.md, seventh campaign).  Energy makes the SDR; the magnitude
    keeps quiet bins in sight.  The distance may be that of the last frames only; how
    loud they are is measured against all frames of `magnitude`.
    """
    n_frames = distance.shape[2]

    def relative(x: Tensor) -> Tensor:
        return x[:, :, -n_frames:] / (x.mean((1, 2, 3), keepdim=True) + 1e-3)

    weights = 3 * relative(magnitude.pow(2)) + 0.5 * relative(magnitude)
    return (weights * distance.pow(2)).mean()


def losses(
    net: UNet, batch: tuple[Tensor, ...], true_weight: float
) -> tuple[Tensor, dict[str, float]]:
    mixture, vocals, target, weight = batch
    X, V = (stft(a)[..., :N_BINS] for a in (mixture, vocals))
    X, V, taught, weight = overlay(X, V, target / 255, weight)
    gain = 10 ** (LEVEL_SPREAD_DB * torch.randn(len(X), 1, 1, 1) / 20)
    gain = gain * equaliser(len(X), N_BINS)[:, None, None]
    X, V = X * gain, V * gain
    magnitude = X.abs().contiguous(memory_format=torch.channels_last)
    features = features_of_spectrum(X, net)
    with autocast():
        logits = net(features)
    mask = torch.sigmoid(logits.float())
    mean = magnitude.mean((1, 2, 3), keepdim=True) + 1e-3
    distill = distance_loss(mask - taught, magnitude)
    error = (mask * X - V).abs() / mean
    truth = (error.mean((1, 2, 3)) * weight).mean()
    parts = {"distill": distill.item(), "truth": truth.item()}
    return distill + true_weight * truth, parts


def make_optimiser(net: UNet) -> torch.optim.Optimizer:
    """AdamW with a third of the rate for the deep levels.

    They hold nearly all weights, and what they inherited is worth more than what
    our mixtures can teach them: Adam moves each by its rate, signal or not.
    """
    shallow = [*net.enc_w[:2], *net.enc_b[:2], *net.dec_w[4:], *net.dec_b[4:]]
    shallow += [net.mask_w, net.mask_b]
    known = {id(p) for p in shallow}
    deep = [p for p in net.parameters() if id(p) not in known]
    groups = [{"params": shallow, "share": 1.0}, {"params": deep, "share": 1 / 3}]
    return torch.optim.AdamW(groups, weight_decay=0.0)


def parse_arguments(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--lessons", type=Path)
    parser.add_argument("--masks", type=Path, help="of tools.teach.ensemble")
    add_fresh(parser)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="a checkpoint instead of Spleeter")
    parser.add_argument("--int8", action="store_true", help="fake quantisation")
    parser.add_argument("--power", type=float, help="exponent at the end")
    parser.add_argument("--slope", type=float, help="of LeakyReLU at the end")
    parser.add_argument("--true-weight", type=float, default=0.0)
    add_arguments(parser, rate=3e-4)
    return checked(parser)


class KaraokeRun(Run):
    """A run whose exponent or slope glides, perhaps with fake quantisation."""

    row: int | None = None  # the only frame whose mask is used

    def __init__(self, args: argparse.Namespace) -> None:
        weights = dict(np.load(args.teacher))
        self.teachers = (Teacher(weights, "vocals"), Teacher(weights, "accompaniment"))
        self.quants: dict[str, Quant] | None = None
        if args.start is None:
            net = UNet()
            net.load_teacher(weights)
        else:
            net, self.quants = load_net(args.start)
            if not args.int8:
                self.quants = None
            elif self.quants is None and not (args.run / "state.pt").exists():
                self.quants = calibrate(net, self.calibration(net), self.row)
        self.ends = {
            name: (start, start if end is None else end)
            for name, start, end in (
                ("power", net.power, args.power),
                ("slope", net.slope, args.slope),
            )
        }
        average = copy.deepcopy(net)
        net = net.to(memory_format=torch.channels_last)
        super().__init__(args, net, average, make_optimiser(net))
        if self.quants is not None:
            self.net.tap = self.average.tap = FakeQuant(self.quants)
        self.dev = self.make_dev()
        print(json.dumps({"teacher": self.dev.teacher}), file=self.log)

    def calibration(self, net: UNet) -> list[Tensor]:
        """Features to choose int8 grids on, for --int8."""
        return pool_features(net, self.args.pool)

    def make_dev(self) -> DevSet:
        return DevSet(self.args.dev, self.teachers)

    def restore(self, data: dict[str, Any]) -> None:
        super().restore(data)
        if data.get("quants"):
            self.quants = {k: Quant(*v) for k, v in data["quants"].items()}

    def data(self) -> dict[str, Any]:
        return super().data() | {"quants": self._plain_quants()}

    def _plain_quants(self) -> dict[str, tuple[float, int]] | None:
        if self.quants is None:
            return None
        return {k: (q.scale, q.zero_point) for k, q in self.quants.items()}

    def glide(self) -> bool:
        """Set exponent and slope as the progress has them; return whether they rest."""
        done = min(1.0, self.progress / GLIDE)
        for net in (self.net, self.average):
            for name, (start, end) in self.ends.items():
                setattr(net, name, start + (end - start) * done)
        return done == 1.0 or all(start == end for start, end in self.ends.values())

    def rate(self, group: dict[str, Any]) -> float:
        return super().rate(group) * group["share"]

    def losses(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, float]]:
        self.glide()
        return losses(self.net, batch, self.args.true_weight)

    def evaluate(self) -> None:
        is_settled = self.glide()
        scores = self.dev(self.average)
        against = {k: round(v - self.dev.teacher[k], 2) for k, v in scores.items()}
        mean = float(np.mean(list(against.values())))
        ends = {"power": self.average.power, "slope": self.average.slope}
        self.write({"mean": round(mean, 3), "against": against} | ends)
        if is_settled and mean > self.state["best"]:
            self.state["best"] = mean
            best = {"net": self.average.state_dict(), **kind_of(self.average)}
            if self.quants is not None:
                best["quants"] = self._plain_quants()
            torch.save(best, self.args.run / "best.pt")
        self.save()


def main(kind: type[KaraokeRun], description: str | None) -> None:
    args = parse_arguments(description)
    torch.set_num_threads(args.threads)
    args.run.mkdir(parents=True, exist_ok=True)
    run = kind(args)
    if run.state["steps"] == 0:
        run.evaluate()
    run.follow(
        lambda seed: lessons(args, seed, lambda *a: Lessons(*a, masks=args.masks))
    )


if __name__ == "__main__":
    main(KaraokeRun, __doc__)
