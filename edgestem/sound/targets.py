"""Where stems may go: not over the song, not over other stems, not into a folder."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from edgestem.errors import AudioError
from edgestem.sound.commit import is_there, repair
from edgestem.sound.parts import wrap
from edgestem.sound.reading import open_song
from edgestem.sound.writing import stem_exists


def check_targets(
    path: str | Path,
    targets: Mapping[str, Path],
    *,
    is_forced: bool,
    source: os.stat_result | None = None,
) -> None:
    """Refuse to write over stems that exist, and over the song in any case.

    Parameters
    ----------
    path : str or Path
        The song; when it is not there, the error is about that.
    source : os.stat_result, optional
        Of the song, where it is open already.

    Raises
    ------
    AudioError
        `exists`, `unwritable`, or `unreadable`: there is no song.
    """
    found = source or _status_of(path)
    for folder in {target.parent for target in targets.values()}:
        repair(folder)
    for target in targets.values():
        with wrap(target):
            if not is_there(target):
                continue
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            if target.exists() and os.path.samestat(target.stat(), found):
                raise AudioError(
                    f"{path} would be overwritten by its own stem; "
                    "choose another folder",
                    code="exists",
                    path=str(target),
                )
            if not is_forced:
                raise stem_exists(target)


def check_stdout(path: str | Path, file: BinaryIO) -> None:
    """Refuse to write a stem into the song that it is made of.

    Raises
    ------
    AudioError
        `exists`.
    """
    sink = os.fstat(file.fileno())
    if stat.S_ISREG(sink.st_mode) and os.path.samestat(sink, _status_of(path)):
        raise AudioError(
            f"{path} is what stdout is sent to: send it to another file",
            code="exists",
            path=str(path),
        )


def _status_of(path: str | Path) -> os.stat_result:
    """Find out which file a song is; `open_song` knows the sentences."""
    try:
        return os.fstat(0) if str(path) == "-" else Path(path).stat()
    except (OSError, ValueError):
        open_song(path).close()
        raise
