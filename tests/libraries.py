"""The delegates of tests/delegates: small real C libraries, each with one fault."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent / "delegates"
# Name -> (source, flags)
LIBRARIES = {
    "logistic": ("logistic.c", ()),
    "wrong": ("logistic.c", ("-DWRONG",)),
    "crash_late": ("logistic.c", ("-DCRASH",)),
    "hang_late": ("logistic.c", ("-DHANG",)),
    "idle": ("idle.c", ()),
    "refuse": ("refuse.c", ()),
    "decline": ("decline.c", ()),
    "crash": ("crash.c", ()),
    "hang": ("hang.c", ()),
    "stranger": ("stranger.c", ()),
}
FLAGS = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


def compiler() -> str | None:
    """Path of a C compiler, if there is one."""
    return shutil.which("cc")


def build(name: str, folder: Path) -> str:
    """Compile a delegate into a folder, once, and return its path."""
    library = folder / f"{name}.so"
    if not library.exists():
        source, extra = LIBRARIES[name]
        command = ["cc", *FLAGS, *extra, HERE / source, "-o", library, "-lm"]
        subprocess.run(command, check=True)
    return str(library)
