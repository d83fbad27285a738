"""What this installation is: which program starts it, and which folders it needs.

A unit that names a wrong path is the usual fault of services (pipx's ~/.local/bin,
a venv, /usr/local/bin).  So the running program is asked, and nothing is guessed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGED = Path("/usr/bin/edgestem")
"""The program of the Debian package."""
_HOMES = ("/home", "/root", "/run/user")  # what ProtectHome= hides
_PASSING = ("/tmp", "/var/tmp")  # what PrivateTmp= hides
_DATA = ("edgestem", "_edgestem_models")


@dataclass(frozen=True, slots=True)
class Installation:
    """One installation of edgestem."""

    words: tuple[str, ...]
    """What starts it: a program, or an interpreter and its arguments."""
    folders: tuple[Path, ...]
    """All folders that it is made of: environment, interpreter, package, models."""

    @property
    def is_packaged(self) -> bool:
        """Whether dpkg brought it, and with it units of its own."""
        return self.words == (str(PACKAGED),)

    def hidden(self, *, with_homes: bool) -> list[Path]:
        """List folders that a locked unit would not see, none inside another."""
        places = _PASSING + (_HOMES if with_homes else ())
        found: list[Path] = []
        for folder in sorted(self.folders):
            is_hidden = any(folder.is_relative_to(place) for place in places)
            if is_hidden and not any(folder.is_relative_to(f) for f in found):
                found.append(folder)
        return found


def this_installation() -> Installation:
    """Describe the program that runs."""
    return Installation(tuple(_words()), tuple(dict.fromkeys(_folders())))


def _words() -> Iterator[str]:
    """Name what starts this program; links stay, so that an update moves along."""
    started = Path(sys.argv[0]).absolute()
    beside = Path(sys.executable).with_name("edgestem")
    for program in (started, beside):
        if program.name == "edgestem" and os.access(program, os.X_OK):
            yield str(program)
            return
    yield from (sys.executable, "-m", "edgestem")


def _folders() -> Iterator[Path]:
    """Yield every folder that is read from; real ones, where links lead elsewhere."""
    for prefix in (sys.prefix, sys.base_prefix):
        if Path(prefix) != Path("/usr"):
            yield Path(prefix)
            yield Path(prefix).resolve()
    for name in _DATA:
        spec = importlib.util.find_spec(name)
        for place in (spec and spec.submodule_search_locations) or ():
            yield Path(place)
    program = Path(next(_words()))
    if program.parent != Path("/usr/bin"):
        yield program.parent if program.is_symlink() else program
