"""Write a trained U-net as .tflite with its sidecar.

    python -m tools.export models/karaoke.pt models/karaoke.tflite

A checkpoint that was trained with fake quantisation carries its int8 grids; for
one that was not, `--pool` gives the mixtures to calibrate on (post-training), and
`--save` keeps the equalised weights (float16) with the grids that were chosen.
`--float` writes the float32 reference instead, `--live-hop` a live net (see
tools/stage.py).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tools import blocks, spectrum, stage
from tools.calibrate import calibrate, pool_features, stage_features
from tools.checkpoint import load_net, save_net
from tools.quantise import N_GROUPS, group_of, which_part
from tools.spleeter import HOP, N_BINS, N_FFT
from tools.tflite_writer import RELU, Graph, Quant, Tensor
from tools.unet import UNet, decoder_spans

Grid = Callable[[str], Quant | None]  # of a tensor, by its name

LICENCE = "MIT"
ATTRIBUTION = (
    "started from Spleeter 2stems (vocals net), (c) 2019-present Deezer SA, MIT; "
    "training data in MODEL_CARD.md"
)


def phase_taps(is_odd: bool) -> list[int]:
    """Which tap of a "same" 5-tap transposed kernel meets input m - 1, m (, m + 1).

    Output 2 m (+ 1) gets input i through tap 2 (m - i) + 1 (+ 1).
    """
    return [4, 2, 0] if is_odd else [3, 1]


def phase_kernel(w: np.ndarray, rows_odd: bool) -> np.ndarray:
    """Kernel of every second output row; channels are (column parity, out)."""
    n_out, _, _, n_in = w.shape
    rows = w[:, phase_taps(rows_odd)]
    kernel = np.zeros((2, n_out, rows.shape[1], 3, n_in), w.dtype)
    for odd in (False, True):
        for x, kx in enumerate(phase_taps(odd)):
            kernel[int(odd), :, :, x] = rows[:, :, kx]
    return kernel.reshape(2 * n_out, -1, 3, n_in)


def upsample(
    g: Graph, name: str, x: Tensor, w: np.ndarray, b: np.ndarray, quant: Quant | None
) -> Tensor:
    """A 5x5 transposed convolution of stride 2 as two convolutions and reshapes.

    Transposed convolutions are slow in tflite-runtime, need much scratch, and
    the Edge TPU's compiler often leaves them out.  w is (out, 5, 5, in), b the
    phases' (out, 2, 2).
    """
    _, n_rows, n_columns, _ = x.shape
    n_out, rows = len(w), []
    # Even rows need the row above only: "same" would want a third one of zeros.
    above = g.pad(f"{name}/above", x, ((0, 0), (1, 0), (1, 1), (0, 0)))
    for odd, which in enumerate(("even", "odd")):
        kernel, bias = phase_kernel(w, bool(odd)), b[:, odd].T.ravel()
        source, padding = (x, "SAME") if odd else (above, "VALID")
        y = g.conv(
            f"{name}/{which}", source, kernel, bias, quant, fused=RELU, padding=padding
        )
        # Channels (column parity, out) lie in memory as two neighbouring columns.
        shape = (1, n_rows, 2 * n_columns, n_out)
        rows.append(g.reshape(f"{name}/{which}/columns", y, shape))
    # And two rows side by side lie as one after the other.
    both = g.concat(f"{name}/rows", rows, axis=2)
    return g.reshape(name, both, (1, 2 * n_rows, 2 * n_columns, n_out))


def leaky(g: Graph, name: str, z: Tensor, slope: float, grid: Grid) -> Tensor:
    """LeakyReLU divided by its slope: z + (1 / slope - 1) ReLU(z).

    The Edge TPU has no LeakyReLU; the next kernel takes the slope.
    """
    if slope == 0:
        return g.relu(f"r{name}", z, grid(f"r{name}"))
    gain = np.full((1, 1, 1, z.shape[3]), 1 / slope - 1)
    zero = np.zeros(z.shape[3])
    p = g.depthwise(f"p{name}", z, gain, zero, grid(f"p{name}"), fused=RELU)
    return g.add(f"r{name}", z, p.index, grid(f"r{name}"))


def in_parts(
    g: Graph, name: str, compute: Callable[[str], Tensor], grid: Grid
) -> tuple[Tensor, list[Tensor]]:
    """What `compute` gives, whole, and as two parts (see tools/quantise.py).

    Float needs no parts.
    """
    whole = compute(name)
    if whole.quant is None:
        return whole, [whole]
    fine = compute(f"{name}/fine")
    rest = g.subtract(f"{name}/rest", whole, fine.index, grid(f"{name}/rest"))
    return whole, [fine, rest]


def encode(
    g: Graph, level: int, parts: list[Tensor], w: np.ndarray, b: np.ndarray, grid: Grid
) -> Callable[[str], Tensor]:
    """A level of the encoder; call the result for its sum on the grid of that name."""
    if len(parts) == 1:
        (x,) = parts
        return lambda name: g.conv(name, x, w, b, grid(name), stride=2)
    fine, rest = (
        g.conv(f"{name}{level}", x, w, bias, grid(f"{name}{level}"), stride=2)
        for name, x, bias in zip("ac", parts, (b, np.zeros_like(b)), strict=True)
    )
    return lambda name: g.add(name, fine, rest.index, grid(name))


def window_of(g: Graph, features: Tensor, hop: int) -> Tensor:
    """Frames that are HOP apart, up to the last one, which is then held."""
    _, n_frames, n_bins, n_features = features.shape
    apart = HOP // hop
    # The last of every `apart` frames, side by side with the others of its group.
    n_rows = n_frames // apart
    h = g.reshape("features/groups", features, (1, n_rows, apart * n_bins, n_features))
    if apart > 1:
        begin, size = (0, 0, (apart - 1) * n_bins, 0), (1, n_rows, n_bins, n_features)
        h = g.slice("features/apart", h, begin, size)
    last = g.rows("features/last", h, n_rows - 1, n_rows)
    return g.concat("features/held", [h, *[last] * stage.HELD], axis=1)


def write_unet(
    net: UNet,
    quants: dict[str, Quant] | None,
    n_frames: int,
    path: Path,
    hop: int | None = None,
) -> None:
    """Write the graph; float32 when there are no quants.

    With a hop it is a live net: see tools/stage.py; only one frame's mask comes out.
    """
    g = Graph(f"edgestem {path.stem}, {n_frames} frames a call")

    def quant(name: str) -> Quant | None:
        return quants[group_of(name)] if quants else None

    def hwio(w: torch.Tensor, order: tuple[int, ...]) -> np.ndarray:
        return w.detach().double().permute(*order).numpy()

    def bias(b: torch.Tensor) -> np.ndarray:
        return b.detach().double().numpy()

    shape = (1, n_frames, N_BINS, net.n_features)
    h = g.input("features", shape, quant("features"))
    row = None
    if hop is not None:
        h, row = window_of(g, h, hop), stage.ROW
    spans = decoder_spans(h.shape[1], row)
    skips: list[Tensor] = []
    parts, features = [h], h
    if net.n_wide:
        _, parts = in_parts(
            g,
            "x",
            lambda name: g.multiply(name, features, features.index, quant(name)),
            quant,
        )
    for i, (w, b) in enumerate(zip(net.enc_w, net.enc_b, strict=True)):
        w_tf = hwio(w, (0, 2, 3, 1))
        if i > 0 and net.slope:
            w_tf = w_tf * net.slope  # see `leaky`
        level = encode(g, i, parts, w_tf, bias(b), quant)
        if i < net.n_wide:
            z, parts = in_parts(g, f"z{i}", level, quant)
        else:
            z = level(f"z{i}")
            parts = [z]
        skips.append(z)
        if i > N_GROUPS - 1:
            break
        parts = [
            leaky(g, f"{i}{which}", part, net.slope, quant)
            for part, which in zip(parts, which_part(parts), strict=True)
        ]
    h = skips.pop()
    for i, (w, b) in enumerate(zip(net.dec_w, net.dec_b, strict=True)):
        h = upsample(g, f"d{i}", h, hwio(w, (1, 2, 3, 0)), bias(b), quant(f"d{i}"))
        (before, _), (first, end) = spans[i : i + 2]
        h = g.rows(f"d{i}/rows", h, first - 2 * before, end - 2 * before)
        if skips:
            h = g.concat(f"c{i}", [g.rows(f"s{i}", skips.pop(), first, end), h])
    w_tf = hwio(net.mask_w, (0, 2, 3, 1))
    h = g.conv("logits", h, w_tf, bias(net.mask_b), quant("logits"), dilation=2)
    if row is not None:
        h = g.rows("logits/row", h, row - first, row - first + 1)
    g.output(g.logistic("mask", h))
    g.write(path)


def write_sidecar(path: Path, features: Quant, about: dict) -> None:
    """Write what the engine needs beside a .tflite file; `about` is the net's own."""
    sidecar = path.with_suffix(".json")
    before = json.loads(sidecar.read_text()) if sidecar.exists() else {}
    data = {
        "name": path.stem,
        "purpose": before.get("purpose", ""),  # written by hand
        "sample_rate": 44100,
        "n_fft": N_FFT,
        "hop": HOP,
        "left_context": 0,
        "right_context": 0,
        "lookahead_frames": 0,
        "states": [],
        "compression_offset": spectrum.OFFSET,
        "compression_pivot": spectrum.PIVOT,
        "feature_scale": features.scale,
        "feature_zero_point": features.zero_point,
        "mask_scale": 1 / 256,
        "mask_zero_point": -128,
        "target_rms_db": None,
        "max_gain_db": spectrum.MAX_GAIN_DB,
        "gain_step_db": 1.5,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "licence": LICENCE,
        "figures": {},
    }
    sidecar.write_text(json.dumps(data | about, indent=1) + "\n")
    print(f"{path}: {path.stat().st_size / 2**20:.2f} MiB")


def about(net: UNet, n_frames: int, hop: int | None = None) -> dict:
    """What a sidecar says of this net."""
    if hop is None:
        context = {"left_context": blocks.CONTEXT, "right_context": blocks.CONTEXT}
        context |= {
            "target_rms_db": blocks.CALL_LEVELS_DB,
            "views": blocks.VIEWS,
            "past_s": blocks.PAST_S,
            "softness": blocks.SOFTNESS,
            "gain_step_db": blocks.GAIN_STEP_DB,
        }
    else:
        context = {"left_context": n_frames - 1, "hop": hop}
        context["synthesis_length"] = 2 * hop
        context["target_rms_db"] = spectrum.TARGET_RMS_DB
        context |= {"past_s": stage.past_s(hop), "softness": stage.SOFTNESS}
    return context | {
        "bands": [[N_BINS, 1]],
        "n_features": net.n_features,
        "frames_per_call": n_frames,
        "compression_power": net.power,
        "top_bands": blocks.TOP,
        "attribution": ATTRIBUTION,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--frames", type=int, default=blocks.BLOCK)
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--save", type=Path, help="write the checkpoint exported")
    parser.add_argument("--float", action="store_true", dest="is_float")
    parser.add_argument(
        "--live-hop",
        type=int,
        choices=stage.HOPS.values(),
        help="make a live net: 1024 is stage, 512 monitor",
    )
    args = parser.parse_args()
    net, quants = load_net(args.checkpoint)
    hop, n_frames = args.live_hop, args.frames
    if hop is not None:
        n_frames = stage.WINDOW * (HOP // hop)
    if args.is_float:
        write_unet(net, None, n_frames, args.output, hop)
        return
    if quants is None:
        if args.pool is None:
            parser.error("this checkpoint has no int8 grids: --pool to calibrate")
        if hop is None:
            quants = calibrate(net, pool_features(net, args.pool))
        else:
            quants = calibrate(net, stage_features(net, args.pool), stage.ROW)
    if args.save:
        save_net(args.save, net, quants)
        net, quants = load_net(args.save)
    write_unet(net, quants, n_frames, args.output, hop)
    write_sidecar(args.output, quants["features"], about(net, n_frames, hop))


if __name__ == "__main__":
    main()
