"""Average a trained net with its start, weight by weight.

    python -m tools.train.average AVERAGE.pt --start models/karaoke.pt \\
        --trained RUN/best.pt --share 0.4

What training takes away from a start is undone sooner by the average than what it
brings (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, there as
WiSE-FT; here EXPERIMENTS.md, seventh campaign).  Both must be nets of one kind, and
share their int8 grids when they have some: `tools.train.karaoke --start` leaves them
alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from tools.nets.checkpoint import kind_of, load_net, save_net
from tools.nets.unet import UNet


def shapes(net: UNet) -> dict[str, torch.Size]:
    return {name: weights.shape for name, weights in net.state_dict().items()}


def average(start: Path, trained: Path, share: float, output: Path) -> None:
    """Write (1 - share) of `start` plus `share` of `trained` to `output`.

    Raises ValueError when they are not of one kind or their grids differ.
    """
    net, quants = load_net(start)
    other, other_quants = load_net(trained)
    if shapes(net) != shapes(other) or kind_of(net) != kind_of(other):
        raise ValueError(f"{trained} is not a net of the kind of {start}")
    if quants != other_quants:
        raise ValueError(f"{trained} has other int8 grids than {start}")
    new = other.state_dict()
    net.load_state_dict({k: v.lerp(new[k], share) for k, v in net.state_dict().items()})
    save_net(output, net, quants)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--trained", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="of the trained net")
    args = parser.parse_args()
    average(args.start, args.trained, args.share, args.output)


if __name__ == "__main__":
    main()
