"""Outputs without a sound card: nothing, as fast as it goes or in time, and a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgestem.errors import AudioError
from edgestem.play.desk import Desk
from edgestem.play.routes import Routes
from edgestem.sound.containers import Details
from edgestem.sound.grid import GRIDS
from edgestem.sound.parts import PartFile, wrap
from edgestem.sound.wav import WavFormat

Floats = NDArray[np.float32]


class NullSink:
    """Plays to nobody.

    Parameters
    ----------
    desk : Desk
    routes : Routes
    block : int
        Frames of one callback.
    is_timed : bool
        As a sound card does it; else as fast as it goes, waiting for everything.
    listen : callable, optional
        Gets each block (n, n_outputs), which is overwritten by the next.
    """

    def __init__(
        self,
        desk: Desk,
        routes: Routes,
        *,
        block: int = 512,
        is_timed: bool = False,
        listen: Callable[[Floats], None] | None = None,
    ) -> None:
        self._desk, self._routes, self._block = desk, routes, block
        self._is_timed, self._listen = is_timed, listen
        desk.is_waiting = not is_timed

    def run(self, is_over: Callable[[], bool]) -> None:
        """Play until it is over."""
        out = np.zeros((self._block, self._routes.n_outputs), np.float32)
        started, n_done = time.monotonic(), 0
        while not is_over():
            self._routes.render(self._desk, out)
            n_done += len(out)
            if self._listen is not None:
                self._listen(out)
            if self._is_timed:
                due = started + n_done / self._desk.sample_rate
                time.sleep(max(due - time.monotonic(), 0))
            elif self._desk.is_silent:
                time.sleep(0.001)  # nobody plays: let the others work


class FileSink:
    """Writes a WAV file of 32-bit floats; it has its name when it is complete.

    What nobody plays, before and between songs, is left out.

    Raises
    ------
    AudioError
        `unwritable`.
    """

    def __init__(self, desk: Desk, routes: Routes, path: Path) -> None:
        self._desk = desk
        self._path, self._n_played = path, desk.ring.played
        if path.is_dir():
            raise AudioError(
                f"{path} is a folder: name a file, as {path / 'rehearsal.wav'}",
                code="unwritable",
                path=str(path),
            )
        wav = WavFormat(GRIDS["float"], desk.sample_rate, routes.n_outputs)
        self._part = PartFile(path, "wav", wav, Details())
        self._null = NullSink(desk, routes, listen=self._write)

    def run(self, is_over: Callable[[], bool]) -> None:
        """Play until it is over, and name the file."""
        try:
            self._null.run(is_over)
            self._part.finish()
            with wrap(self._path):
                self._part.part.replace(self._path)
        except BaseException:
            self._part.discard()
            raise
        self._part.close()

    def _write(self, out: Floats) -> None:
        n = self._desk.ring.played - self._n_played
        self._n_played += n
        self._part.encoder.write(out[:n])
