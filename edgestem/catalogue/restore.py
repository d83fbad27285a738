"""The stem that a catalogue did not keep: the song minus the one that it kept.

By the mixture law that is exact on every grid of integers, and for the instrumental
on floats too.  It needs the same samples of the song: where the decoder gives others,
nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from edgestem.catalogue import receipt
from edgestem.catalogue.decoding import Listener
from edgestem.errors import AudioError
from edgestem.sound.commit import is_there
from edgestem.sound.containers import Details
from edgestem.sound.formats import LOSSY, target_paths
from edgestem.sound.grid import GRIDS, Grid, GridSamples, convert
from edgestem.sound.reading import open_song
from edgestem.sound.song import Song
from edgestem.sound.wav import WavFormat
from edgestem.sound.writing import StemFiles, stem_exists
from edgestem.stems import STEMS

BLOCK = 65536  # samples
RESTORED, BEFORE, BOTH = "restored", "before", "both"


def folders(root: str) -> Iterator[str]:
    """Find the songs below a folder that have receipts, in the order of their names."""
    for folder, below, names in os.walk(root):
        below.sort()
        if receipt.NAME in names:
            yield folder


def restore(folder: str, root: str | None = None) -> str:
    """Write the missing stem beside the one that was kept.

    Parameters
    ----------
    folder : str
        Of one song.
    root : str, optional
        Where the songs are now; default where the receipt says.

    Returns
    -------
    RESTORED, BEFORE: it is there already, or BOTH: both were kept

    Raises
    ------
    AudioError
        `no_receipt`; `unreadable`: no song; `stems_differ`: the song, its decoder or
        the kept stem is not what it was; `unsupported_format`: what was kept does not
        say the other one to the bit; `exists`.
    """
    made = receipt.read(folder)
    if made is None:
        is_folder = Path(folder).is_dir()
        text = "has no receipt that can be used" if is_folder else "is no folder"
        raise AudioError(
            f"{folder} {text}: name a folder that edgestem batch has written",
            code="no_receipt",
            path=folder,
        )
    kept = made["options"]["stems"]
    if len(kept) > 1:
        return BOTH
    (other,) = set(STEMS) - set(kept)
    name = f"{other}.{made['options']['format']}"
    known = made.get("restored", {}).get(name)
    if known and _size(f"{folder}/{name}") == known.get("size"):
        return BEFORE
    _check(folder, made, kept[0])
    if known is None:
        if is_there(Path(folder, name)):
            raise stem_exists(Path(folder, name))
        _note(folder, made, name, {})  # what a kill leaves is ours
    _Work(folder, made, kept[0], other, root).run()
    path = f"{folder}/{name}"
    size = Path(path).stat().st_size
    _note(folder, made, name, {"size": size, "sha256": receipt.sha256(path)})
    return RESTORED


def _check(folder: str, made: receipt.Receipt, kept: str) -> None:
    """Refuse what cannot be restored to the bit."""
    file_format, grid = made["options"]["format"], GRIDS[made["grid"]]
    if file_format in LOSSY:
        raise _refused(folder, f"its {kept} were kept as {file_format}, which is lossy")
    if grid.is_float and kept != "vocals":
        raise _refused(folder, "vocals on floats are not the song minus the rest")
    name = f"{kept}.{file_format}"
    if receipt.sha256(f"{folder}/{name}") != made["outputs"][name]["sha256"]:
        raise _differs(folder, f"{name} is not what the receipt says")


class _Work:
    """One song and its kept stem, read side by side."""

    def __init__(
        self,
        folder: str,
        made: receipt.Receipt,
        kept: str,
        other: str,
        root: str | None,
    ) -> None:
        self._folder, self._made = folder, made
        self._kept, self._other = kept, other
        self._format: str = made["options"]["format"]
        self._grid: Grid = GRIDS[made["grid"]]
        source = made["source"]["path"]
        self._source = f"{root}/{made['song']}" if root else str(source)

    def run(self) -> None:
        listener = Listener()
        with ExitStack() as stack:
            song = stack.enter_context(closing(listener.open(self._source)))
            path = f"{self._folder}/{self._kept}.{self._format}"
            stem = stack.enter_context(closing(open_song(path)))
            shape = (song.sample_rate, song.n_channels)
            if shape != (stem.sample_rate, stem.n_channels):
                raise _differs(self._folder, f"{self._source} has another rate")
            files = stack.enter_context(self._sink(song))
            while len(block := self._block(song)):
                files.write({self._other: block - self._read(stem, len(block))})
            self._compare(listener.heard())
            files.commit()

    def _sink(self, song: Song) -> StemFiles:
        wav = WavFormat(self._grid, song.sample_rate, song.n_channels, song.n_samples)
        details = Details(self._made["options"]["bitrate"], song.tags)
        targets = target_paths(Path(self._folder), (self._other,), self._format)
        return StemFiles(targets, self._format, wav, details=details, is_forced=True)

    def _block(self, song: Song) -> GridSamples:
        return convert(song.read(BLOCK), song.grid, self._grid)[0]

    def _read(self, stem: Song, n_samples: int) -> GridSamples:
        x = convert(stem.read(n_samples), stem.grid, self._grid)[0]
        if len(x) != n_samples:
            raise _differs(self._folder, f"{self._source} is longer than its stem")
        return x

    def _compare(self, heard: dict[str, Any]) -> None:
        """Refuse other samples than the stems were made from."""
        then = self._made["decoded"]
        if heard["sha256"] == then["sha256"]:
            return
        raise _differs(
            self._folder,
            f"{self._source} decodes to other samples ({then['decoder']} then, "
            f"{heard['decoder']} now); edgestem separate makes both stems anew",
        )


def _note(folder: str, made: receipt.Receipt, name: str, what: dict[str, Any]) -> None:
    """Write into the receipt what was restored, so that --redo takes it away."""
    made.setdefault("restored", {})[name] = what
    receipt.write(folder, made)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return -1


def _differs(folder: str, what: str) -> AudioError:
    text = f"{folder}: nothing was restored, for {what}"
    return AudioError(text, code="stems_differ", path=folder)


def _refused(folder: str, what: str) -> AudioError:
    text = (
        f"{folder} cannot be restored to the bit, for {what}; edgestem separate makes "
        "both stems anew"
    )
    return AudioError(text, code="unsupported_format", path=folder)
