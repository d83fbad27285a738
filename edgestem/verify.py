"""The mixture law, checked on files: stems that add up to their song."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgestem.audio import BLOCK, song_name
from edgestem.encoding import FORMATS
from edgestem.errors import AudioError
from edgestem.grid import GRIDS, Grid, Samples, convert
from edgestem.job import STEMS
from edgestem.reading import open_song
from edgestem.song import Song


@dataclass(slots=True)
class Residual:
    """What is left of the song when both stems are taken away."""

    song: str
    """The song's path."""
    folder: str
    """Where its stems are."""
    subtype: str
    """Sample format on which they were added."""
    n_samples: int = 0
    """Length compared."""
    n_channels: int = 0
    """Channels compared."""
    max_lsb: float = 0.0
    """Greatest residual: steps of an integer format, or units in the last place."""
    max_db: float = -math.inf
    """The same relative to full scale."""

    @property
    def is_exact(self) -> bool:
        """Integers must add up exactly, floats to their last place."""
        return self.max_lsb <= (1 if GRIDS[self.subtype].is_float else 0)

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints; no residual has a level of null dB."""
        level = self.max_db if math.isfinite(self.max_db) else None
        return {**asdict(self), "max_db": level, "is_exact": self.is_exact}

    def __str__(self) -> str:
        """Write one line for a person."""
        unit = "units in the last place" if GRIDS[self.subtype].is_float else "LSB"
        word = "adds up" if self.is_exact else "DOES NOT add up"
        return (
            f"{self.song}: {word}: residual {self.max_lsb:g} {unit} ({self.max_db:.1f} "
            f"dB) in {self.n_samples} samples, {self.n_channels} channels, "
            f"{self.subtype}"
        )


def verify(out_dir: str | Path, path: str | Path) -> Residual:
    """Add the stems of a song and compare the sum with it.

    Parameters
    ----------
    out_dir : str or Path
        What `separate` had as -o, or the folder of the stems itself.
    path : str or Path
        The song; it is put on the stems' grid as `separate` does.

    Raises
    ------
    AudioError
        No stems there, or a file cannot be read.
        `stems_differ`: another length, rate or number of channels.
    """
    folder, stems = _find_stems(Path(out_dir), path)
    with ExitStack() as stack:
        songs = [
            stack.enter_context(closing(open_song(source))) for source in (path, *stems)
        ]
        return _compare(songs, folder)


def _find_stems(out_dir: Path, path: str | Path) -> tuple[Path, list[Path]]:
    for folder in (out_dir / song_name(path), out_dir):
        for file_format in FORMATS:
            stems = [folder / f"{stem}.{file_format}" for stem in STEMS]
            if all(stem.is_file() for stem in stems):
                return folder, stems
    raise AudioError(
        f"no vocals and instrumental of {path} in {out_dir}; "
        "edgestem separate writes them",
        code="unreadable",
        path=str(out_dir),
    )


def _compare(songs: list[Song], folder: Path) -> Residual:
    mixture, *stems = songs
    own = {GRIDS["16"] if stem.is_lossy else stem.grid for stem in stems}
    shapes = {(song.sample_rate, song.n_channels) for song in songs}
    if len(own) > 1 or len(shapes) > 1:
        raise _differ(mixture, "have another sample format, rate or channel count")
    grid = own.pop()
    found = Residual(mixture.name, str(folder), grid.name)
    found.n_channels = mixture.n_channels
    greatest = 0.0
    while True:
        blocks = [convert(song.read(BLOCK), song.grid, grid)[0] for song in songs]
        if len({len(block) for block in blocks}) > 1:
            raise _differ(mixture, "are not as long as the song")
        if len(blocks[0]) == 0:
            break
        error, lsb = _residual(grid, *blocks)
        greatest = max(greatest, error)
        found.max_lsb = max(found.max_lsb, lsb)
        found.n_samples += len(blocks[0])
    if greatest > 0:
        found.max_db = 20 * math.log10(greatest / grid.full_scale)
    return found


def _residual(
    grid: Grid, mixture: Samples, vocals: Samples, instrumental: Samples
) -> tuple[float, float]:
    """Greatest error of a block, on the grid and in units of the last place."""
    if not grid.is_float:
        error = int(np.abs(vocals + instrumental - mixture).max())
        return error, error
    exact = np.abs(vocals.astype(np.longdouble) + instrumental - mixture)
    ulp = np.spacing(np.maximum(np.abs(vocals), np.abs(instrumental)))
    return float(exact.max()), float((exact / ulp).max())


def _differ(mixture: Song, what: str) -> AudioError:
    return AudioError(
        f"the stems of {mixture.name} {what}; they were made from another file",
        code="stems_differ",
        path=mixture.name,
    )
