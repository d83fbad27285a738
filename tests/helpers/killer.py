"""`edgestem` that kills itself before the Nth change of a name below a folder.

    python killer.py N FOLDER LOG WORD...

Each change is a line of LOG: open (a file is made), os.rename, os.link, os.remove.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from edgestem.cli.main import main

_NAMES = ("os.rename", "os.link", "os.remove", "open")


def watch(last: int, folder: str, log: int) -> None:
    """Count from now on."""
    count = 0

    def hook(event: str, values: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _NAMES or not _is_change(event, values):
            return
        if not isinstance(values[0], int) and os.fsdecode(values[0]).startswith(folder):
            count += 1
            os.write(log, f"{event}\n".encode())
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _is_change(event: str, values: tuple[Any, ...]) -> bool:
    return event != "open" or bool(int(values[2] or 0) & os.O_CREAT)


if __name__ == "__main__":
    number, where, said, *words = sys.argv[1:]
    watch(int(number), where, os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    sys.exit(main(words))
