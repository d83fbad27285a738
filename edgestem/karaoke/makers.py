"""Where stems come from: an earlier run, this process, or a daemon."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from edgestem.files.loop import Progress
from edgestem.files.output import Output
from edgestem.files.recode import find_stems, recode
from edgestem.files.separate import FileSeparator
from edgestem.network.compute import Compute
from edgestem.sound.covers import read_covers
from edgestem.sound.formats import CONTAINERS

Targets = Mapping[str, Path]


class Maker(Protocol):
    """Writes stems of a song."""

    warnings: list[str]
    """What a person should know of the songs since it was cleared: damage."""

    def write(
        self,
        path: Path,
        targets: Targets,
        file_format: str,
        relative: Path,
        progress: Progress | None = None,
    ) -> None:
        """Write each stem to its file, all of them or none; files are replaced.

        Raises
        ------
        AudioError
            Of this song.
        EdgestemError
            Of the model, the device or the daemon.
        """


class Separating:
    """Separates here, or through a daemon; the model is loaded once.

    Parameters
    ----------
    model : str or Path
        Name or .tflite file; a daemon takes its own.
    compute : Compute
    socket : str, optional
        A daemon's; "" is the usual place.
    """

    def __init__(
        self, model: str | Path, compute: Compute, socket: str | None = None
    ) -> None:
        self._model, self._compute, self._socket = model, compute, socket
        self._here: FileSeparator | None = None
        self.warnings: list[str] = []

    def write(
        self,
        path: Path,
        targets: Targets,
        file_format: str,
        relative: Path,
        progress: Progress | None = None,
    ) -> None:
        """Write each stem to its file; see `Maker`."""
        output = Output(stems=tuple(targets), file_format=file_format, is_forced=True)
        if self._socket is not None:
            self._ask(path, targets, output, progress)
            return
        if self._here is None:
            self._here = FileSeparator(output, self._model, self._compute)
        self._here.output = output
        report = self._here.to_files(path, targets, progress)
        self.warnings += report.warnings

    def _ask(
        self, path: Path, targets: Targets, output: Output, progress: Progress | None
    ) -> None:
        """Let the daemon separate; what it cannot write is encoded here.

        It knows a song's tags and no pictures: a song that has some is written here.
        """
        from edgestem.client.files import RemoteSeparator

        is_whole = output.file_format == "wav" or not read_covers(path)
        if output.file_format in CONTAINERS and is_whole:
            separator = RemoteSeparator(output, self._socket or "")
            self.warnings += separator.to_files(path, targets, progress).warnings
            return
        with tempfile.TemporaryDirectory(prefix="edgestem-") as scratch:
            stems = {name: Path(scratch) / f"{name}.wav" for name in targets}
            wav = replace(output, file_format="wav", bitrate=None)
            separator = RemoteSeparator(wav, self._socket or "")
            self.warnings += separator.to_files(path, stems, progress).warnings
            recode(stems, targets, output.file_format, path)


class Earlier:
    """Takes the stems of an earlier `separate` where there are any."""

    def __init__(self, folder: Path, other: Maker) -> None:
        self._folder, self._other = folder, other
        self.warnings = other.warnings

    def write(
        self,
        path: Path,
        targets: Targets,
        file_format: str,
        relative: Path,
        progress: Progress | None = None,
    ) -> None:
        """Write each stem to its file; see `Maker`."""
        if stems := find_stems(self._folder, path, relative):
            recode(stems, targets, file_format, path)
        else:
            self._other.write(path, targets, file_format, relative, progress)
