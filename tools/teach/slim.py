"""Make a U-net smaller without training: fewer channels at the bottom.

    python -m tools.teach.slim spleeter.npz START --excerpts EXCERPTS.npy \\
        --channels 244 \\
        --stem accompaniment --gain-db -1.5 --float

The deepest encoder level goes into the first decoder without a nonlinearity
between them, so the pair is one linear map and its channels can be projected onto
the principal components of what passes through them: the best that so many
channels can do in the squared error.  The components are then rotated at random, or
one of them would fill the int8 range of all.  `--side` adds |L - R| as a third
input channel with zero weights, `--float` leaves the first levels to the engine
(tools/nets/unet.py).  It slims a checkpoint, or one of Spleeter's own nets; what passes
through is heard on lessons or on excerpts (tools/pool/excerpts.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.export.quantise import Identity
from tools.judge.blocks import features_of
from tools.nets.checkpoint import kind_of, load_net, save_net, set_kind
from tools.nets.unet import N_FLOAT, UNet
from tools.pool import excerpts
from tools.teach.lessons import Lessons


class Bottom(Identity):
    """Sum the outer products of one activation's values."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.square: Tensor | float = 0.0

    def act(self, name: str, x: Tensor) -> Tensor:
        if name == self.name:
            rows = x.transpose(0, 1).flatten(1).double()
            # Every lesson counts the same, quiet or dense.
            self.square = self.square + rows @ rows.T / rows.pow(2).sum()
        return x


def heard(net: UNet, args: argparse.Namespace) -> Iterator[Tensor]:
    """Features of lessons or of excerpts."""
    if args.excerpts:
        yield from excerpts.features(net, args.excerpts)
        return
    batches = iter(Lessons(args.lessons, 1))
    for _ in range(args.batches):
        yield features_of(next(batches)[0], net)


@torch.no_grad()
def basis(net: UNet, features: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Principal components of the bottom (columns, best first), their powers.

    Not centred: a constant would not survive the borders of so small a map.
    """
    bottom = net.tap = Bottom(f"z{len(net.enc_w) - 1}")
    for x in features:
        net(x)
    net.tap = Identity()
    values, vectors = torch.linalg.eigh(bottom.square)
    return vectors.flip(1), values.flip(0)


@torch.no_grad()
def project(net: UNet, vectors: Tensor, n: int) -> UNet:
    """Replace the bottom z by U^T z, U spanning the first n components."""
    small = UNet((*net.channels[:-1], n), net.n_features)
    state = net.state_dict()
    last = len(net.enc_w) - 1
    rotation = torch.linalg.qr(torch.randn(n, n).double())[0]
    u = vectors[:, :n] @ rotation
    enc_w = net.enc_w[last].double()
    state[f"enc_w.{last}"] = torch.einsum("cn,cihw->nihw", u, enc_w)
    state[f"enc_b.{last}"] = u.T @ net.enc_b[last].double()
    state["dec_w.0"] = torch.einsum("cn,cohw->nohw", u, net.dec_w[0].double())
    small.load_state_dict({k: v.float() for k, v in state.items()})
    set_kind(small, kind_of(net))
    return small


@torch.no_grad()
def with_side(net: UNet) -> UNet:
    """Add a third input channel that does not count yet."""
    wide = UNet(net.channels, 3)
    state = net.state_dict()
    w = state["enc_w.0"]
    state["enc_w.0"] = torch.cat([w, torch.zeros_like(w[:, :1])], 1)
    wide.load_state_dict(state)
    set_kind(wide, kind_of(net))
    return wide


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--lessons", type=Path)
    source.add_argument("--excerpts", type=Path)
    parser.add_argument("--stem", default="vocals", help="or accompaniment")
    parser.add_argument("--gain-db", type=float, default=0.0, help="it hears more by")
    parser.add_argument("--channels", type=int, default=192)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--side", action="store_true")
    parser.add_argument("--float", action="store_true", dest="is_float")
    args = parser.parse_args()
    torch.manual_seed(1)
    if args.checkpoint.suffix == ".npz":
        net = UNet()
        net.load_teacher(dict(np.load(args.checkpoint)), args.stem)
    else:
        net, _ = load_net(args.checkpoint)
    vectors, values = basis(net, heard(net, args))
    lost = values[args.channels :].sum() / values.sum()
    print(f"{args.channels} channels lose {100 * lost:.2f} % of the bottom's power")
    net = project(net, vectors, args.channels)
    if args.side:
        net = with_side(net)
    if args.is_float:
        net.n_float = N_FLOAT
    with torch.no_grad():
        net.enc_w[0].mul_(10 ** (args.gain_db / 20))
    save_net(args.output, net)


if __name__ == "__main__":
    main()
