"""Write a trained U-net as .tflite with its sidecar.

    python -m tools.export models/karaoke.pt models/karaoke.tflite

A checkpoint that was trained with fake quantisation carries its int8 grids; for
one that was not, `--pool` gives the mixtures to calibrate on (post-training), and
`--save` keeps the equalised weights (float16) with the grids that were chosen.
`--float` writes the float32 reference instead.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from tools import train
from tools.quantise import N_GROUPS, group_of
from tools.spleeter import HOP, N_BINS, N_FFT
from tools.tflite_writer import RELU, Graph, Quant, Tensor
from tools.unet import SLOPE, UNet

LICENCE = "MIT"
ATTRIBUTION = (
    "started from Spleeter 2stems (vocals net), (c) 2019-present Deezer SA, MIT; "
    "training data in MODEL_CARD.md"
)


def write_unet(
    net: UNet, quants: dict[str, Quant] | None, n_frames: int, path: Path
) -> None:
    """Write the graph; float32 when there are no quants."""
    g = Graph(f"edgestem {path.stem}, {n_frames} frames a call")

    def quant(name: str) -> Quant | None:
        return quants[group_of(name)] if quants else None

    def hwio(w: torch.Tensor, order: tuple[int, ...]) -> np.ndarray:
        return w.detach().double().permute(*order).numpy()

    def bias(b: torch.Tensor) -> np.ndarray:
        return b.detach().double().numpy()

    h = g.input("features", (1, n_frames, N_BINS, 2), quant("features"))
    skips: list[Tensor] = []
    for i, (w, b) in enumerate(zip(net.enc_w, net.enc_b, strict=True)):
        w_tf = hwio(w, (0, 2, 3, 1))
        z = g.conv(f"z{i}", h, w_tf, bias(b), quant(f"z{i}"), stride=2)
        skips.append(z)
        if i <= N_GROUPS - 1:
            h = g.leaky_relu(f"r{i}", z, SLOPE, quant(f"r{i}"))
    h = skips.pop()
    for i, (w, b) in enumerate(zip(net.dec_w, net.dec_b, strict=True)):
        w_tf = hwio(w, (1, 2, 3, 0))
        h = g.transpose_conv(f"d{i}", h, w_tf, bias(b), quant(f"d{i}"), fused=RELU)
        if skips:
            h = g.concat(f"c{i}", [skips.pop(), h])
    w_tf = hwio(net.mask_w, (0, 2, 3, 1))
    h = g.conv("logits", h, w_tf, bias(net.mask_b), quant("logits"), dilation=2)
    g.output(g.logistic("mask", h))
    g.write(path)


def sidecar(path: Path, quants: dict[str, Quant], n_frames: int, context: int) -> dict:
    q = quants["features"]
    return {
        "name": path.stem,
        "sample_rate": 44100,
        "n_fft": N_FFT,
        "hop": HOP,
        "bands": [[N_BINS, 1]],
        "n_features": 2,
        "frames_per_call": n_frames,
        "left_context": context,
        "right_context": context,
        "lookahead_frames": 0,
        "states": [],
        "compression_power": train.P_END,
        "compression_offset": train.OFFSET,
        "compression_pivot": train.PIVOT,
        "feature_scale": q.scale,
        "feature_zero_point": q.zero_point,
        "mask_scale": 1 / 256,
        "mask_zero_point": -128,
        "top_bands": 64,
        "target_rms_db": train.TARGET_RMS_DB,
        "max_gain_db": train.MAX_GAIN_DB,
        "gain_step_db": 1.5,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "licence": LICENCE,
        "attribution": ATTRIBUTION,
        "figures": {},
    }


def load_net(path: Path) -> tuple[UNet, dict[str, Quant] | None]:
    saved = torch.load(path, weights_only=True)
    net = UNet()
    net.load_state_dict({k: v.float() for k, v in saved["net"].items()})
    net.settle()
    quants = saved.get("quants")
    if quants is None:
        return net, None
    return net, {k: Quant(s, z) for k, (s, z) in quants.items()}


def save_net(path: Path, net: UNet, quants: dict[str, Quant]) -> None:
    """Write weights as float16 and the int8 grids: what `load_net` reads."""
    weights = {k: v.half() for k, v in net.state_dict().items()}
    grids = {k: (q.scale, q.zero_point) for k, q in quants.items()}
    torch.save({"net": weights, "quants": grids}, path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--frames", type=int, default=train.BLOCK)
    parser.add_argument("--context", type=int, default=train.CONTEXT)
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--save", type=Path, help="write the checkpoint exported")
    parser.add_argument("--float", action="store_true", dest="is_float")
    parser.add_argument("--batches", type=int, default=16)
    args = parser.parse_args()
    net, quants = load_net(args.checkpoint)
    if args.is_float:
        write_unet(net, None, args.frames, args.output)
        return
    if quants is None:
        if args.pool is None:
            parser.error("this checkpoint has no int8 grids: --pool to calibrate")
        quants = train.calibrate(net, args.pool, args.batches)
    if args.save:
        save_net(args.save, net, quants)
        net, quants = load_net(args.save)
    write_unet(net, quants, args.frames, args.output)
    data = sidecar(args.output, quants, args.frames, args.context)
    args.output.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")
    print(f"{args.output}: {args.output.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
