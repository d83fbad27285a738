"""The delegates of tests/delegates: small real C libraries, each with one fault."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent.parent / "delegates"
# Name -> (source, flags)
LIBRARIES = {
    "logistic": ("logistic.c", ()),
    "wrong": ("logistic.c", ("-DWRONG",)),
    "crash_late": ("logistic.c", ("-DCRASH",)),
    "hang_late": ("logistic.c", ("-DHANG",)),
    "orders": ("logistic.c", ("-DORDERS",)),
    "idle": ("idle.c", ()),
    "refuse": ("refuse.c", ()),
    "decline": ("decline.c", ()),
    "crash": ("crash.c", ()),
    "hang": ("hang.c", ()),
    "stranger": ("stranger.c", ()),
}
FLAGS = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


def why_not() -> str:
    """Say what keeps the delegates from being built, or nothing."""
    if sys.maxsize < 2**32:
        return "delegate.h has TFLite's structures of 64-bit machines"
    return "" if shutil.which("cc") else "no C compiler for the test delegates"


def build(name: str, folder: Path) -> str:
    """Compile a delegate into a folder, once, and return its path."""
    library = folder / f"{name}.so"
    if not library.exists():
        source, extra = LIBRARIES[name]
        command = ["cc", *FLAGS, *extra, HERE / source, "-o", library, "-lm"]
        subprocess.run(command, check=True)
    return str(library)
