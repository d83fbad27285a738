"""The spectrogram in PyTorch as the engine computes it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from edgestem.engine.width import LEAST_SIDE
from edgestem.network.geometry import learnt_decay, past_frames
from edgestem.spectrum.learners import (
    DIRECTIONS_SIZE,
    Directions,
    Repetition,
    WienerFilter,
    repetition_size,
)
from tools.teach.spleeter import HOP, N_BINS, N_FFT

# Spleeter's result depends on level: of -15, -18, -22, -26 dBFS the third was best.
TARGET_RMS_DB = -21.0
MAX_GAIN_DB = 36.0  # silence stays quiet
TARGET_RMS, MAX_GAIN = 10 ** (TARGET_RMS_DB / 20), 10 ** (MAX_GAIN_DB / 20)
OFFSET = 1e-3  # added to |X| before the power, in the teacher's own scale
PIVOT = 3.0  # the magnitude that compression leaves alone
MONO_SIDE = 0.6  # what |L - R| of mono counts as, of |L|: best of 0 to 1 in fifths


def compress(magnitude: Tensor, p: float) -> Tensor:
    """(|X| + offset)^p * pivot^(1 - p)."""
    return (magnitude + OFFSET) ** p * PIVOT ** (1 - p)


def with_side(magnitude: Tensor) -> Tensor:
    """Raise |L - R| of examples (batch, 3, T, F) in mono, as the engine does.

    Each is mono or stereo as a whole; the engine decides as it hears.
    """
    left, right, side = magnitude.unbind(1)
    powers = (left.pow(2) + right.pow(2)).sum((1, 2), keepdim=True)
    is_mono = side.pow(2).sum((1, 2), keepdim=True) < LEAST_SIDE * powers
    told = torch.where(is_mono, torch.maximum(side, MONO_SIDE * left), side)
    return torch.stack([left, right, told], 1)


def stft(x: Tensor) -> Tensor:
    """(batch, 2, n_samples) -> complex (batch, 2, n_frames, 2049), no padding."""
    window = torch.hann_window(N_FFT)
    frames = x.unfold(-1, N_FFT, HOP)
    return torch.fft.rfft(frames * window)


def loudness_gain(x: Tensor, target_db: float = TARGET_RMS_DB) -> Tensor:
    """Gain per example to a level, at most MAX_GAIN; (batch, 1, 1)."""
    rms, target = x.pow(2).mean((1, 2), keepdim=True).sqrt(), 10 ** (target_db / 20)
    return target / torch.clamp(rms, min=target / MAX_GAIN)


def overlap_add(spectrum: Tensor, n_samples: int) -> Tensor:
    """Inverse of `stft` with a second Hann window; (2, n_samples)."""
    frames = torch.fft.irfft(spectrum) * torch.hann_window(N_FFT) / 1.5
    n_frames = frames.shape[1]
    total = (n_frames - 1) * HOP + N_FFT
    out = torch.nn.functional.fold(
        frames.transpose(1, 2), (1, total), (1, N_FFT), stride=(1, HOP)
    )
    return out[:, 0, 0, N_FFT - HOP :][:, :n_samples]


def vocals_spectrum(
    mask: Tensor,
    X: Tensor,
    hop: int = HOP,
    past_s: float = 0.0,
    n_heard: int = N_BINS,
) -> Tensor:
    """Vocals of a song's spectrum X (2, n_frames, n_bins) as `Separator` makes them."""
    decay, n_past = learnt_decay(hop, 44100), past_frames(past_s, hop, 44100)
    by_place = WienerFilter(decay, np.zeros((2, 4, X.shape[2])))
    past = np.zeros(repetition_size(n_past, 2, n_heard), np.float32)
    by_past = Repetition(n_past, n_heard, decay, past) if n_past else None
    by_direction = Directions(n_heard, decay, np.zeros(DIRECTIONS_SIZE, np.float32))
    vocals = []
    frames = zip(mask.numpy().swapaxes(0, 1), X.numpy().swapaxes(0, 1), strict=True)
    for gains, frame in frames:
        gains = by_direction(gains, frame)
        gains = by_past(gains, frame) if by_past else gains
        vocals.append(by_place(gains, frame))
    return torch.from_numpy(np.stack(vocals, 1).astype(np.complex64))


def song_spectrum(mixture: np.ndarray) -> tuple[Tensor, Tensor]:
    """Pad as the engine does; return padded samples (2, n) and spectrum."""
    x = torch.from_numpy(np.ascontiguousarray(mixture.T))
    n_frames = math.ceil((x.shape[1] + N_FFT - HOP) / HOP)
    x = torch.nn.functional.pad(x, (N_FFT - HOP, n_frames * HOP - x.shape[1]))
    return x, stft(x[None])[0]


__all__ = [
    "HOP",
    "MAX_GAIN",
    "MAX_GAIN_DB",
    "MONO_SIDE",
    "N_BINS",
    "N_FFT",
    "OFFSET",
    "PIVOT",
    "TARGET_RMS",
    "TARGET_RMS_DB",
    "compress",
    "loudness_gain",
    "overlap_add",
    "song_spectrum",
    "stft",
    "vocals_spectrum",
    "with_side",
]
