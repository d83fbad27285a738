"""Write docs/matrix.md from docs/matrix.json, and records into the latter.

    python -m tools.ci.matrix > docs/matrix.md
    python -m tools.ci.matrix add LOG...

LOG: what tools/ci/clean.sh or one of its like printed; its `cell: {...}` takes the
place of the record, or of the cell marked unrun, of the same system, Python, machine
and way.  What the page says was run has a record; the rest stands there as unrun.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "docs/matrix.json"
HEAD = """\
# What was installed where

`python -m tools.ci.matrix` writes this page from the records in matrix.json. Scripts
print them where they install: `tools/ci/clean.sh`, `deb_life.sh`, `image.sh`,
`wheel_arm.sh`, `arm/run.sh` ([packages.md](packages.md)). What has no record is unrun.

"First song" is the whole time of the first `edgestem separate` after the install, with
the default model, on two x86-64 cores that others used at the same time: 24 s of music,
or 1 s where that is said. "Size" is the disk that the install took, beside Python:
edgestem, numpy, the runtime and the like (on armv7l numpy is Debian's and not counted);
of an image it is all of it, with Debian and ffmpeg. "Bits" compares the stems of one
second of a song: the same letter, the same bits.

| system | Python | machine | runtime | installed by | first song | size | bits |
|---|---|---|---|---|---|---|---|
"""

Cell = dict[str, Any]


def key(cell: Cell) -> tuple[str, ...]:
    """Tell a cell from others: releases and Pythons, not their last numbers."""
    system = str(cell["system"]).split(".")[0]
    python = ".".join(str(cell["python"]).split(".")[:2])
    return system, python, str(cell["machine"]), str(cell["how"])


def merged(cells: list[Cell], found: Iterable[Cell]) -> list[Cell]:
    """Put records in the place of those that they make old."""
    table = {key(cell): cell for cell in cells} | {key(cell): cell for cell in found}
    return sorted(table.values(), key=_order)


def _order(cell: Cell) -> tuple[Any, ...]:
    system, python, machine, how = key(cell)
    numbers = [int(n) if n.isdigit() else 0 for n in python.split(".")]
    return "unrun" in cell, machine != "x86_64", machine, system, numbers, how


def records(logs: Iterable[Path]) -> list[Cell]:
    """Read the records that scripts printed."""
    found = []
    for log in logs:
        lines = [x for x in log.read_text().splitlines() if x.startswith("cell: ")]
        if not lines:
            raise SystemExit(f"{log} holds no record")
        found += [json.loads(line.removeprefix("cell: ")) for line in lines]
    return found


def page(cells: list[Cell]) -> str:
    """Write the page."""
    names: dict[str, str] = {}
    rows = []
    for cell in cells:
        machine = " under ".join(
            str(cell[name]) for name in ("machine", "under") if name in cell
        )
        row = [cell["system"], cell["python"], machine, cell["runtime"], cell["how"]]
        if "unrun" in cell:
            row += [f"unrun: {cell['unrun']}", "", ""]
        else:
            bits = names.setdefault(cell["stems"], "ABCDEFGH"[len(names)])
            length = "" if cell["song"] == "song.ogg" else ", 1 s of song"
            row += [f"{cell['first_song_s']} s{length}", f"{cell['size_mb']} MB", bits]
        rows.append(f"| {' | '.join(map(str, row))} |")
    return HEAD + "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("add", nargs="?", choices=("add",))
    parser.add_argument("logs", nargs="*", type=Path, metavar="LOG")
    args = parser.parse_args()
    table = json.loads(FILE.read_text())
    if args.add:
        table["cells"] = merged(table["cells"], records(args.logs))
        lines = ",\n".join(f"  {json.dumps(cell)}" for cell in table["cells"])
        about = json.dumps(table["about"])
        FILE.write_text(f'{{\n "about": {about},\n "cells": [\n{lines}\n ]\n}}\n')
        return
    print(page(table["cells"]), end="")


if __name__ == "__main__":
    main()
