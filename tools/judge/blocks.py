"""Masks of whole songs, block by block as the engine cuts them, and their SDR.

Spleeter's masks as published, the karaoke U-net's as deployed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.nets.spectrum import (
    HOP,
    N_BINS,
    N_FFT,
    TARGET_RMS_DB,
    compress,
    loudness_gain,
    overlap_add,
    song_spectrum,
    stft,
    vocals_spectrum,
    with_side,
)
from tools.nets.unet import Pair, Teacher, UNet, ratio_mask
from tools.pool import songs as dev_songs

BLOCK, CONTEXT = 192, 16  # frames a call, of which context on either side
GAIN_STEP_DB = 0.5  # with 1.5 a song moves by 0.3 dB when it is played quieter
VIEWS = 1  # calls that hear a frame, each in another part of what it masks
LEVEL_DB = -19.5  # that a call is brought to; best of -15 to -21 in steps of 1.5
# With several views, in turn: louder finds more vocals, softer takes less for vocals.
CALL_LEVELS_DB = (TARGET_RMS_DB, -18.0)
REST_DB = -1.5  # and how much quieter the net of the accompaniment hears it
PAST_S = 15.0  # accompaniment that the engine remembers; 30 s: 0.01 dB more
TOP = 64  # bins below 11 kHz whose mean mask goes on above


def features_of(x: Tensor, net: UNet | Pair) -> Tensor:
    """Samples (batch, 2, n) at their level -> (batch, n_features, T, 1024)."""
    return features_of_spectrum(stft(x)[..., :N_BINS], net)


def features_of_spectrum(X: Tensor, net: UNet | Pair) -> Tensor:
    """Magnitudes of L, R and, as a third, L - R; compressed, if int8 carries them."""
    if net.n_features == 3:
        X = torch.cat([X, X[:, :1] - X[:, 1:]], 1)
    magnitude = with_side(X.abs()) if net.n_features == 3 else X.abs()
    features = magnitude if net.n_float else compress(magnitude, net.power)
    return features.contiguous(memory_format=torch.channels_last)


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
    net: UNet | Pair, x: Tensor, spectrum: Tensor, views: int = VIEWS
) -> Tensor:
    """The engine's block scheme: fixed grid, context, loudness per block, views."""
    n_frames, used = spectrum.shape[1], BLOCK - 2 * CONTEXT
    out, times = torch.zeros(spectrum.shape), torch.zeros(n_frames, 1)
    levels = itertools.cycle((LEVEL_DB,) if views == 1 else CALL_LEVELS_DB)
    for start in range(0, n_frames, used // views):
        first, last = start - CONTEXT, start - CONTEXT + BLOCK
        inside = spectrum[:, max(first, 0) : last, :N_BINS]
        pad = (0, 0, max(-first, 0), max(last - n_frames, 0))
        X = torch.nn.functional.pad(inside, pad)
        samples = x[:, max(first, 0) * HOP : last * HOP + N_FFT - HOP]
        X = X * loudness_gain(samples[None], next(levels))[0]
        logits = net(features_of_spectrum(X[None], net))
        mask = torch.sigmoid(logits)[0, :, CONTEXT:-CONTEXT]
        n = min(used, n_frames - start)
        times[start : start + n] += 1
        out[:, start : start + n, :N_BINS] += mask[:, :n]
    out /= times
    out[..., N_BINS:] = out[..., N_BINS - TOP : N_BINS].mean(-1, keepdim=True)
    return out


def vocals_of(net: UNet | Pair, mixture: np.ndarray) -> np.ndarray:
    """The deployed net's vocals of a whole song, (n_samples, 2)."""
    x, X = song_spectrum(mixture)
    V = vocals_spectrum(student_mask(net, x, X), X, past_s=PAST_S)
    vocals: np.ndarray = overlap_add(V, len(mixture)).T.numpy()
    return vocals


class DevSet:
    """Instrumental SDR of a student over the dev songs, beside the teacher's.

    `separate` gives a net's vocals of a mixture; of songs longer than `seconds` only
    their middle counts.
    """

    def __init__(
        self,
        root: Path,
        teachers: tuple[Teacher, Teacher],
        separate: Callable[[UNet, np.ndarray], np.ndarray] = vocals_of,
        seconds: float = math.inf,
    ) -> None:
        self.separate = separate
        self.songs, self.teacher = [], {}
        for song in dev_songs.find(root):
            vocals, instrumental = dev_songs.load(song)
            spare = int(max(0, len(vocals) - seconds * 44100) / 2)
            middle = slice(spare, len(vocals) - spare)
            vocals, instrumental = vocals[middle], instrumental[middle]
            self.songs.append((song.name, vocals, instrumental))
            mixture = vocals + instrumental
            _, X = song_spectrum(mixture)
            kept = torch.ones(X.shape)
            kept[:, :, N_BINS:] = 0  # "zeros": Spleeter's own mask extension
            rest = (kept - teacher_mask(X, teachers)) * X
            estimate = overlap_add(rest, len(mixture)).T.numpy()
            self.teacher[song.name] = dev_songs.sdr(instrumental, estimate)

    def __call__(self, net: UNet) -> dict[str, float]:
        out = {}
        for name, vocals, instrumental in self.songs:
            mixture = vocals + instrumental
            rest = mixture - self.separate(net, mixture)
            out[name] = dev_songs.sdr(instrumental, rest)
        return out
