"""What `export` and `watch` have in common: how a library is written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgestem.cli.hardware import add_network_options, add_options, make_compute
from edgestem.cli.usage import UsageError
from edgestem.cli.values import filled
from edgestem.network.choices import DEFAULT
from edgestem.sound.formats import ALL_CONTAINERS

if TYPE_CHECKING:
    from edgestem.karaoke.layouts.layout import Layout
    from edgestem.karaoke.makers import Maker

LAYOUTS = (
    *("folders", "flat", "ultrastar", "openhome", "pikaraoke", "performous", "yarg"),
    *("tracks", "stems"),
)


def add_library_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("-o", "--output", dest="out", type=filled, metavar="DIR",
        help="where to write; some layouts go beside the songs without it")  # fmt: skip
    add("--layout", choices=LAYOUTS, required=True, help="see above")
    add("--format", choices=ALL_CONTAINERS, help="default: what its programs like best")
    add("--name", type=filled, metavar="TEMPLATE",
        help="folders and flat: names as for edgestem separate")  # fmt: skip
    add("--with-vocals", action="store_true", help="tracks: a third track, the vocals")
    add("--stems", type=filled, metavar="DIR",
        help="take stems from there (the -o of separate) where they are")  # fmt: skip
    add("--socket", nargs="?", const="", metavar="PATH",
        help="let the daemon separate (PATH: as edgestem serve has it)")  # fmt: skip
    add_network_options(parser)
    add_options(parser)


def make_layout(args: argparse.Namespace) -> Layout:
    """Turn arguments into a layout.

    Raises
    ------
    UsageError
        They do not fit it.
    """
    from edgestem.karaoke.layouts.choice import make_layout as make
    from edgestem.karaoke.layouts.layout import Settings

    out = Path(args.out) if args.out is not None else None
    settings = Settings(out, args.format, args.with_vocals, args.name)
    try:
        return make(args.layout, settings)
    except ValueError as cause:
        raise UsageError(f"--layout {args.layout}: {cause}") from cause


def make_maker(args: argparse.Namespace) -> Maker:
    """Turn arguments into who makes the stems."""
    from edgestem.karaoke.makers import Earlier, Separating

    model, compute = args.model or DEFAULT, make_compute(args)
    maker: Maker = Separating(model, compute, args.socket)
    return Earlier(Path(args.stems), maker) if args.stems else maker
