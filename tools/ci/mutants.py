"""Do the tests notice?  Faults put into a copy of the sources, one at a time.

    python -m tools.ci.mutants [ROOM...]

Each row of tests/mutants/table.json is a fault: a file, a piece of it, what stands
there instead, and the tests of its room that have to fail.  The copy is a folder of
its own; C is compiled anew.  A mutant that survives is printed and ends with status 1.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests" / "mutants" / "table.json"
PARTS = ("edgestem", "models", "native", "tests", "tools", "docs", "examples")
FILES = ("pyproject.toml", "setup.py", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LIMIT_S = 600


def copy_to(folder: Path) -> None:
    """Copy what the tests need; models are linked."""
    for part in PARTS:
        skip = shutil.ignore_patterns("__pycache__", "*.pt")
        shutil.copytree(ROOT / part, folder / part, ignore=skip, symlinks=True)
    for name in FILES:
        shutil.copy(ROOT / name, folder)


def build(folder: Path) -> bool:
    """Compile the kernel of the copy; a fault that does not compile is noticed, too."""
    line = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    return not subprocess.run(
        line, cwd=folder, capture_output=True, check=False
    ).returncode


def is_noticed(folder: Path, tests: list[str]) -> bool:
    """Run the tests against the copy; True: one failed."""
    line = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            line, cwd=folder, env=env, capture_output=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return True  # a hang is a failure
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(line)}: {done.stdout.decode()[-2000:]}")
    return done.returncode == 1


def try_one(folder: Path, mutant: dict[str, object]) -> bool:
    """Put one fault in, run its tests, take it out."""
    path = folder / str(mutant["file"])
    text = path.read_text()
    before, after = str(mutant["before"]), str(mutant["after"])
    if text.count(before) != 1:
        raise SystemExit(f"{mutant['file']}: {text.count(before)} times {before!r}")
    is_c = path.suffix in (".c", ".h")
    path.write_text(text.replace(before, after))
    try:
        if is_c and not build(folder):
            return True
        return is_noticed(folder, [str(t) for t in mutant["tests"]])  # type: ignore[attr-defined]
    finally:
        path.write_text(text)
        if is_c:
            build(folder)


def main(rooms: list[str]) -> int:
    table = json.loads(TABLE.read_text())
    chosen = [m for m in table if not rooms or m["room"] in rooms]
    survivors = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_to(folder)
        build(folder)
        for mutant in chosen:
            noticed = try_one(folder, mutant)
            survivors += not noticed
            word = "noticed " if noticed else "SURVIVES"
            print(f"{word} {mutant['room']:9} {mutant['what']}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} noticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
