"""The karaoke U-net in PyTorch: Spleeter's vocals net in a form int8 can hold.

`Teacher` is one Spleeter net as published.  `UNet` is the deployable student:
batch norm folded into kernels and biases, one linear tensor per encoder level that
serves both the skip and the LeakyReLU branch, ReLU decoders with nothing behind
them.  A transposed convolution of stride 2 has four output phases (even and odd
rows and columns) and a bias for each: with it, and with the teacher's weights, the
student computes the teacher's function.

The teacher's first levels have a range that int8 cannot hold: music above 4 kHz lies
50 dB under its peak.  So the engine computes the first `n_float` levels in float
(`edgestem.spectrum.levels`); what they hand on, and everything behind them, is int8.

Tensors are (batch, channels, n_frames, n_bins); n_frames and n_bins divide by 64.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.export.quantise import FakeQuant, Identity
from tools.teach.spleeter import BN_EPSILON, N_LEVELS

SLOPE = 0.2  # LeakyReLU, Spleeter's
N_FLOAT = 3  # levels that the engine computes: EXPERIMENTS.md


def down(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """5x5 convolution, stride 2, TensorFlow's "same" (1 before, 2 behind)."""
    return F.conv2d(F.pad(x, (1, 2, 1, 2)), w, b, stride=2)


def up(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """5x5 transposed convolution, stride 2, TensorFlow's "same"."""
    y = F.conv_transpose2d(x, w, b, stride=2, padding=1)
    return y[:, :, : 2 * x.shape[2], : 2 * x.shape[3]]


def add_phases(y: Tensor, b: Tensor) -> Tensor:
    """Add the bias of each phase, (out, 2, 2), to what `up` gave."""
    n_rows, n_columns = y.shape[2] // 2, y.shape[3] // 2
    tiled = b.permute(1, 2, 0).repeat(n_rows, n_columns, 1).permute(2, 0, 1)
    return y + tiled.to(y.dtype)


def phase_sums(w: Tensor, x: Tensor) -> Tensor:
    """What a constant x (in,) gives in each phase of `up`, (out, 2, 2).

    An even output row (or column) meets the taps 1 and 3, an odd one 0, 2 and 4.
    """
    taps = torch.einsum("iohw,i->ohw", w, x)
    rows = torch.stack([taps[:, 1::2].sum(1), taps[:, 0::2].sum(1)], 1)
    return torch.stack([rows[:, :, 1::2].sum(2), rows[:, :, 0::2].sum(2)], 2)


def mask_layer(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """4x4 convolution with dilation 2, "same"; returns logits."""
    return F.conv2d(F.pad(x, (3, 3, 3, 3)), w, b, dilation=2)


def decoder_spans(n_rows: int, row: int | None) -> list[tuple[int, int]]:
    """Rows [first, end) of each decoder's input, then of the mask layer's, that count.

    For the mask of one row, or of all: an even output row of `up` needs the input
    rows m - 1 and m, an odd one m + 1 too; the mask layer reaches 3 rows each way.
    """
    first, last = (0, n_rows - 1) if row is None else (row - 3, row + 3)
    spans = []
    for level in range(N_LEVELS + 1):
        n = n_rows >> level
        first, last = max(first, 0), min(last, n - 1)
        spans.append((first, last + 1))
        first, last = first // 2 - 1, (last + 1) // 2
    return spans[::-1]


def conv_kernel(w: np.ndarray) -> Tensor:
    """TensorFlow (h, w, in, out) -> torch (out, in, h, w)."""
    kernel = torch.from_numpy(np.ascontiguousarray(w.transpose(3, 2, 0, 1)))
    return kernel.contiguous(memory_format=torch.channels_last)


def transposed_kernel(w: np.ndarray) -> Tensor:
    """TensorFlow (h, w, out, in) -> torch (in, out, h, w)."""
    kernel = torch.from_numpy(np.ascontiguousarray(w.transpose(3, 2, 0, 1)))
    return kernel.contiguous(memory_format=torch.channels_last)


def affine(weights: dict, layer: str) -> tuple[Tensor, Tensor]:
    """Batch norm with frozen statistics as (scale, shift) per channel."""
    g, b, m, v = (
        torch.from_numpy(weights[f"{layer}/{leaf}"])
        for leaf in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = g / torch.sqrt(v + BN_EPSILON)
    return scale, b - scale * m


class Teacher(nn.Module):
    """One Spleeter net: magnitudes in, magnitudes of its stem out."""

    def __init__(self, weights: dict, stem: str) -> None:
        super().__init__()
        self.enc, self.dec = [], []
        for i in range(1, N_LEVELS + 1):
            w = conv_kernel(weights[f"{stem}/enc{i}/kernel"])
            b = torch.from_numpy(weights[f"{stem}/enc{i}/bias"])
            self.enc.append((w, b, *affine(weights, f"{stem}/enc{i}")))
            w = transposed_kernel(weights[f"{stem}/dec{i}/kernel"])
            b = torch.from_numpy(weights[f"{stem}/dec{i}/bias"])
            self.dec.append((w, b, *affine(weights, f"{stem}/dec{i}")))
        self.mask_w = conv_kernel(weights[f"{stem}/mask/kernel"])
        self.mask_b = torch.from_numpy(weights[f"{stem}/mask/bias"])

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        skips, h = [], x
        for w, b, s, t in self.enc:
            raw = down(h, w.to(h.dtype), b.to(h.dtype))
            skips.append(raw)
            h = F.leaky_relu(raw * s.view(1, -1, 1, 1) + t.view(1, -1, 1, 1), SLOPE)
        h = skips.pop()
        for w, b, s, t in self.dec:
            h = F.relu(up(h, w, b)) * s.view(1, -1, 1, 1) + t.view(1, -1, 1, 1)
            if skips:
                h = torch.cat([skips.pop(), h], dim=1)
        return torch.sigmoid(mask_layer(h, self.mask_w, self.mask_b)) * x


def ratio_mask(vocals: Tensor, rest: Tensor) -> Tensor:
    """Spleeter's own: squared magnitudes (separation_exponent 2)."""
    v2, r2 = vocals**2, rest**2
    return (v2 + 5e-11) / (v2 + r2 + 1e-10)


class UNet(nn.Module):
    """The student; see the module's docstring."""

    def __init__(
        self,
        channels: tuple[int, ...] = (16, 32, 64, 128, 256, 512),
        n_features: int = 2,
    ) -> None:
        super().__init__()
        self.channels, self.n_features = channels, n_features
        n_in = (n_features, *channels[:-1])
        self.enc_w = nn.ParameterList(
            torch.zeros(c, i, 5, 5) for i, c in zip(n_in, channels, strict=True)
        )
        self.enc_b = nn.ParameterList(torch.zeros(c) for c in channels)
        outs = (*channels[-2::-1], 1)
        ins = (channels[-1], *(2 * c for c in outs[:-1]))
        self.dec_w = nn.ParameterList(
            torch.zeros(i, o, 5, 5) for i, o in zip(ins, outs, strict=True)
        )
        self.dec_b = nn.ParameterList(torch.zeros(o, 2, 2) for o in outs)
        self.mask_w = nn.Parameter(torch.zeros(2, 1, 4, 4))
        self.mask_b = nn.Parameter(torch.zeros(2))
        self.power = 1.0
        self.slope = SLOPE
        self.n_float = 0
        """Levels that stay float in int8 nets."""
        self.tap: Identity | FakeQuant = Identity()

    def load_teacher(self, weights: dict, stem: str = "vocals") -> None:
        """Start from one of Spleeter's nets; only for its own channels, two features.

        Encoder level i: z = scale * conv + shift folds into the kernel.  A
        decoder wants raw = (z - shift) / scale: the division folds into its
        kernel, the constant -shift / scale into its phases' biases (exactly,
        but for the borders).  The same for a decoder's own scale and shift,
        which act behind its ReLU.
        """
        inverse, constants = [], []
        for i in range(N_LEVELS):
            name = f"{stem}/enc{i + 1}"
            scale, shift = affine(weights, name)
            w = conv_kernel(weights[f"{name}/kernel"])
            b = torch.from_numpy(weights[f"{name}/bias"])
            self.enc_w[i].data = w * scale.view(-1, 1, 1, 1)
            self.enc_b[i].data = b * scale + shift
            inverse.append(1 / scale)
            constants.append(-shift / scale)
        factor, constant = inverse.pop(), constants.pop()
        for i in range(N_LEVELS):
            name = f"{stem}/dec{i + 1}"
            w = transposed_kernel(weights[f"{name}/kernel"])
            b = torch.from_numpy(weights[f"{name}/bias"])
            self.dec_w[i].data = w * factor.view(-1, 1, 1, 1)
            self.dec_b[i].data = b.view(-1, 1, 1) + phase_sums(w, constant)
            scale, shift = affine(weights, name)
            if inverse:
                factor = torch.cat([inverse.pop(), scale])
                constant = torch.cat([constants.pop(), shift])
        w = conv_kernel(weights[f"{stem}/mask/kernel"])
        self.mask_w.data = w * scale
        bias = torch.from_numpy(weights[f"{stem}/mask/bias"])
        self.mask_b.data = bias + w.sum((1, 2, 3)) * shift

    def forward(self, x: Tensor, row: int | None = None) -> Tensor:
        """Compressed magnitudes in, vocals mask logits (batch, 2, T, F) out.

        Channels of x: |L|, |R| and, with three features, |L - R|.  With `row` only
        that frame's logits, (batch, 2, 1, F), without the work for the others.
        """
        tap = self.tap
        skips: list[Tensor] = []
        h = x if self.n_float else tap.act("features", x)
        for i, (w, b) in enumerate(zip(self.enc_w, self.enc_b, strict=True)):
            z = down(h, w if i < self.n_float else tap.kernel(w, 0), b)
            skips.append(tap.act(f"z{i}", z))
            if i < self.n_float:
                h = F.leaky_relu(z, self.slope)
                h = tap.act(f"r{i}", h) if i + 1 == self.n_float else h
            elif i + 1 < len(self.enc_w):
                h = self._leaky(str(i), skips[-1])
        spans = decoder_spans(x.shape[2], row)
        h = skips.pop()
        for i, (w, b) in enumerate(zip(self.dec_w, self.dec_b, strict=True)):
            h = F.relu(add_phases(up(h, tap.kernel(w, 1)), b))
            (before, _), (first, end) = spans[i : i + 2]
            h = tap.act(f"d{i}", h[:, :, first - 2 * before : end - 2 * before])
            if skips:
                h = torch.cat([skips.pop()[:, :, first:end], h], dim=1)
        logits = mask_layer(h, tap.kernel(self.mask_w, 0), self.mask_b)
        if row is not None:
            logits = logits[:, :, row - first : row - first + 1]
        return tap.act("logits", logits)

    def _leaky(self, name: str, z: Tensor) -> Tensor:
        """LeakyReLU; in int8 as slope * (z + (1 / slope - 1) ReLU(z)): export.block."""
        if type(self.tap) is Identity or self.slope == 0.0:
            return self.tap.act(f"r{name}", F.leaky_relu(z, self.slope))
        positive = self.tap.act(f"p{name}", F.relu((1 / self.slope - 1) * z))
        return self.slope * self.tap.act(f"r{name}", z + positive)


class Pair(nn.Module):
    """Two nets as one: the mean of what one masks and of what the other leaves.

    Its logits are those of the mean.
    """

    def __init__(self, vocals: UNet, rest: UNet) -> None:
        super().__init__()
        self.vocals, self.rest = vocals, rest
        self.n_features, self.power = vocals.n_features, vocals.power
        self.n_float = vocals.n_float

    def forward(self, x: Tensor, row: int | None = None) -> Tensor:
        """Features in, vocals mask logits out, as those of a UNet."""
        vocals = torch.sigmoid(self.vocals(x, row).float())
        left = torch.sigmoid(-self.rest(x, row).float())
        return torch.logit((vocals + left) / 2, 1e-6)
