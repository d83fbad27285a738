"""From float to int8 on our own terms: observe, equalise, fake-quantise.

`UNet.forward` passes every activation and kernel through a *tap*.  `Identity`
leaves them alone, `Observer` records ranges, `FakeQuant` rounds them as the
int8 graph will, with straight-through gradients, so that training can adapt.
Activations: affine int8 per tensor.  Kernels: symmetric int8 per output channel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tools.export.tflite_writer import Quant, quant_for

N_GROUPS = 5


def group_of(name: str) -> str:
    """Tensors that meet in a concatenation share one scale: d0 goes with z4 ..."""
    if name[0] == "d" and name[1:].isdigit() and int(name[1:]) < N_GROUPS:
        return f"z{N_GROUPS - 1 - int(name[1:])}"
    return name


class Identity:
    """No quantisation."""

    def act(self, name: str, x: Tensor) -> Tensor:
        return x

    def kernel(self, w: Tensor, axis: int) -> Tensor:
        return w


class Observer(Identity):
    """Record the range of every activation: of each channel, and of its group."""

    def __init__(self) -> None:
        self.ranges: dict[str, Tensor] = {}
        self.extremes: dict[str, tuple[float, float]] = {}

    def act(self, name: str, x: Tensor) -> Tensor:
        rows = x.detach().float().transpose(0, 1).flatten(1)
        part = rows[:, :: max(1, rows.shape[1] // 20000)]
        # The very last outliers are not worth a coarser grid for all others.
        peak = torch.quantile(part.abs(), 0.9998, dim=1)
        old = self.ranges.get(name)
        self.ranges[name] = peak if old is None else torch.maximum(old, peak)
        low, high = self.extremes.get(group_of(name), (0.0, 0.0))
        extremes = min(low, float(part.min())), max(high, float(part.max()))
        self.extremes[group_of(name)] = extremes
        return x

    def quants(self) -> dict[str, Quant]:
        """Grid of each group, over all that was seen: a clipped bin is a loud one."""
        quants = {name: quant_for(*ends) for name, ends in self.extremes.items()}
        if "features" in quants:
            quants["features"] = quant_for(0.0, 1.05 * self.extremes["features"][1])
        return quants


class FakeQuant:
    """Round activations and kernels to the int8 grids of the exported graph."""

    def __init__(self, quants: dict[str, Quant]) -> None:
        self.quants = quants

    def act(self, name: str, x: Tensor) -> Tensor:
        q = self.quants[group_of(name)]
        return torch.fake_quantize_per_tensor_affine(
            x.float(), q.scale, q.zero_point, -128, 127
        )

    def kernel(self, w: Tensor, axis: int) -> Tensor:
        other = [i for i in range(w.ndim) if i != axis]
        scale = w.detach().abs().amax(other).clamp(min=1e-12) / 127
        zero = torch.zeros(len(scale), dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(w, scale, zero, axis, -127, 127)


@torch.no_grad()
def equalise(net, ranges: dict[str, Tensor]) -> None:
    """Rescale channels so that all of a group use the whole int8 range.

    ReLU, LeakyReLU and linear skips let a positive factor per channel pass, so
    a factor on a layer's outputs and its inverse on the next layers' inputs
    leave the function alone (cross-layer equalisation: Nagel et al., 2019,
    "Data-Free Quantization Through Weight Equalization and Bias Correction").
    """
    n = len(net.enc_w)

    def factors(name: str, target: Tensor) -> Tensor:
        return (target / ranges[name].clamp(min=1e-6)).clamp(1 / 16, 16)

    for i in range(n):
        target = ranges[f"z{i}"].median()
        f = factors(f"z{i}", target)
        net.enc_w[i].mul_(f.view(-1, 1, 1, 1))
        net.enc_b[i].mul_(f)
        if i + 1 < n:
            net.enc_w[i + 1].div_(f.view(1, -1, 1, 1))
        skip_into = n - 1 - i  # decoder that takes z_i
        net.dec_w[skip_into][: len(f)].div_(f.view(-1, 1, 1, 1))
        if i + 1 < n:  # the decoder output beside z_i
            j = n - 2 - i
            f = factors(f"d{j}", target)
            net.dec_w[j].mul_(f.view(1, -1, 1, 1))
            net.dec_b[j].mul_(f.view(-1, 1, 1))
            net.dec_w[skip_into][-len(f) :].div_(f.view(-1, 1, 1, 1))
