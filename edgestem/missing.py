"""How to install what is missing, beside this very edgestem.

Debian and Raspberry Pi OS refuse a plain `pip install` (PEP 668); the Debian package
and pipx have an environment of their own, where it would not even help.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

PACKAGED = Path("/usr/lib/edgestem")
"""Where the Debian package has its modules."""


def way_to_install(package: str, debian: str = "") -> str:
    """Write the command that installs a Python package where edgestem finds it.

    Parameters
    ----------
    debian : str
        Debian's package of it; empty: there is none.
    """
    if Path(__file__).is_relative_to(PACKAGED):
        if debian:
            return f"sudo apt-get install {debian}"
        return f"Debian has no {package}: install edgestem's wheel, in a venv"
    prefix = Path(sys.prefix)
    if (prefix / "pipx_metadata.json").exists():
        return f"pipx inject {prefix.name} {package}"
    is_active = os.environ.get("VIRTUAL_ENV") == sys.prefix
    if sys.prefix == sys.base_prefix or is_active:
        return f"pip install {package}"
    return f"{shlex.quote(str(prefix / 'bin/pip'))} install {package}"
