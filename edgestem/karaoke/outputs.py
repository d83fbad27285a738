"""Files of one item: hidden until all of them are complete, then named together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from edgestem.sound.writing import StemFiles


class Outputs:
    """A context manager around `StemFiles` for what is more than sound.

    Parameters
    ----------
    targets : mapping
        Label -> path; what is there is replaced.

    Raises
    ------
    AudioError
        `unwritable`.
    """

    def __init__(self, targets: Mapping[str, Path]) -> None:
        self._files = StemFiles(targets, "wav", None, is_forced=True)
        fds = self._files.descriptors()
        self._opened: dict[str, BinaryIO] = {}
        for label, fd in zip(targets, fds, strict=True):
            self._opened[label] = os.fdopen(os.dup(fd), "w+b")

    def file(self, label: str) -> BinaryIO:
        """Give an output, open for writing and reading."""
        return self._opened[label]

    def fileno(self, label: str) -> int:
        """Give an output's descriptor, for another program."""
        return self._opened[label].fileno()

    def commit(self) -> None:
        """Bring all to the disk and give them their names.

        Raises
        ------
        AudioError
            `unwritable`: a full disk.
        """
        for file in self._opened.values():
            file.flush()
        self._files.commit()

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._opened.values():
            file.close()
        self._files.discard()
