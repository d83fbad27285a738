"""The `live` net in PyTorch: causal, stateful when exported, all layers int8-ready.

A U-net over bands only (time is never decimated, so one frame a call works), with
a stack of dilated convolutions over time at its bottom, where the bands are folded
into channels.  In training a whole excerpt goes through at once, padded with zeros
on the left; the exported graph keeps the same frames in state tensors.  Four bands
go into one position by a reshape, and one position becomes two on the way up by
another, so there is no strided or transposed layer above 3x3 and no resize.

Tensors are (batch, channels, n_frames, n_positions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.export.quantise import FakeQuant, Identity

N_BANDS, N_FEATURES, FOLD = 256, 3, 4
# Of the levels, 64 to 8 positions, and of the bottom.
CHANNELS = (40, 64, 96, 128, 224)
DILATIONS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Layer:
    """What a convolution is, for training and export alike."""

    name: str
    n_in: int
    n_out: int
    height: int = 3
    width: int = 3
    stride: int = 1
    """In positions."""
    dilation: int = 1
    """In frames."""
    has_relu: bool = True
    parts_in: int = 1
    """Positions folded into the channels that come in: channel = part * C + c."""
    parts_out: int = 1
    """The same of those that go out."""


def layers(channels: Sequence[int] = CHANNELS) -> dict[str, Layer]:
    a, b, c, d, bottom = channels
    n = N_BANDS // FOLD // 8
    found = [
        Layer("in", N_FEATURES * FOLD, a),
        Layer("enc0", a, a),
        Layer("down1", a, b, stride=2),
        Layer("enc1", b, b),
        Layer("down2", b, c, stride=2),
        Layer("enc2", c, c),
        Layer("down3", c, d, stride=2),
        Layer("fold", n * d, bottom, 1, 1, parts_in=n),
        *(Layer(f"time{t}", bottom, bottom, 3, 1, dilation=t) for t in DILATIONS),
        Layer("unfold", bottom, n * d, 1, 1, parts_out=n),
        Layer("up2", d, 2 * c, 1, 3, parts_out=2),
        Layer("dec2", c, c),
        Layer("up1", c, 2 * b, 1, 3, parts_out=2),
        Layer("dec1", b, b, 1, 3),
        Layer("up0", b, 2 * a, 1, 3, parts_out=2),
        Layer("dec0", a, a, 1, 3),
        Layer("logits", a, 2 * FOLD, 1, 3, has_relu=False),
    ]
    return {layer.name: layer for layer in found}


def fold_bands(x: Tensor, n: int) -> Tensor:
    """(B, C, T, F) -> (B, n * C, T, F / n); channel = part * C + c."""
    b, c, t, f = x.shape
    x = x.reshape(b, c, t, f // n, n).permute(0, 4, 1, 2, 3)
    return x.reshape(b, n * c, t, f // n)


def unfold_bands(x: Tensor, n: int) -> Tensor:
    """The inverse of `fold_bands`."""
    b, c, t, f = x.shape
    x = x.reshape(b, n, c // n, t, f).permute(0, 2, 3, 4, 1)
    return x.reshape(b, c // n, t, f * n)


class StreamNet(nn.Module):
    """Features (B, 3, T, 256) -> vocals mask logits (B, 2, T, 256)."""

    def __init__(self, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        self.layers = layers(channels)
        self.conv, self.norm = nn.ModuleDict(), nn.ModuleDict()
        for layer in self.layers.values():
            size = (layer.height, layer.width)
            is_plain = not layer.has_relu
            self.conv[layer.name] = nn.Conv2d(
                layer.n_in,
                layer.n_out,
                size,
                (1, layer.stride),
                (0, layer.width // 2),
                (layer.dilation, 1),
                bias=is_plain,
            )
            if not is_plain:
                self.norm[layer.name] = nn.BatchNorm2d(layer.n_out, momentum=0.02)
        self.is_folded = False
        self.tap: Identity | FakeQuant = Identity()

    def layer(self, name: str, x: Tensor) -> Tensor:
        layer, conv = self.layers[name], self.conv[name]
        span = (layer.height - 1) * layer.dilation
        if span:
            x = F.pad(x, (0, 0, span, 0))
        w = self.tap.kernel(conv.weight, 0)
        y = F.conv2d(x, w, conv.bias, conv.stride, conv.padding, conv.dilation)
        if not layer.has_relu:
            return self.tap.act(name, y)
        if not self.is_folded:
            y = self.norm[name](y)
        return self.tap.act(name, F.relu(y))

    def join(self, name: str, a: Tensor, b: Tensor) -> Tensor:
        return self.tap.act(name, a + b)

    def forward(self, x: Tensor) -> Tensor:
        f = self.layer
        h = f("in", fold_bands(self.tap.act("features", x), FOLD))
        s0 = h = self.join("sum_enc0", h, f("enc0", h))
        h = f("down1", h)
        s1 = h = self.join("sum_enc1", h, f("enc1", h))
        h = f("down2", h)
        s2 = h = self.join("sum_enc2", h, f("enc2", h))
        s3 = h = f("down3", h)
        h = f("fold", fold_bands(h, h.shape[3]))
        for t in DILATIONS:
            h = self.join(f"sum_time{t}", h, f(f"time{t}", h))
        h = f("unfold", h)
        h = self.join("sum_bottom", s3, unfold_bands(h, s3.shape[3]))
        for i, skip in ((2, s2), (1, s1), (0, s0)):
            h = unfold_bands(f(f"up{i}", h), 2)
            h = self.join(f"skip{i}", h, skip)
            h = self.join(f"sum_dec{i}", h, f(f"dec{i}", h))
        return unfold_bands(f("logits", h), FOLD)

    def load(self, state: dict[str, Tensor]) -> None:
        """Take weights; folded ones, as they are shipped, fold this net first.

        Folded ones of a narrower net take their places here, and what is new starts
        from random weights that nothing listens to yet: the function is the same.
        """
        if "conv.in.bias" in state and not self.is_folded:
            self.fold()
        state = {k: v.float() for k, v in state.items()}
        if self.is_folded:
            state = {k: v for k, v in state.items() if not k.startswith("norm.")}
            for layer in self.layers.values():
                widen(layer, self.conv[layer.name], state)
        self.load_state_dict(state)

    @torch.no_grad()
    def fold(self) -> None:
        """Fold batch norm into the kernels, for calibration and export."""
        for name, norm in self.norm.items():
            conv = self.conv[name]
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            conv.weight.mul_(scale.view(-1, 1, 1, 1))
            conv.bias = nn.Parameter(norm.bias - scale * norm.running_mean)
        self.norm.clear()
        self.is_folded = True


def channels_of(state: dict[str, Tensor]) -> tuple[int, ...]:
    """The channels of the net that a checkpoint is of."""
    names = ("in", "down1", "down2", "down3", "fold")
    return tuple(len(state[f"conv.{name}.weight"]) for name in names)


def places(n_old: int, n_new: int, parts: int) -> Tensor:
    """Where the channels of a narrower net are in a wider one."""
    part = torch.arange(parts).view(-1, 1) * (n_new // parts)
    return (part + torch.arange(n_old // parts)).flatten()


@torch.no_grad()
def widen(layer: Layer, conv: nn.Conv2d, state: dict[str, Tensor]) -> None:
    """Bring a layer's weights and bias in `state` to this layer's size."""
    old_weight, old_bias = (state[f"conv.{layer.name}.{k}"] for k in ("weight", "bias"))
    if old_weight.shape == conv.weight.shape:
        return
    out = places(len(old_weight), layer.n_out, layer.parts_out)
    into = places(old_weight.shape[1], layer.n_in, layer.parts_in)
    weight, bias = conv.weight.clone(), torch.zeros(layer.n_out)
    weight[out] = 0
    weight[out[:, None], into] = old_weight
    bias[out] = old_bias
    state |= {f"conv.{layer.name}.weight": weight, f"conv.{layer.name}.bias": bias}
