"""Vocals on their way into the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgestem.sound.containers import Details
from edgestem.sound.grid import GridSamples
from edgestem.sound.parts import PartFile
from edgestem.sound.wav import WavFormat
from edgestem.store.receipt import Receipt, Recipe, SampleDigest, key_of

_FLAC = ("16", "24")  # grids that it keeps to the bit


class Entry:
    """Vocals being written; `commit` or `discard` ends it."""

    def __init__(
        self, folder: Path, wav: WavFormat, admit: Callable[[Path, Receipt], bool]
    ) -> None:
        self._admit, self._wav = admit, wav
        suffix = suffix_of(wav)
        target = folder / f"entry{suffix}"
        self._part = PartFile(target, suffix[1:], wav, Details())
        self._digest = SampleDigest(wav.grid, wav.sample_rate, wav.n_channels)
        self.n_samples = 0

    def write(self, vocals: GridSamples) -> None:
        """Append vocals on the grid.

        Raises
        ------
        OSError
            A full disk; nothing is left of the entry.
        """
        try:
            self._part.encoder.write(vocals)
        except BaseException:
            self.discard()
            raise
        self._digest.update(vocals)
        self.n_samples += len(vocals)

    def commit(self, content: str, recipe: Recipe, title: str = "") -> Receipt | None:
        """Complete the entry; None: it does not fit into the store.

        Raises
        ------
        OSError
            A full disk; nothing is left of the entry.
        """
        key = key_of(content, recipe, self._wav.grid)
        receipt = Receipt(
            key=key, content=content, model=recipe.model, place=recipe.place,
            version=recipe.version, grid=self._wav.grid.name,
            sample_rate=self._wav.sample_rate, n_channels=self._wav.n_channels,
            n_samples=self.n_samples, vocals=self._digest.hexdigest(), title=title,
        )  # fmt: skip
        try:
            self._part.finish()
            is_in = self._admit(self._part.part, receipt)
        except BaseException:
            self.discard()
            raise
        if not is_in:
            self.discard()
            return None
        self._part.close()
        return receipt

    def discard(self) -> None:
        """Let go of what was written."""
        self._part.discard()


def suffix_of(wav: WavFormat) -> str:
    """Tell what an entry of this format ends with."""
    return ".flac" if wav.grid.name in _FLAC else ".wav"
