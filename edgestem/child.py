"""Starting Python in another process, so that it imports what this one would.

`python -m` and `-c` look into the working directory first: a `numpy.py` beside
somebody's song would run.  A child starts in the root folder, with absolute paths.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "/"  # where children start: nobody puts modules there


def environment() -> dict[str, str]:
    """Return the environment of a child: this package's folder comes first."""
    found = dict(os.environ)
    named = found.get("PYTHONPATH", "").split(os.pathsep)
    here = str(Path(__file__).absolute().parent.parent)
    path = [here, *(str(Path(p).absolute()) for p in named if p)]
    found["PYTHONPATH"] = os.pathsep.join(path)
    found["PYTHONSAFEPATH"] = "1"  # since Python 3.11; before, FOLDER is enough
    return found
