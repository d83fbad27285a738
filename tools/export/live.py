"""Write a trained `live` net as .tflite with its sidecar.

    python -m tools.export.live RUN/best.pt models/live.tflite --pool POOL \\
        --save models/live.pt
    python -m tools.export.live models/live.pt models/live.tflite

Batch norm is folded, int8 grids are chosen on training mixtures (kept in the checkpoint
that `--save` writes), and the frames that a convolution over time looks back on
become state tensors: a slice of the very tensor that joins them with the new
frames, so that their grid is the same and nothing drifts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from tools.export.block import write_sidecar
from tools.export.calibrate import pool_mixtures
from tools.export.quantise import Observer
from tools.export.tflite_writer import NONE, RELU, Graph, Quant, Tensor
from tools.nets import bands
from tools.nets.spectrum import MONO_SIDE, compress, loudness_gain
from tools.nets.streamnet import (
    DILATIONS,
    FOLD,
    N_BANDS,
    N_FEATURES,
    Layer,
    StreamNet,
    channels_of,
)
from tools.train.live import LEVEL_SPREAD_DB

ATTRIBUTION = (
    "taught by Spleeter 2stems, (c) 2019-present Deezer SA, MIT, and by true stems; "
    "training data in MODEL_CARD.md"
)


class Writer:
    """StreamNet.forward once more, as a TFLite graph with state tensors."""

    def __init__(
        self, net: StreamNet, quants: dict[str, Quant] | None, n_frames: int
    ) -> None:
        self.net, self.quants, self.n_frames = net, quants, n_frames
        self.graph = Graph(f"edgestem live net, {n_frames} frames a call")
        self.states: list[tuple[str, str]] = []
        self.new_states: list[Tensor] = []

    def quant(self, name: str) -> Quant | None:
        return self.quants[name] if self.quants else None

    def remembered(self, layer: Layer, x: Tensor) -> Tensor:
        """x with the frames before it, from the last call."""
        span = (layer.height - 1) * layer.dilation
        if span == 0:
            return x
        g, name = self.graph, layer.name
        shape = (1, span, *x.shape[2:])
        old = g.input(f"{name}_in", shape, x.quant)
        joined = g.concat(f"{name}/joined", [old, x], axis=1)
        begin = (0, self.n_frames, 0, 0)
        self.new_states.append(g.slice(f"{name}_out", joined, begin, shape))
        self.states.append((f"{name}_in", f"{name}_out"))
        return joined

    def layer(self, name: str, x: Tensor) -> Tensor:
        layer, conv = self.net.layers[name], self.net.conv[name]
        x = self.remembered(layer, x)
        if layer.width > 1:
            behind = 1 if layer.stride == 1 else 0
            around = ((0, 0), (0, 0), (1, behind), (0, 0))
            x = self.graph.pad(f"{name}/padded", x, around)
        w = conv.weight.detach().double().permute(0, 2, 3, 1).numpy()
        return self.graph.conv(
            name,
            x,
            w,
            conv.bias.detach().double().numpy(),
            self.quant(name),
            stride=(1, layer.stride),
            dilation=layer.dilation,
            padding="VALID",
            fused=RELU if layer.has_relu else NONE,
        )

    def join(self, name: str, a: Tensor, b: Tensor) -> Tensor:
        return self.graph.add(name, a, b.index, self.quant(name))

    def fold(self, name: str, x: Tensor, n: int) -> Tensor:
        """n positions become channels of one."""
        _, t, f, c = x.shape
        return self.graph.reshape(name, x, (1, t, f // n, n * c))

    def unfold(self, name: str, x: Tensor, n: int) -> Tensor:
        _, t, f, c = x.shape
        return self.graph.reshape(name, x, (1, t, f * n, c // n))

    def write(self, path: Path) -> None:
        g, f, join = self.graph, self.layer, self.join
        shape = (1, self.n_frames, N_BANDS, N_FEATURES)
        x = g.input("features", shape, self.quant("features"))
        h = f("in", self.fold("features/folded", x, FOLD))
        s0 = h = join("sum_enc0", h, f("enc0", h))
        h = f("down1", h)
        s1 = h = join("sum_enc1", h, f("enc1", h))
        h = f("down2", h)
        s2 = h = join("sum_enc2", h, f("enc2", h))
        s3 = h = f("down3", h)
        n = s3.shape[2]
        h = f("fold", self.fold("bottom/folded", h, n))
        for t in DILATIONS:
            h = join(f"sum_time{t}", h, f(f"time{t}", h))
        h = join("sum_bottom", s3, self.unfold("bottom/unfolded", f("unfold", h), n))
        for i, skip in ((2, s2), (1, s1), (0, s0)):
            h = self.unfold(f"up{i}/unfolded", f(f"up{i}", h), 2)
            h = join(f"skip{i}", h, skip)
            h = join(f"sum_dec{i}", h, f(f"dec{i}", h))
        h = self.unfold("logits/unfolded", f("logits", h), FOLD)
        g.output(g.logistic("mask", h))
        for state in self.new_states:
            g.output(state)
        g.write(path)


def pool_magnitudes(pool: Path, n_synthesis: int) -> list[torch.Tensor]:
    """Bands of training mixtures, all at one level."""
    analysis, _ = bands.window_pair(n_synthesis)
    return [
        bands.magnitudes(bands.transform(x * loudness_gain(x), analysis))
        for x in pool_mixtures(pool)
    ]


@torch.no_grad()
def calibrate(net: StreamNet, magnitudes: list[torch.Tensor]) -> dict[str, Quant]:
    """Int8 grids from bands at the levels that training used."""
    generator = torch.Generator().manual_seed(1)
    observer = net.tap = Observer()
    for magnitude in magnitudes:
        spread = torch.randn(len(magnitude), 1, 1, 1, generator=generator)
        net(compress(magnitude * 10 ** (LEVEL_SPREAD_DB * spread / 20), bands.POWER))
    return observer.quants()


def load_net(path: Path) -> tuple[StreamNet, dict[str, Quant] | None]:
    """Read a checkpoint; batch norm is folded."""
    saved = torch.load(path, weights_only=True)
    net = StreamNet(channels_of(saved["net"]))
    net.load(saved["net"])
    net.eval()
    if not net.is_folded:
        net.fold()
    if "quants" not in saved:
        return net, None
    return net, {k: Quant(s, z) for k, (s, z) in saved["quants"].items()}


def save_net(path: Path, net: StreamNet, quants: dict[str, Quant]) -> None:
    weights = {k: v.half() for k, v in net.state_dict().items()}
    grids = {k: (q.scale, q.zero_point) for k, q in quants.items()}
    torch.save({"net": weights, "quants": grids}, path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--frames", type=int, default=1, help="frames a call")
    parser.add_argument("--synthesis", type=int, default=bands.SYNTHESIS)
    parser.add_argument("--pool", type=Path, help="to choose the int8 grids on")
    parser.add_argument("--save", type=Path, help="write the checkpoint exported")
    args = parser.parse_args()
    net, quants = load_net(args.checkpoint)
    if quants is None:
        if args.pool is None:
            parser.error("this checkpoint has no int8 grids: --pool to choose them on")
        quants = calibrate(net, pool_magnitudes(args.pool, args.synthesis))
    if args.save:
        save_net(args.save, net, quants)
        net, quants = load_net(args.save)
    writer = Writer(net, quants, args.frames)
    writer.write(args.output)
    about = {
        "bands": bands.BANDS,
        "compression_power": bands.POWER,
        "n_features": N_FEATURES,
        "mono_side": MONO_SIDE,
        "frames_per_call": args.frames,
        "states": writer.states,
        "synthesis_length": args.synthesis,
        "top_bands": bands.TOP_BANDS,
        "past_s": bands.PAST_S,
        "attribution": ATTRIBUTION,
    }
    write_sidecar(args.output, quants["features"], about)


if __name__ == "__main__":
    main()
