"""Where the daemon's socket is, for those who listen and those who call."""

from __future__ import annotations

import os
from pathlib import Path

PREFIX = "EDGESTEM_"  # of the environment's variables
SYSTEM_SOCKET = "/run/edgestem/socket"


def default_socket() -> str:
    """Tell where a daemon listens when nobody says."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.geteuid() != 0:
        return str(Path(runtime) / "edgestem.sock")
    return SYSTEM_SOCKET


def find_socket() -> str:
    """Tell where a client looks when nobody says: the user's daemon comes first."""
    named = os.environ.get(PREFIX + "SOCKET")
    if named:
        return named
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    own = str(Path(runtime) / "edgestem.sock") if runtime else None
    if own and (os.path.exists(own) or not os.path.exists(SYSTEM_SOCKET)):  # noqa: PTH110
        return own
    return SYSTEM_SOCKET
