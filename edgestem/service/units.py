"""The texts of units, filled with the paths of an installation.

The texts lie once, in packaging/systemd: `edgestem service` and the Debian package
both fill them here.  `@WORD@` is what is filled in:

@EDGESTEM@  the command          @HOME@  what the unit sees of people's folders
@DIR@ @OUT@ @LAYOUT@ @USER@  what a watched folder is called, and whose it is
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgestem.errors import EdgestemError

if TYPE_CHECKING:
    from edgestem.service.installation import Installation

SYSTEM, USER = "system", "user"
UNITS = {
    "daemon": ("edgestem.service", "edgestem.socket"),
    "play": ("edgestem-play.service",),
    "watch": ("edgestem-watch.service",),
}
"""Kind of service -> the units that it is made of."""
STARTS = {
    "daemon": "edgestem.socket",  # the first client starts the daemon
    "play": "edgestem-play.service",
    "watch": "edgestem-watch.service",
}
"""Kind of service -> the unit that is enabled."""
_LOCKED = {("daemon", SYSTEM), ("play", SYSTEM)}  # users of their own: no homes at all
_SPECIAL = re.compile(r"[\x00-\x1f\x7f]")


class ServiceError(EdgestemError):
    """A service cannot be installed or removed: `no_service`, `service_...`."""


def fill(
    kind: str,
    scope: str,
    installation: Installation,
    settings: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return name -> text of a service's units.

    Parameters
    ----------
    kind : str
        A key of `UNITS`.
    scope : str
        `SYSTEM` or `USER`.
    settings : mapping, optional
        DIR, OUT, LAYOUT (may be empty) and USER of a watched folder.

    Raises
    ------
    ServiceError
        `no_service`: this installation lacks its units, or a path cannot stand in one.
    """
    words = {name: quoted(text) for name, text in (settings or {}).items()}
    layout = (settings or {}).get("LAYOUT")
    words["LAYOUT"] = f" --layout {quoted(layout)}" if layout else ""
    words["EDGESTEM"] = " ".join(quoted(word) for word in installation.words)
    words["HOME"] = _home(kind, scope, installation)
    folder = _texts() / scope
    texts = {name: (folder / name).read_text("utf-8") for name in UNITS[kind]}
    return {name: _filled(text, words) for name, text in texts.items()}


def quoted(text: str) -> str:
    """Write a word so that systemd reads it as it is.

    Raises
    ------
    ServiceError
        `no_service`: it holds a control character.
    """
    if _SPECIAL.search(text):
        raise ServiceError(
            f"{text!r} holds a character that no unit can: rename it", code="no_service"
        )
    text = text.replace("%", "%%")
    if re.fullmatch(r"[\w%+,./:=@-]+", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _filled(text: str, words: Mapping[str, str]) -> str:
    """Put words in; `$` is a variable's sign in commands and nowhere else."""
    lines = []
    for line in text.splitlines():
        doubled = line.startswith("ExecStart=")
        for name, word in words.items():
            line = line.replace(
                f"@{name}@", word.replace("$", "$$") if doubled else word
            )
        lines.append(line)
    return "\n".join(lines) + "\n"


def _home(kind: str, scope: str, installation: Installation) -> str:
    """Say what the unit sees of people's folders: as little as it needs.

    A service with a user of its own sees no home; where edgestem itself lies in one,
    it sees that folder alone, below empty ones, whatever the home's permissions are.
    """
    is_locked = (kind, scope) in _LOCKED
    hidden = installation.hidden(with_homes=is_locked)
    lines = ["ProtectHome=read-only"]
    if is_locked:
        lines = [f"ProtectHome={'tmpfs' if hidden else 'yes'}"]
    return "\n".join([*lines, *_binds(hidden)])


def _binds(folders: Iterable[Path]) -> list[str]:
    # A colon separates source and destination here.
    return [
        f"BindReadOnlyPaths={quoted(str(f).replace(':', chr(92) + ':'))}"
        for f in folders
    ]


def _texts() -> Path:
    """Folder of the texts, as installed or in the checkout."""
    spec = importlib.util.find_spec("_edgestem_units")
    places = list((spec and spec.submodule_search_locations) or ())
    places.append(str(Path(__file__).parents[2] / "packaging" / "systemd"))
    for place in places:
        if Path(place, SYSTEM).is_dir():
            return Path(place)
    raise ServiceError(
        "the units are missing from this installation: install edgestem again",
        code="no_service",
    )
