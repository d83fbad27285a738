"""The U-net as a live net: it hears a window that slides, and gives one frame's mask.

Spleeter's function holds at the right edge of what it hears: with two frames more,
held still, the mask of the last real frame loses half a dB (EXPERIMENTS.md).  So
the window ends now, its mask of now is used, and all latency is that of the short
synthesis window.  The decoder works only for that frame (`UNet.forward`).

A window's frames are 1024 samples apart, whatever the hop: with a hop of 512 the net
hears every second frame, twice as often.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tools.judge.blocks import TOP, features_of_spectrum
from tools.nets import bands
from tools.nets.spectrum import (
    HOP,
    MAX_GAIN,
    N_BINS,
    N_FFT,
    TARGET_RMS,
    vocals_spectrum,
)
from tools.nets.unet import UNet

WINDOW, HELD = 62, 2  # frames; together the 64 of the net
HOPS = {"stage": 1024, "monitor": 512}  # of the models made so; latency is two hops
ROW = WINDOW - 1  # whose mask is used
PAST_FRAMES = 646  # that the engine remembers: twice as many are worth 0.006 dB


def hold(features: Tensor) -> Tensor:
    """Repeat the last frame of (batch, features, WINDOW, bins) HELD times."""
    last = features[:, :, -1:].expand(-1, -1, HELD, -1)
    both = torch.cat([features, last], 2)
    return both.contiguous(memory_format=torch.channels_last)


def gains(x: Tensor, ends: list[int], hop: int = HOP) -> Tensor:
    """Gain of the window of samples (2, n) that ends with each frame of `ends`."""
    total = torch.nn.functional.pad(x.double().pow(2).mean(0).cumsum(0), (1, 0))
    out = []
    for end in ends:
        last = end * hop + N_FFT
        # The engine counts from its oldest frame, which is no part of the window.
        first = max(0, last - (WINDOW * (HOP // hop) - 1) * hop - N_FFT)
        rms = ((total[last] - total[first]) / (last - first)).sqrt()
        out.append(TARGET_RMS / max(float(rms), TARGET_RMS / MAX_GAIN))
    return torch.tensor(out)


def windows(X: Tensor, ends: list[int], hop: int = HOP) -> Tensor:
    """Cut the bins below 11 kHz of (2, T, 2049) to (len(ends), 2, WINDOW, N_BINS)."""
    apart = HOP // hop
    reach = (WINDOW - 1) * apart
    padded = torch.nn.functional.pad(X[..., :N_BINS], (0, 0, reach, 0))
    return torch.stack([padded[:, end : end + reach + 1 : apart] for end in ends])


def features_of_windows(net: UNet, X: Tensor) -> Tensor:
    """Features of windows X at their level, with the frames that are held."""
    return hold(features_of_spectrum(X, net))


def logits_of(net: UNet, X: Tensor) -> Tensor:
    """Logits of the last frames of windows X at their level, (batch, 2, N_BINS)."""
    return net(features_of_windows(net, X), ROW)[:, :, 0]


@torch.no_grad()
def stage_vocals(
    net: UNet, mixture: np.ndarray, hop: int = HOP, batch: int = 8
) -> np.ndarray:
    """Vocals of a whole song, each sample at its place, (n_samples, 2)."""
    analysis, synthesis = bands.window_pair(2 * hop, hop)
    x, n_frames = bands.padded(mixture, 2 * hop, hop)
    X = bands.transform(x, analysis, hop)
    gain = gains(x, list(range(n_frames)), hop).view(-1, 1, 1, 1)
    mask = torch.zeros(X.shape)
    for start in range(0, n_frames, batch):
        ends = list(range(start, min(start + batch, n_frames)))
        inside = windows(X, ends, hop) * gain[start : start + batch]
        part = torch.sigmoid(logits_of(net, inside)).transpose(0, 1)
        top = part[..., -TOP:].mean(-1, keepdim=True)
        mask[:, start : start + len(ends), :N_BINS] = part
        mask[:, start : start + len(ends), N_BINS:] = top
    V = vocals_spectrum(mask, X, hop, past_s(hop), N_BINS)
    return bands.overlap_add(V, synthesis, len(mixture), hop)


def past_s(hop: int) -> float:
    """Seconds of the past, to a tenth: as long as it has PAST_FRAMES frames."""
    return round(PAST_FRAMES * hop / 44100, 1)
