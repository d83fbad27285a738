"""Train the karaoke U-net: glide Spleeter's vocals net into the compressed domain.

    python -m tools.train RUN --pool POOL --teacher spleeter.npz --minutes 60

The student starts as Spleeter's vocals net.  While the input exponent glides
from 1 to 0.4 it is trained to give the teacher's two-net ratio mask on every
mixture, and the true stem where there is one.  Every mixture is brought to
-18 dBFS RMS for teacher and student alike.  RUN/state.pt is written every few
minutes and taken up again; RUN/log.jsonl plots; RUN/best.pt is the averaged
student with the best mean instrumental SDR over the dev songs so far.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools import songs as dev_songs
from tools.mixtures import Mixtures
from tools.spleeter import HOP, N_BINS, N_FFT
from tools.unet import Teacher, UNet, ratio_mask

OFFSET = 1e-3  # added to |X| before the power, in the teacher's own scale
PIVOT = 3.0  # the magnitude that compression leaves alone
P_END = 0.4
GLIDE = 0.6  # share of the run in which the exponent glides
TARGET_RMS = 10 ** (-18 / 20)
MAX_GAIN = 10 ** (36 / 20)  # silence stays quiet
BLOCK, CONTEXT = 256, 16  # frames a call, of which context on either side


def compress(magnitude: Tensor, p: float) -> Tensor:
    return (magnitude + OFFSET) ** p * PIVOT ** (1 - p)


def stft(x: Tensor) -> Tensor:
    """(batch, 2, n_samples) -> complex (batch, 2, n_frames, 2049), no padding."""
    window = torch.hann_window(N_FFT)
    frames = x.unfold(-1, N_FFT, HOP)
    return torch.fft.rfft(frames * window)


def loudness_gain(x: Tensor) -> Tensor:
    """Gain per example to TARGET_RMS, at most MAX_GAIN; (batch, 1, 1)."""
    rms = x.pow(2).mean((1, 2), keepdim=True).sqrt()
    return TARGET_RMS / torch.clamp(rms, min=TARGET_RMS / MAX_GAIN)


# ---- the dev songs ----------------------------------------------------------


def overlap_add(spectrum: Tensor, n_samples: int) -> Tensor:
    """Inverse of `stft` with a second Hann window; (2, n_samples)."""
    frames = torch.fft.irfft(spectrum) * torch.hann_window(N_FFT) / 1.5
    n_frames = frames.shape[1]
    total = (n_frames - 1) * HOP + N_FFT
    out = torch.nn.functional.fold(
        frames.transpose(1, 2), (1, total), (1, N_FFT), stride=(1, HOP)
    )
    return out[:, 0, 0, N_FFT - HOP :][:, :n_samples]


def song_spectrum(mixture: np.ndarray) -> tuple[Tensor, Tensor]:
    """Pad as the engine does; return padded samples (2, n) and spectrum."""
    x = torch.from_numpy(np.ascontiguousarray(mixture.T))
    n_frames = math.ceil((x.shape[1] + N_FFT - HOP) / HOP)
    x = torch.nn.functional.pad(x, (N_FFT - HOP, n_frames * HOP - x.shape[1]))
    return x, stft(x[None])[0]


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
        inside = spectrum[:, max(first, 0) : last, :N_BINS].abs()
        pad = (0, 0, max(-first, 0), max(last - n_frames, 0))
        X = torch.nn.functional.pad(inside, pad)
        samples = x[:, max(first, 0) * HOP : last * HOP + N_FFT - HOP]
        X = X * loudness_gain(samples[None])[0]
        feats = compress(X, p)[None].contiguous(memory_format=torch.channels_last)
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


def losses(
    net: UNet,
    teachers: tuple[Teacher, Teacher],
    batch: tuple[Tensor, Tensor, Tensor],
    p: float,
    true_weight: float,
) -> tuple[Tensor, dict[str, float]]:
    mixture, vocals, weight = batch
    gain = loudness_gain(mixture)
    with torch.no_grad():
        X, V = stft(mixture * gain), stft(vocals * gain)
        X, V = X[..., :N_BINS], V[..., :N_BINS]
        magnitude = X.abs().contiguous(memory_format=torch.channels_last)
        target = ratio_mask(teachers[0](magnitude), teachers[1](magnitude))
    features = compress(magnitude, p)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(features)
    mask = torch.sigmoid(logits.float())
    # Two views of one distance: loud bins make the SDR, compressed ones the ear.
    soft = magnitude**0.6
    loud = magnitude / (magnitude.mean((1, 2, 3), keepdim=True) + 1e-3)
    soft = soft / (soft.mean((1, 2, 3), keepdim=True) + 1e-3)
    distance = (mask - target).abs()
    distill = ((loud + soft) * distance).mean()
    error = (mask * X - V).abs() / (magnitude.mean((1, 2, 3), keepdim=True) + 1e-3)
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


def learning_rate(progress: float, peak: float) -> float:
    warm = min(1.0, progress / 0.02)
    return peak * warm * max(0.02, 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--true-weight", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--eval-minutes", type=float, default=8.0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.run.mkdir(parents=True, exist_ok=True)

    weights = dict(np.load(args.teacher))
    teachers = (Teacher(weights, "vocals"), Teacher(weights, "accompaniment"))
    net = UNet()
    net.load_teacher(weights)
    net = net.to(memory_format=torch.channels_last)
    average = UNet()
    optimiser = make_optimiser(net)
    state = {"elapsed": 0.0, "steps": 0, "seen": 0.0, "best": -99.0}
    average.load_state_dict(net.state_dict())
    path = args.run / "state.pt"
    if path.exists():
        saved = torch.load(path, weights_only=False)
        net.load_state_dict(saved["net"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        state = saved["state"]
    dev = DevSet(args.dev, teachers)
    log = (args.run / "log.jsonl").open("a", buffering=1)
    print(json.dumps({"teacher": dev.teacher}), file=log)

    data = Mixtures(args.pool, args.seed + state["steps"], (128, 256))
    loader = iter(torch.utils.data.DataLoader(data, batch_size=None, num_workers=1))
    total, last_eval, running = args.minutes * 60, state["elapsed"], {}

    def save() -> None:
        partial = path.with_suffix(".part")
        torch.save(
            {
                "net": net.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "state": state,
            },
            partial,
        )
        partial.rename(path)

    def evaluate() -> None:
        p = exponent(state["elapsed"] / total)
        average.fade = min(1.0, state["elapsed"] / total / GLIDE)
        scores = dev(average, p)
        against = {k: round(v - dev.teacher[k], 2) for k, v in scores.items()}
        mean = float(np.mean(list(against.values())))
        entry = {k: round(v, 4) for k, v in {**state, **running}.items()}
        entry |= {"p": round(p, 3), "mean": round(mean, 3), "against": against}
        print(json.dumps(entry), file=log)
        if p == P_END and mean > state["best"]:
            state["best"] = mean
            torch.save({"net": average.state_dict(), "p": p}, args.run / "best.pt")
        save()

    if state["steps"] == 0:
        evaluate()
    while state["elapsed"] < total:
        start = time.monotonic()
        progress = state["elapsed"] / total
        for group in optimiser.param_groups:
            group["lr"] = group["share"] * learning_rate(progress, args.rate)
        net.fade = min(1.0, progress / GLIDE)
        batch = next(loader)
        optimiser.zero_grad(set_to_none=True)
        p = exponent(progress)
        loss, parts = losses(net, teachers, batch, p, args.true_weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        decay = min(0.999, (state["steps"] + 1) / (state["steps"] + 10))
        with torch.no_grad():
            for a, b in zip(average.parameters(), net.parameters(), strict=True):
                a.lerp_(b, 1 - decay)
        for key, value in {"loss": loss.item(), **parts}.items():
            running[key] = 0.98 * running.get(key, value) + 0.02 * value
        state["steps"] += 1
        state["seen"] += batch[0].shape[0] * batch[0].shape[2] / 44100
        state["elapsed"] += time.monotonic() - start
        if state["elapsed"] - last_eval > args.eval_minutes * 60:
            last_eval = state["elapsed"]
            evaluate()
    evaluate()


if __name__ == "__main__":
    main()
