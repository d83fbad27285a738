"""Train the karaoke U-net to be a live net: see tools/nets/stage.py.

    python -m tools.train.stage RUN --lessons LESSONS --teacher spleeter.npz \\
        --dev DEV --start models/karaoke.pt --minutes 60 --rate 1e-4

It starts as a karaoke net.  Every example is a window of a lesson, seen through the
short-delay windows of the engine at its own level; what is learnt is the mask of its
last frame that comes nearest to the vocals the teacher hears (with the whole lesson
before and behind), and to the true ones where they are known.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tools.export.calibrate import stage_features
from tools.judge.blocks import DevSet
from tools.nets import bands, stage
from tools.nets.spectrum import HOP, N_BINS, N_FFT
from tools.nets.unet import UNet
from tools.train import karaoke as train
from tools.train.run import autocast, equaliser

N_WINDOWS = 12  # of each example
MONITOR_SHARE = 0.33  # of the lessons, seen through the shorter pair of windows
DEV_SECONDS = 12.0  # of each dev song: a frame costs as much as a window


def examples(batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Windows X, and of their last frames the taught and true vocals, the weight."""
    samples, weight = bands.laid_over(batch)
    hop = stage.HOPS["monitor" if torch.rand(1) < MONITOR_SHARE else "stage"]
    analysis, _ = bands.window_pair(2 * hop, hop)
    spectra = bands.transform(samples[0], analysis)
    parts = []
    for i, spectrum in enumerate(spectra):
        n_frames = spectrum.shape[1]
        ends = torch.randint(stage.WINDOW - 1, n_frames, (N_WINDOWS,)).tolist()
        gain = stage.gains(samples[0, i], ends).view(-1, 1, 1, 1)
        spread = torch.randn(N_WINDOWS, 1, 1, 1)
        gain = gain * 10 ** (train.LEVEL_SPREAD_DB * spread / 20)
        gain = gain * equaliser(N_WINDOWS, N_BINS)[:, None, None]
        last = torch.stack([samples[1:, i, :, e * HOP : e * HOP + N_FFT] for e in ends])
        Y, V = (torch.fft.rfft(last * analysis)[..., :N_BINS] * gain).unbind(1)
        X = stage.windows(spectrum, ends) * gain
        parts.append((X, Y, V, weight[i].expand(N_WINDOWS)))
    X, Y, V, known = (torch.cat(p) for p in zip(*parts, strict=True))
    return X, Y, V, known


def losses(
    net: UNet, batch: tuple[Tensor, ...], true_weight: float
) -> tuple[Tensor, dict[str, float]]:
    """As `train.losses`, of the last frame; its loudness counts within its window."""
    X, Y, V, weight = examples(batch)
    with autocast():
        logits = stage.logits_of(net, X)
    mask = torch.sigmoid(logits.float())
    magnitude = X.abs()
    mean = magnitude.mean((1, 2, 3))[:, None, None] + 1e-3
    now = X[:, :, -1]
    nearest = (now.conj() * Y).real / (now.abs().pow(2) + 1e-9)
    distance = mask - nearest.clamp(0, 1)
    distill = train.distance_loss(distance[:, :, None], magnitude)
    error = (mask * now - V).abs() / mean
    truth = (error.mean((1, 2)) * weight).mean()
    parts = {"distill": distill.item(), "truth": truth.item()}
    return distill + true_weight * truth, parts


class StageRun(train.KaraokeRun):
    """A run that learns from the last frames of windows."""

    row = stage.ROW

    def calibration(self, net: UNet) -> list[Tensor]:
        return stage_features(net, self.args.pool)

    def make_dev(self) -> DevSet:
        return DevSet(self.args.dev, self.teachers, stage.stage_vocals, DEV_SECONDS)

    def losses(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, float]]:
        self.glide()
        return losses(self.net, batch, self.args.true_weight)


if __name__ == "__main__":
    train.main(StageRun, __doc__)
