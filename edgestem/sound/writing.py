"""Stems on disk: complete under their name, or not there at all.

Every output is written to a hidden file beside its target, `.vocals.wav.<pid>.part`;
`commit` names them when all outputs of the song are complete and on the disk.  The
writer holds a lock on it; what a killed process left behind has no lock and is
removed by the next run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from edgestem.errors import AudioError
from edgestem.sound.commit import commit, held_signals
from edgestem.sound.containers import PLAIN, Details
from edgestem.sound.descriptors import write_all, writing_stdout
from edgestem.sound.grid import GridSamples
from edgestem.sound.parts import PartFile, prepare, wrap
from edgestem.sound.tags import stem_tags
from edgestem.sound.wav import WavFormat, pack
from edgestem.sound.wav_output import WavOutput

Reader = Callable[[Mapping[str, int]], None]


class StemFiles:
    """The outputs of one song; a context manager that discards what is unfinished.

    Parameters
    ----------
    targets : mapping of str to Path
        Where each stem goes.  Folders are made; the stems of one folder get their
        names together.
    file_format : str
        One of `ALL_CONTAINERS`.
    wav : WavFormat or None
        Grid, rate, channels and the expected length; None when somebody else
        writes into `descriptors`.

    is_forced : bool
        Replace what is there.
    reader : callable, optional
        Gets the descriptor of each output once all are complete, and reads them while
        the disk takes them, from anywhere but their own place.

    Raises
    ------
    AudioError
        `unwritable`, or `unsupported_format` (mp3 at 96 kHz).
    """

    def __init__(
        self,
        targets: Mapping[str, Path],
        file_format: str,
        wav: WavFormat | None,
        *,
        details: Details = PLAIN,
        is_forced: bool = False,
        reader: Reader | None = None,
    ) -> None:
        self._is_forced, self._reader = is_forced, reader
        self._folders = sorted({path.parent for path in targets.values()})
        self._files: dict[str, PartFile] = {}
        self._made: list[Path] = []
        try:
            for folder in self._folders:
                self._made = prepare(folder) + self._made
            for name, target in targets.items():
                said = replace(details, tags=stem_tags(details.tags, name))
                self._files[name] = PartFile(target, file_format, wav, said)
        except BaseException:
            self.discard()
            raise

    def descriptors(self) -> list[int]:
        """Give the open files, for a daemon that writes them."""
        return [file.fileno() for file in self._files.values()]

    def write(self, stems: Mapping[str, GridSamples]) -> int:
        """Append a block to every output; count values that had to be clipped."""
        n_clipped = 0
        for name, file in self._files.items():
            with wrap(file.target):
                n_clipped += file.encoder.write(stems[name])
        return n_clipped

    def commit(self) -> None:
        """Bring everything to the disk, then give all outputs their names.

        Raises
        ------
        AudioError
            `exists`: somebody else was faster; `unwritable`.
        """
        for file in self._files.values():
            with wrap(file.target):
                file.complete()
        self._bring_to_disk()
        for folder in self._folders:
            self._name(folder)
        for file in self._files.values():
            file.close()
        self._files = {}
        self._made = []
        for folder in self._folders:
            with contextlib.suppress(OSError):  # a folder that may only be written to
                _sync_folder(folder)

    def _bring_to_disk(self) -> None:
        """Wait for the disk, while who wants to reads what was written."""
        with ThreadPoolExecutor(1) as beside:
            outputs = {name: file.fileno() for name, file in self._files.items()}
            read = self._reader and beside.submit(self._reader, outputs)
            for file in self._files.values():
                with wrap(file.target):
                    file.sync()
            if read:
                read.result()

    def _name(self, folder: Path) -> None:
        """Give the outputs in one folder their names."""
        files = [f for f in self._files.values() if f.target.parent == folder]
        pairs = [(file.part, file.target) for file in files]
        with wrap(folder):
            try:
                commit(folder, pairs, is_forced=self._is_forced)
            except FileExistsError as cause:  # somebody was faster
                raise stem_exists(cause.filename2 or cause.filename) from cause

    def discard(self) -> None:
        """Remove what was not committed, and the folders made for it."""
        with held_signals():
            for file in self._files.values():
                file.discard()
            self._files = {}
            for folder in self._made:
                with contextlib.suppress(OSError):  # somebody put something there
                    folder.rmdir()
            self._made = []

    def __enter__(self) -> StemFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


class WavStream:
    """One stem as WAV on a pipe, or in a file that stdout was sent to."""

    def __init__(self, file: BinaryIO, name: str, wav: WavFormat) -> None:
        self._name, self._grid = name, wav.grid
        with writing_stdout():
            file.flush()  # what waits in the buffer comes first
            self._output = WavOutput(file.fileno(), wav)

    def write(self, stems: Mapping[str, GridSamples]) -> int:
        """Append a block; nothing is clipped."""
        with writing_stdout():
            self._output.write(pack(stems[self._name], self._grid))
        return 0

    def finish(self) -> None:
        """Complete the stem."""
        with writing_stdout():
            self._output.finish()


def copy_to_stdout(stem: BinaryIO, file: BinaryIO) -> None:
    """Copy a finished stem to stdout, whole."""
    stem.seek(0)
    with writing_stdout():
        file.flush()
        while data := stem.read(1 << 20):
            write_all(file.fileno(), data)


def stem_exists(target: str | Path) -> AudioError:
    """Make the error of a stem that is there already."""
    return AudioError(
        f"{target} exists; use --force to replace it, or choose another folder with -o",
        code="exists",
        path=str(target),
    )


def _sync_folder(folder: Path) -> None:
    """Make the new names survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
