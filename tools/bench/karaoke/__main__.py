"""Write a mixed library of 200 songs in every layout, twice, and say what was written.

    python -m tools.bench.karaoke FOLDER [LAYOUT...]

The library is made in FOLDER/library, unless it is there.  Layouts that write beside
the songs get a copy of it.  The second run has to write nothing, to leave every file
as it is, and to end with 0.  Songs last 2 s and the model is the test net: what is
looked at are files, not sound (--model karaoke for the other).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from edgestem.cli.library import LAYOUTS
from tools.bench.karaoke.library import make_library

_BESIDE = {"ultrastar", "openhome", "pikaraoke"}
_TINY = Path(__file__).parents[3] / "tests" / "data" / "tiny.tflite"


def export(args: argparse.Namespace, layout: str, songs: Path, out: Path) -> dict:
    """Run it once; give its summary with exit status and seconds."""
    line = [sys.executable, "-m", "edgestem", "export", songs, "--layout", layout]
    line += [] if layout in _BESIDE else ["-o", out]
    line += ["--json", "-q", "--jobs", args.jobs, "--model", args.model]
    started = time.monotonic()
    done = subprocess.run(
        [*map(str, line)], stdout=subprocess.PIPE, text=True, check=False
    )
    found = [json.loads(text) for text in done.stdout.splitlines()]
    (summary,) = (f["summary"] for f in found if "summary" in f)
    return {**summary, "status": done.returncode, "s": time.monotonic() - started}


def tree(*folders: Path) -> dict[Path, tuple[int, int, int]]:
    """Tell what every file is: another one, or one written anew, differs."""
    paths = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
    found = {path: path.stat() for path in paths}
    return {p: (s.st_ino, s.st_size, s.st_mtime_ns) for p, s in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("folder", type=Path)
    add("layouts", nargs="*", metavar="LAYOUT", help=", ".join(LAYOUTS))
    add("--songs", type=int, default=200)
    add("--jobs", type=int, default=2)
    add("--model", default=str(_TINY))
    args = parser.parse_args()
    library = args.folder / "library"
    if not library.exists():
        made = args.folder / "making"
        shutil.rmtree(made, ignore_errors=True)
        counts = make_library(made, args.folder / "scratch", args.songs)
        made.rename(library)
        said = ", ".join(f"{n} {kind}" for kind, n in counts.items())
        print(f"{sum(counts.values())} songs: {said}\n", flush=True)
    print("| layout | written | files, MB | s | written again | skipped | files that "
          "changed | exit statuses | s |\n|---|---|---|---|---|---|---|---|---|",
          flush=True)  # fmt: skip
    for layout in args.layouts or LAYOUTS:
        print(_row(args, layout, library), flush=True)


def _row(args: argparse.Namespace, layout: str, library: Path) -> str:
    out, songs = args.folder / layout, library
    shutil.rmtree(out, ignore_errors=True)
    if layout in _BESIDE:
        songs = Path(shutil.copytree(library, out))
    old = tree(songs)
    first = export(args, layout, songs, out)
    made = tree(songs, out)
    second = export(args, layout, songs, out)
    again = tree(songs, out)
    changed = sum(again.get(p) != s for p, s in made.items()) + len(again.keys() - made)
    new = [size for path, (_, size, _) in made.items() if made[path] != old.get(path)]
    assert first["failed"] == second["failed"] == 0, (first, second)
    return (
        f"| {layout} | {first['written']} of {first['written'] + first['others']} | "
        f"{len(new)}, {sum(new) / 1e6:.1f} | {first['s']:.0f} | {second['written']} | "
        f"{second['skipped']} | {changed} | {first['status']}, {second['status']} | "
        f"{second['s']:.1f} |"
    )


if __name__ == "__main__":
    main()
