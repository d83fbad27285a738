"""Write a trained U-net as .tflite with its sidecar.

    python -m tools.export.block models/karaoke.pt models/karaoke.tflite

A net of the accompaniment that lies beside (karaoke-rest.pt) becomes the model's
second file.  A checkpoint that was exported before carries its int8 grids; for one that
was not, `--excerpts` (tools/pool/excerpts.py) or `--pool` give what to choose them on,
and `--save` keeps the equalised weights (float16) with the grids that were chosen.
`--float` writes the float32 reference instead, `--live-hop` a live net (see
tools/nets/stage.py).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from tools.export.calibrate import calibrate, pool_features, refine, stage_features
from tools.export.quantise import group_of
from tools.export.tflite_writer import RELU, Graph, Quant, Tensor
from tools.judge import blocks
from tools.nets import spectrum, stage
from tools.nets.checkpoint import load_net, rest_beside, save_net
from tools.nets.unet import UNet, decoder_spans
from tools.pool import excerpts
from tools.teach.spleeter import HOP, N_BINS, N_FFT

Grid = Callable[[str], Quant | None]  # of a tensor, by its name

LICENCE = "MIT"
FOLD = 8  # columns of the mask layer that are channels
N_OBSERVED = 400  # excerpts that grids are chosen on
REFINED = slice(3, N_OBSERVED, 17)  # and of these, those that narrow them
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


def logits(
    g: Graph, x: Tensor, w: np.ndarray, b: np.ndarray, quant: Quant | None
) -> Tensor:
    """The mask layer: 4 x 4, dilation 2, one channel to two; w is (2, 4, 4), b (2,).

    Columns go FOLD at a time as channels, and rows that are skipped have zeros: ten
    times the multiplications of this small layer, but a runtime keeps a pointer for
    every tap of every place (24 MB of them with 192 frames, now 4).  The sums are the
    same.
    """
    _, n_rows, n_columns, _ = x.shape
    folded = np.zeros((FOLD, len(w), 7, 3, FOLD))
    for column in range(FOLD):
        for tap in range(4):
            block, at = divmod(column + 2 * tap - 3, FOLD)
            folded[column, :, ::2, block + 1, at] = w[:, :, tap]
    kernel, bias = folded.reshape(FOLD * len(w), 7, 3, FOLD), np.tile(b, FOLD)
    shape = (1, n_rows, n_columns // FOLD, FOLD)
    h = g.reshape("logits/columns", x, shape)
    h = g.conv("logits/folded", h, kernel, bias, quant)
    return g.reshape("logits", h, (1, n_rows, n_columns, len(w)))


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


def given(g: Graph, net: UNet, level: int, n_frames: int, grid: Grid) -> Tensor:
    """What the engine computes of one level, before LeakyReLU."""
    n_rows, n_columns = n_frames >> (level + 1), N_BINS >> (level + 1)
    name, shape = f"z{level}", (1, n_rows, n_columns, net.channels[level])
    return g.input(name, shape, grid(name))


def write_unet(
    net: UNet,
    quants: dict[str, Quant] | None,
    n_frames: int,
    path: Path,
    hop: int | None = None,
) -> None:
    """Write the graph; float32 when there are no quants.

    With a hop it is a live net: see tools/nets/stage.py; only one frame's mask comes
    out.
    """
    g = Graph(f"edgestem {path.stem}, {n_frames} frames a call")

    def quant(name: str) -> Quant | None:
        return quants[group_of(name)] if quants else None

    def hwio(w: torch.Tensor, order: tuple[int, ...]) -> np.ndarray:
        return w.detach().double().permute(*order).numpy()

    def bias(b: torch.Tensor) -> np.ndarray:
        return b.detach().double().numpy()

    skips, row = [], None
    if net.n_float:
        skips = [given(g, net, i, n_frames, quant) for i in range(net.n_float)]
        last = f"r{net.n_float - 1}"
        h, n_rows = g.input(last, skips[-1].shape, quant(last)), n_frames
    else:
        shape = (1, n_frames, N_BINS, net.n_features)
        h = g.input("features", shape, quant("features"))
        if hop is not None:
            h, row = window_of(g, h, hop), stage.ROW
        n_rows = h.shape[1]
    spans = decoder_spans(n_rows, row)
    for i in range(net.n_float, len(net.enc_w)):
        w_tf = hwio(net.enc_w[i], (0, 2, 3, 1))
        if i > net.n_float:
            h = leaky(g, str(i - 1), skips[-1], net.slope, quant)
            w_tf = w_tf * (net.slope or 1)  # see `leaky`
        z = g.conv(f"z{i}", h, w_tf, bias(net.enc_b[i]), quant(f"z{i}"), stride=2)
        skips.append(z)
    h = skips.pop()
    for i, (w, b) in enumerate(zip(net.dec_w, net.dec_b, strict=True)):
        h = upsample(g, f"d{i}", h, hwio(w, (1, 2, 3, 0)), bias(b), quant(f"d{i}"))
        (before, _), (first, end) = spans[i : i + 2]
        h = g.rows(f"d{i}/rows", h, first - 2 * before, end - 2 * before)
        if skips:
            h = g.concat(f"c{i}", [g.rows(f"s{i}", skips.pop(), first, end), h])
    w_tf = hwio(net.mask_w, (0, 2, 3, 1))[..., 0]
    h = logits(g, h, w_tf, bias(net.mask_b), quant("logits"))
    if row is not None:
        h = g.rows("logits/row", h, row - first, row - first + 1)
    g.output(g.logistic("mask", h))
    for i in range(net.n_float):
        g.constant(f"level{i}/w", np.float16(hwio(net.enc_w[i], (2, 3, 1, 0))))
        g.constant(f"level{i}/b", np.float32(bias(net.enc_b[i])))
    g.write(path)


def write_sidecar(path: Path, features: Quant | None, about: dict) -> None:
    """Write what the engine needs beside a .tflite file; `about` is the net's own.

    Without a grid of features magnitudes are heard in float.
    """
    grid = features or Quant(1.0, -128)
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
        "compression_offset": spectrum.OFFSET if features else 0.0,
        "compression_pivot": spectrum.PIVOT,
        "feature_scale": grid.scale,
        "feature_zero_point": grid.zero_point,
        "mask_scale": 1 / 256,
        "mask_zero_point": -128,
        "target_rms_db": None,
        "max_gain_db": spectrum.MAX_GAIN_DB,
        "gain_step_db": 1.5,
        "sha256": sha256(path),
        "licence": LICENCE,
        "figures": {},
    }
    sidecar.write_text(json.dumps(data | about, indent=1) + "\n")
    print(f"{path}: {path.stat().st_size / 2**20:.2f} MiB")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def about_rest(path: Path) -> dict:
    """What a sidecar says of a second net."""
    return {
        "rest_file": path.name,
        "rest_sha256": sha256(path),
        "attribution": ATTRIBUTION.replace("vocals net", "both nets"),
    }


def about(net: UNet, n_frames: int, hop: int | None = None) -> dict:
    """What a sidecar says of this net."""
    if hop is None:
        context = {"left_context": blocks.CONTEXT, "right_context": blocks.CONTEXT}
        context |= {
            "target_rms_db": blocks.LEVEL_DB,
            "views": blocks.VIEWS,
            "past_s": blocks.PAST_S,
            "levels": net.n_float,
            "slope": net.slope,
            "gain_step_db": blocks.GAIN_STEP_DB,
        }
    else:
        context = {"left_context": n_frames - 1, "hop": hop}
        context["synthesis_length"] = 2 * hop
        context["target_rms_db"] = spectrum.TARGET_RMS_DB
        context["past_s"] = stage.past_s(hop)
        if net.n_features == 3:
            context["mono_side"] = spectrum.MONO_SIDE
    return context | {
        "bands": [[N_BINS, 1]],
        "n_features": net.n_features,
        "frames_per_call": n_frames,
        "compression_power": net.power,
        "top_bands": blocks.TOP,
        "attribution": ATTRIBUTION,
    }


def heard(
    net: UNet, args: argparse.Namespace
) -> Callable[[], Iterable[torch.Tensor]] | None:
    """What grids are chosen on, as often as it is asked for."""
    if args.excerpts:
        return lambda: excerpts.features(net, args.excerpts, N_OBSERVED)
    if args.pool is None:
        return None
    make = pool_features if args.live_hop is None else stage_features
    features = make(net, args.pool)
    return lambda: features


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--frames", type=int, default=blocks.BLOCK)
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--excerpts", type=Path, help="of tools/pool/excerpts.py")
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
        hear = heard(net, args)
        if hear is None:
            parser.error("this checkpoint has no int8 grids: --excerpts or --pool")
        quants = calibrate(net, hear, None if hop is None else stage.ROW)
        if args.excerpts:
            some = list(excerpts.features(net, args.excerpts, N_OBSERVED))[REFINED]
            quants = refine(net, quants, some)
    if args.save:
        save_net(args.save, net, quants)
        net, quants = load_net(args.save)
    write_unet(net, quants, n_frames, args.output, hop)
    words = about(net, n_frames, hop)
    other = rest_beside(args.checkpoint)
    if other.exists():
        rest, grids = load_net(other)
        path = args.output.with_name(f"{args.output.stem}-rest.tflite")
        write_unet(rest, grids, n_frames, path)
        words |= about_rest(path)
    write_sidecar(args.output, quants.get("features"), words)


if __name__ == "__main__":
    main()
