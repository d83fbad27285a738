"""Checkpoints of the karaoke U-net: weights, exponent, slope, int8 grids.

A file holds a dict: `net` (state dict, float32 or float16), `power` that compresses
its features, `slope` of the encoder's LeakyReLU (0 is ReLU), `n_float` levels that
stay float and, once it has been calibrated, `quants` (name -> scale, zero point).
Channels and features follow from the shapes.
"""

from __future__ import annotations

from pathlib import Path

import torch

from tools.export.tflite_writer import Quant
from tools.nets.unet import Pair, UNet


def load_net(path: Path) -> tuple[UNet, dict[str, Quant] | None]:
    saved = torch.load(path, weights_only=True)
    state = {k: v.float() for k, v in saved["net"].items()}
    n_levels = sum(k.startswith("enc_w.") for k in state)
    channels = tuple(len(state[f"enc_w.{i}"]) for i in range(n_levels))
    net = UNet(channels, state["enc_w.0"].shape[1])
    net.load_state_dict(state)
    set_kind(net, saved)
    quants = saved.get("quants")
    if quants is None:
        return net, None
    return net, {k: Quant(s, z) for k, (s, z) in quants.items()}


def rest_beside(path: Path) -> Path:
    """Where the net of the accompaniment lies that goes with a checkpoint."""
    return path.with_name(f"{path.stem}-rest{path.suffix}")


def load_model(path: Path) -> UNet | Pair:
    """A model in float: one net, or two, where the other one lies beside."""
    net, _ = load_net(path)
    other = rest_beside(path)
    return Pair(net, load_net(other)[0]) if other.exists() else net


def kind_of(net: UNet) -> dict[str, float]:
    """What a checkpoint says of a net besides its weights."""
    return {"power": net.power, "slope": net.slope, "n_float": net.n_float}


def set_kind(net: UNet, kind: dict[str, float]) -> None:
    """Make a net of the kind that `kind_of` or a checkpoint says."""
    net.power, net.slope = float(kind["power"]), float(kind["slope"])
    net.n_float = int(kind.get("n_float", 0))


def save_net(path: Path, net: UNet, quants: dict[str, Quant] | None = None) -> None:
    """Write weights as float16 with the grids they were chosen with."""
    weights = {k: v.half() for k, v in net.state_dict().items()}
    data = {"net": weights, **kind_of(net)}
    if quants is not None:
        data["quants"] = {k: (q.scale, q.zero_point) for k, q in quants.items()}
    torch.save(data, path)
