"""Train the karaoke U-net on lessons: mixtures with the teacher's answers.

    python -m tools.train RUN --lessons LESSONS --teacher spleeter.npz --dev DEV

    python -m tools.train RUN2 ... --start RUN/best.pt --minutes 60 --rate 1e-4

The student starts as Spleeter's vocals net.  While the input exponent glides
from 1 to 0.4 it is trained to give the teacher's two-net ratio mask on every
mixture, and the true stem where there is one (`tools.lessons` holds both, brought
to about -21 dBFS RMS).  RUN/state.pt is written every few minutes and taken up
again; RUN/log.jsonl plots; RUN/best.pt is the averaged student with the best mean
instrumental SDR over the dev songs so far.  With `--start` the exponent stays at
its end and LeakyReLU's slope glides from the checkpoint's to `--slope`; with
`--int8` every activation and kernel is rounded as in the exported graph.
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

from tools import songs as dev_songs
from tools.checkpoint import load_net
from tools.lessons import Lessons, soften
from tools.mixtures import Mixtures
from tools.quantise import FakeQuant, Observer, equalise
from tools.spectrum import (
    HOP,
    N_BINS,
    N_FFT,
    compress,
    loudness_gain,
    overlap_add,
    song_spectrum,
    stft,
)
from tools.tflite_writer import Quant
from tools.training import Run, add_arguments, equaliser, overlay_gain, overlay_weight
from tools.unet import Teacher, UNet, ratio_mask

P_END = 0.4
GLIDE = 0.6  # share of the run in which the exponent, or the slope, glides
LEVEL_SPREAD_DB = 2.0  # so that the student does not hang on the level
BLOCK, CONTEXT = 192, 16  # frames a call, of which context on either side


def features_of(x: Tensor, n_features: int, p: float) -> Tensor:
    """Samples (batch, 2, n) at their level -> (batch, n_features, T, 1024)."""
    return features_of_spectrum(stft(x)[..., :N_BINS], n_features, p)


def features_of_spectrum(X: Tensor, n_features: int, p: float) -> Tensor:
    """Compressed magnitudes of L, R and, as a third, L - R."""
    if n_features == 3:
        X = torch.cat([X, X[:, :1] - X[:, 1:]], 1)
    return compress(X.abs(), p).contiguous(memory_format=torch.channels_last)


# ---- the dev songs ----------------------------------------------------------


def teacher_mask(spectrum: Tensor, teachers: tuple[Teacher, Teacher]) -> Tensor:
    """Spleeter as published: 512 frames a call, level as it is."""
    n_frames = spectrum.shape[1]
    out = torch.zeros(spectrum.shape)
    for start in range(0, n_frames, 512):
        X = spectrum[:, start : start + 512, :N_BINS].abs()
        n = X.shape[1]
        X = torch.nn.functional.pad(X, (0, 0, 0, 512 - n))[None]
        mask = ratio_mask(teachers[0](X), teachers[1](X))[0, :, :n]
        out[:, start : start + n, :N_BINS] = mask
    return out


@torch.no_grad()
def student_mask(
    net: UNet, x: Tensor, spectrum: Tensor, p: float, top: int = 64
) -> Tensor:
    """The engine's block scheme: fixed grid, context, loudness per block."""
    n_frames, step = spectrum.shape[1], BLOCK - 2 * CONTEXT
    out = torch.zeros(spectrum.shape)
    for start in range(0, n_frames, step):
        first, last = start - CONTEXT, start - CONTEXT + BLOCK
        inside = spectrum[:, max(first, 0) : last, :N_BINS]
        pad = (0, 0, max(-first, 0), max(last - n_frames, 0))
        X = torch.nn.functional.pad(inside, pad)
        samples = x[:, max(first, 0) * HOP : last * HOP + N_FFT - HOP]
        X = X * loudness_gain(samples[None])[0]
        feats = features_of_spectrum(X[None], net.n_features, p)
        mask = torch.sigmoid(net(feats))[0, :, CONTEXT:-CONTEXT]
        n = min(step, n_frames - start)
        out[:, start : start + n, :N_BINS] = mask[:, :n]
        out[:, start : start + n, N_BINS:] = mask[:, :n, -top:].mean(-1, keepdim=True)
    return out


class DevSet:
    """Instrumental SDR of a student over the dev songs, beside the teacher's."""

    def __init__(self, root: Path, teachers: tuple[Teacher, Teacher]) -> None:
        self.songs, self.teacher = [], {}
        for song in dev_songs.find(root):
            vocals, instrumental = dev_songs.load(song)
            self.songs.append((song.name, vocals, instrumental))
            mixture = vocals + instrumental
            _, X = song_spectrum(mixture)
            kept = torch.ones(X.shape)
            kept[:, :, N_BINS:] = 0  # "zeros": Spleeter's own mask extension
            rest = (kept - teacher_mask(X, teachers)) * X
            estimate = overlap_add(rest, len(mixture)).T.numpy()
            self.teacher[song.name] = dev_songs.sdr(instrumental, estimate)

    def __call__(self, net: UNet, p: float) -> dict[str, float]:
        out = {}
        for name, vocals, instrumental in self.songs:
            mixture = vocals + instrumental
            x, X = song_spectrum(mixture)
            estimate = overlap_add(student_mask(net, x, X, p) * X, len(mixture))
            rest = mixture - estimate.T.numpy()
            out[name] = dev_songs.sdr(instrumental, rest)
        return out


# ---- training ---------------------------------------------------------------


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


def losses(
    net: UNet, batch: tuple[Tensor, ...], p: float, true_weight: float
) -> tuple[Tensor, dict[str, float]]:
    mixture, vocals, target, weight = batch
    X, V = (stft(a)[..., :N_BINS] for a in (mixture, vocals))
    X, V, taught, weight = overlay(X, V, soften(target / 255), weight)
    gain = 10 ** (LEVEL_SPREAD_DB * torch.randn(len(X), 1, 1, 1) / 20)
    gain = gain * equaliser(len(X), N_BINS)[:, None, None]
    X, V = X * gain, V * gain
    magnitude = X.abs().contiguous(memory_format=torch.channels_last)
    features = features_of_spectrum(X, net.n_features, p)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(features)
    mask = torch.sigmoid(logits.float())
    # Two views of one distance: loud bins make the SDR, compressed ones the ear.
    mean = magnitude.mean((1, 2, 3), keepdim=True) + 1e-3
    loud = magnitude.pow(2)
    loud = loud / (loud.mean((1, 2, 3), keepdim=True) + 1e-3)
    soft = magnitude**0.6
    soft = soft / (soft.mean((1, 2, 3), keepdim=True) + 1e-3)
    distance = mask - taught
    distill = (3 * loud * distance.pow(2) + soft * distance.abs()).mean()
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


def exponent(progress: float) -> float:
    return 1.0 + (P_END - 1.0) * min(1.0, progress / GLIDE)


@torch.no_grad()
def calibrate(net: UNet, pool: Path, n_batches: int) -> dict[str, Quant]:
    """Equalise the net's channels and choose int8 grids on pool mixtures."""
    batches = iter(Mixtures(pool, 12345, (128,)))
    features = []
    for _ in range(n_batches):
        mixture = torch.from_numpy(next(batches)[0])
        mixture = mixture * loudness_gain(mixture)
        features.append(features_of(mixture, net.n_features, P_END))
    for is_equalised in (False, True):
        observer = net.tap = Observer()
        for x in features:
            net(x)
        if not is_equalised:
            equalise(net, observer.ranges)
    return observer.quants()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--lessons", type=Path, required=True)
    parser.add_argument("--pool", type=Path, help="to calibrate on, for --int8")
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="a checkpoint instead of Spleeter")
    parser.add_argument("--int8", action="store_true", help="fake quantisation")
    parser.add_argument("--slope", type=float, help="of LeakyReLU at the end")
    parser.add_argument("--true-weight", type=float, default=0.1)
    add_arguments(parser, rate=3e-4)
    return parser.parse_args()


class KaraokeRun(Run):
    """A run whose exponent or slope glides, perhaps with fake quantisation."""

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
                self.quants = calibrate(net, args.pool, 16)
        self.slopes = (net.slope, net.slope if args.slope is None else args.slope)
        average = copy.deepcopy(net)
        net = net.to(memory_format=torch.channels_last)
        super().__init__(args, net, average, make_optimiser(net))
        if self.quants is not None:
            self.net.tap = self.average.tap = FakeQuant(self.quants)
        self.dev = DevSet(args.dev, self.teachers)
        print(json.dumps({"teacher": self.dev.teacher}), file=self.log)

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

    def glide(self) -> float:
        """Set fade and slope as the progress has them; return the exponent."""
        done = min(1.0, self.progress / GLIDE)
        start, end = self.slopes
        for net in (self.net, self.average):
            net.slope = start + (end - start) * done
            net.fade = 1.0 if self.args.start is not None else done
        return P_END if self.args.start is not None else exponent(self.progress)

    def rate(self, group: dict[str, Any]) -> float:
        return super().rate(group) * group["share"]

    def losses(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, float]]:
        return losses(self.net, batch, self.glide(), self.args.true_weight)

    def evaluate(self) -> None:
        p = self.glide()
        scores = self.dev(self.average, p)
        against = {k: round(v - self.dev.teacher[k], 2) for k, v in scores.items()}
        mean = float(np.mean(list(against.values())))
        self.write({"p": round(p, 3), "mean": round(mean, 3), "against": against})
        is_settled = p == P_END and self.average.slope == self.slopes[1]
        if is_settled and mean > self.state["best"]:
            self.state["best"] = mean
            best = {"net": self.average.state_dict(), "slope": self.slopes[1]}
            if self.quants is not None:
                best["quants"] = self._plain_quants()
            torch.save(best, self.args.run / "best.pt")
        self.save()


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    args.run.mkdir(parents=True, exist_ok=True)
    run = KaraokeRun(args)
    if run.state["steps"] == 0:
        run.evaluate()
    run.follow(Lessons)


if __name__ == "__main__":
    main()
