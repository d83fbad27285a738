"""Which names are one file: on FAT, exFAT, NTFS and macOS `A` and `a` are."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from pathlib import Path
from typing import Generic, TypeVar

Owner = TypeVar("Owner")


class Owners(Generic[Owner]):
    """Whose a file is, however its name is spelled: who asks first has it.

    The disk is only asked when it matters: it takes writing a file.
    """

    def __init__(self) -> None:
        self._spelled: dict[str, dict[Path, Owner]] = {}
        self._folding: dict[Path, bool] = {}

    def find(self, target: Path) -> Owner | None:
        """Tell whose a file is already; None: nobody's."""
        spelled = self._spelled.get(fold(target), {})
        if target in spelled:
            return spelled[target]
        if spelled and self._folds(target.parent):
            return next(iter(spelled.values()))
        return None

    def add(self, target: Path, owner: Owner) -> None:
        """Remember whose a file is."""
        self._spelled.setdefault(fold(target), {})[target] = owner

    def remove(self, target: Path) -> None:
        """Forget about a file."""
        spelled = self._spelled.get(fold(target), {})
        spelled.pop(target, None)
        if not spelled:
            self._spelled.pop(fold(target), None)

    def _folds(self, folder: Path) -> bool:
        if folder not in self._folding:
            self._folding[folder] = folds_case(folder)
        return self._folding[folder]


def fold(path: str | Path) -> str:
    """Spell a name as a disk does that takes `A` and `a` for one."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def folds_case(folder: Path) -> bool:
    """Find out whether `A` and `a` are one file where a folder is, or will be.

    A folder that may not be written to says no: stems will not get there anyway.
    """
    while not os.path.isdir(folder) and folder != folder.parent:  # noqa: PTH112
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(prefix=".Edgestem-", dir=folder) as probe:
            path = Path(probe.name)
            # Not `samefile`: FUSE may number a file anew for each of its spellings.
            return path.with_name(path.name.swapcase()).exists()
    except OSError:
        return False
