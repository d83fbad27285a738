"""The mixture law, checked on files: stems that add up to their song.

Nothing here trusts the writer: values that are no numbers count as wrong, a stem that
promises more than it holds is wrong, and every set of stems in the folder is looked at.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgestem.audio import BLOCK, song_name
from edgestem.encoding import FORMATS
from edgestem.errors import AudioError
from edgestem.grid import GRIDS, Grid, Samples, convert
from edgestem.job import KARAOKE, STEMS
from edgestem.reading import open_song
from edgestem.song import Song

NOTHING_COMPARED = 3  # exit status: a file is missing or cannot be read


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
    file_format: str = "wav"
    """Container of the stems."""
    is_lossy: bool = False
    """The stems went through a lossy codec and cannot add up."""
    n_bad_samples: int = 0
    """Values of the stems that are NaN, infinite or absurd."""
    n_bad_song_samples: int = 0
    """The same of the song, where the stems hold silence."""
    faults: list[str] = field(default_factory=list)
    """What is wrong with the stems, for a person."""
    warnings: list[str] = field(default_factory=list)
    """What is wrong with the song, for a person."""

    @property
    def is_exact(self) -> bool:
        """Integers must add up exactly, floats to their last place."""
        if self.is_lossy or self.faults or self.n_bad_samples or not self.n_samples:
            return False
        return self.max_lsb <= (1 if GRIDS[self.subtype].is_float else 0)

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints; no residual has a level of null dB."""
        level = self.max_db if math.isfinite(self.max_db) else None
        return {**asdict(self), "max_db": level, "is_exact": self.is_exact}

    def __str__(self) -> str:
        """Write one line for a person."""
        unit = "units in the last place" if GRIDS[self.subtype].is_float else "LSB"
        word = "adds up" if self.is_exact else "DOES NOT add up"
        if self.is_lossy:
            word = f"{self.file_format} is lossy: its stems cannot add up"
        found = [*self.faults]
        if self.n_bad_samples:
            found.append(f"{self.n_bad_samples} values of the stems are no numbers")
        text = (
            f"{self.song}: {word}: residual {self.max_lsb:g} {unit} ({self.max_db:.1f} "
            f"dB) in {self.n_samples} samples, {self.n_channels} channels, "
            f"{self.subtype}{'' if unit != 'LSB' else ' bit'}"
        )
        return "; ".join([text, *found, *self.warnings])


def verify(out_dir: str | Path, path: str | Path) -> Residual:
    """Add the stems of a song and compare the sum with it.

    Parameters
    ----------
    out_dir : str or Path
        What `separate` had as -o, or the folder of the stems itself.
    path : str or Path
        The song; it is put on the stems' grid as `separate` does.

    Returns
    -------
    Residual
        Of the set of stems that adds up least, where there are several.

    Raises
    ------
    AudioError
        `unreadable`: no stems there, or a file cannot be read.
        `stems_differ`: another length, rate or number of channels.
    """
    sets = _find_sets(Path(out_dir), path)
    found = [_verify_set(folder, kind, path) for folder, kind in sets]
    # Of two that fail, one that could have added up is the worse.
    return min(found, key=lambda r: (r.is_exact, r.is_lossy, -r.max_lsb))


def _find_sets(out_dir: Path, path: str | Path) -> list[tuple[Path, str]]:
    """Find the containers in which there is a whole set of stems."""
    for folder in (out_dir / song_name(path), out_dir):
        kinds = [
            kind
            for kind in FORMATS
            if all((folder / f"{stem}.{kind}").is_file() for stem in STEMS)
        ]
        if kinds:
            return [(folder, kind) for kind in kinds]
    raise AudioError(
        f"no vocals and instrumental of {path} in {out_dir}; "
        "edgestem separate writes them",
        code="unreadable",
        path=str(out_dir),
    )


def _verify_set(folder: Path, kind: str, path: str | Path) -> Residual:
    stems = [folder / f"{stem}.{kind}" for stem in STEMS]
    karaoke = folder / f"{KARAOKE}.{kind}"
    with ExitStack() as stack:
        songs = [
            stack.enter_context(closing(open_song(source)))
            for source in (path, *stems, *([karaoke] if karaoke.is_file() else []))
        ]
        found = _compare(songs, folder)
    mixture, *others = songs
    found.file_format = kind
    found.n_bad_song_samples = mixture.n_bad_samples
    found.n_bad_samples = sum(stem.n_bad_samples for stem in others)
    found.faults = [stem.warning for stem in others if stem.damage]
    found.warnings = [mixture.warning] if mixture.warning else []
    return found


def _compare(songs: list[Song], folder: Path) -> Residual:
    mixture, *stems = songs
    own = {GRIDS["16"] if stem.is_lossy else stem.grid for stem in stems}
    shapes = {(song.sample_rate, song.n_channels) for song in songs}
    if len(own) > 1 or len(shapes) > 1:
        raise _differ(mixture, "have another sample format, rate or channel count")
    grid = own.pop()
    found = Residual(mixture.name, str(folder), grid.name)
    found.n_channels = mixture.n_channels
    found.is_lossy = any(stem.is_lossy for stem in stems)
    greatest = 0.0
    while True:
        blocks = [convert(_block(song), song.grid, grid)[0] for song in songs]
        if len({len(block) for block in blocks}) > 1:
            raise _differ(mixture, "are not as long as the song")
        if len(blocks[0]) == 0:
            break
        error, lsb = _residual(grid, *blocks[:3])
        greatest = max(greatest, error)
        found.max_lsb = max(found.max_lsb, lsb)
        found.n_samples += len(blocks[0])
    if greatest > 0:
        found.max_db = 20 * math.log10(greatest / grid.full_scale)
    return found


def _block(song: Song) -> Samples:
    """Read a whole block, a shorter one only at the end."""
    found = [song.read(BLOCK)]
    n_samples = len(found[0])
    while 0 < n_samples < BLOCK and len(x := song.read(BLOCK - n_samples)):
        found.append(x)
        n_samples += len(x)
    return np.concatenate(found)


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
