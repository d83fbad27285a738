"""A file for programs that read it in our place."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, BinaryIO

from edgestem.song import unreadable

STALL_S = 60  # a program that has given nothing for so long hangs


class Source:
    """What ffmpeg reads, and how to start it.

    Parameters
    ----------
    file : binary file
        Open for reading.
    path : Path, optional
        Where the file is; without it programs get the open file.
    """

    def __init__(self, file: BinaryIO, name: str, path: Path | None) -> None:
        self.file, self._name = file, name
        # "file:" keeps a colon or a dash in a name from meaning something.
        self.url = f"file:{os.fspath(path or f'/dev/fd/{file.fileno()}')}"

    def start(
        self, *command: str, stderr: Any, fds: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a program with an open stdout.

        Raises
        ------
        AudioError
            `unreadable`: no more processes or open files.
        """
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                pass_fds=(self.file.fileno(), *fds),
                start_new_session=True,  # Ctrl-C is ours to answer
            )
        except OSError as cause:
            raise unreadable(
                self._name, f"cannot be read: {command[0]}: {cause.strerror}"
            ) from cause
