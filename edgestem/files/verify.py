"""The mixture law, checked on files: stems that add up to their song.

What the readers say about any of the files counts, and a second decoder is asked how
long the song is: a half that both the separation and this check read the same way
would add up, too.
"""

from __future__ import annotations

import math
import shutil
import subprocess
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgestem.errors import AudioError
from edgestem.files.loop import FILE_BLOCK
from edgestem.files.names import song_name
from edgestem.sound.formats import EXTENSIONS
from edgestem.sound.grid import GRIDS, Grid, GridSamples, convert
from edgestem.sound.reading import open_song
from edgestem.sound.song import Song
from edgestem.stems import OUTPUTS, STEMS

WITNESS_SLACK = 8192  # samples: what decoders trim of lossy codecs at both ends
KARAOKE_DB = -40.0  # a karaoke mix is instrumental and vocals at a level, this near


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
    is_lossy: bool = False
    """The stems are of a container that cannot keep every bit."""
    faults: list[str] = field(default_factory=list)
    """What is wrong besides the sum: damaged values, torn stems, samples unread."""
    warnings: list[str] = field(default_factory=list)
    """What a person should know of the song itself."""

    @property
    def is_exact(self) -> bool:
        """Integers must add up exactly, floats to their last place."""
        limit = 1 if GRIDS[self.subtype].is_float else 0
        return self.max_lsb <= limit and not self.faults

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints; no residual has a level of null dB."""
        level = self.max_db if math.isfinite(self.max_db) else None
        return {**asdict(self), "max_db": level, "is_exact": self.is_exact}

    def __str__(self) -> str:
        """Write one line for a person."""
        unit = "units in the last place" if GRIDS[self.subtype].is_float else "LSB"
        word = "adds up" if self.is_exact else "DOES NOT add up"
        if self.is_lossy and not self.is_exact and not self.faults:
            word = "CANNOT add up to the bit, for its stems are lossy"
        kind = "" if GRIDS[self.subtype].is_float else " bit"
        line = (
            f"{self.song}: {word}: residual {self.max_lsb:g} {unit} ({self.max_db:.1f} "
            f"dB) in {self.n_samples} samples, {self.n_channels} channels, "
            f"{self.subtype}{kind}"
        )
        return "; ".join([line, *self.faults])


def verify(out_dir: str | Path, path: str | Path) -> Residual:
    """Add the stems of a song and compare the sum with it.

    Parameters
    ----------
    out_dir : str or Path
        What `separate` had as -o, or the folder of the stems itself.  Stems in
        several containers are all compared.
    path : str or Path
        The song; it is put on the stems' grid as `separate` does.

    Returns
    -------
    Residual
        Of the worst set of stems.

    Raises
    ------
    AudioError
        `no_stems`: none there.  `unreadable`: a file cannot be read.
        `stems_differ`: another length, rate or number of channels.
    """
    found = [_verify_set(folder, stems, path) for folder, stems in _sets(out_dir, path)]
    if str(path) != "-":
        _ask_witness(found, Path(path))
    return min(found, key=lambda one: (one.is_exact, -one.max_lsb))


def _verify_set(folder: Path, stems: list[Path], path: str | Path) -> Residual:
    with ExitStack() as stack:
        songs = [
            stack.enter_context(closing(open_song(source))) for source in (path, *stems)
        ]
        return _compare(songs, folder)


def _sets(out_dir: str | Path, path: str | Path) -> list[tuple[Path, list[Path]]]:
    """Find the complete sets of stems, with the karaoke mix where there is one."""
    folders = _folders(Path(out_dir), path)
    for folder in folders:
        found = []
        for file_format in EXTENSIONS:
            stems = [folder / f"{stem}.{file_format}" for stem in OUTPUTS]
            if all(stem.is_file() for stem in stems[:2]):
                found.append((folder, [stem for stem in stems if stem.is_file()]))
        if found:
            return found
    if str(path) != "-":
        open_song(path).close()  # a song that is not there is the better reason
    raise AudioError(
        _what_is_missing(folders, path), code="no_stems", path=str(out_dir)
    )


def _folders(out_dir: Path, path: str | Path) -> list[Path]:
    """List where `separate` may have put a song's stems, the surest place first.

    Songs of one name keep their extensions, and those of a folder the folders between.
    """
    if str(path) == "-":
        return [out_dir / song_name(path), out_dir]
    above = [part for part in Path(path).parent.parts if part not in ("/", "..")]
    below = [out_dir.joinpath(*above[at:]) for at in range(len(above) + 1)]
    names = (Path(path).name, song_name(path))
    return [folder / name for folder in below for name in names] + [out_dir]


def _what_is_missing(folders: list[Path], path: str | Path) -> str:
    """Say which stem is not there, or that there is none at all."""
    *likely, out_dir = folders
    for folder in folders:
        stems = {
            stem: [f for f in EXTENSIONS if (folder / f"{stem}.{f}").is_file()]
            for stem in STEMS
        }
        lacking = [stem for stem, formats in stems.items() if not formats]
        if not lacking:
            return (
                f"{folder} has no vocals and instrumental of {path} in one format: "
                "edgestem separate --force writes both"
            )
        if len(lacking) < len(STEMS):
            return (
                f"{folder} has no {lacking[0]} of {path}: edgestem separate without "
                "--only writes both stems"
            )
    if not out_dir.is_dir():
        return f"there is no folder {out_dir}: name the one that separate had as -o"
    return (
        f"no stems of {path} in {out_dir}, nor in {likely[-1]}: name the folder that "
        "separate had as -o, or separate the song first"
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
    found.is_lossy = any(stem.is_lossy for stem in stems)
    greatest, mix = 0.0, _Mix()
    while True:
        blocks = [convert(song.read(FILE_BLOCK), song.grid, grid)[0] for song in songs]
        if len({len(block) for block in blocks}) > 1:
            raise _differ(mixture, "are not as long as the song")
        if len(blocks[0]) == 0:
            break
        error, lsb = _residual(grid, *blocks[:3])
        mix.add(*blocks[1:])
        greatest = max(greatest, error)
        found.max_lsb = max(found.max_lsb, lsb)
        found.n_samples += len(blocks[0])
    if greatest > 0:
        found.max_db = 20 * math.log10(greatest / grid.full_scale)
    _judge(found, mixture, stems, mix)
    return found


def _judge(found: Residual, mixture: Song, stems: list[Song], mix: _Mix) -> None:
    """Add what a sum does not see."""
    found.warnings += mixture.notes
    for stem in stems:
        found.faults += stem.notes if stem.is_damaged else []
        if stem.n_bad_samples:
            found.faults.append(
                f"{stem.name} holds {stem.n_bad_samples} values that are no sound "
                "(NaN, infinite or absurd)"
            )
    if found.n_samples == 0:
        found.faults.append("nothing was compared: the song holds no samples")
    if len(stems) > len(STEMS) and mix.error_db() > KARAOKE_DB:
        found.faults.append(f"{stems[-1].name} is no mix of these stems")


class _Mix:
    """Whether a karaoke mix is its instrumental and its vocals at some level."""

    def __init__(self) -> None:
        self._sums = np.zeros(3)  # of d d, d v, v v with d = karaoke - instrumental
        self._energy = 0.0

    def add(
        self, vocals: GridSamples, instrumental: GridSamples, *karaoke: GridSamples
    ) -> None:
        """Look at a block."""
        if karaoke:
            v = vocals.astype(np.float64)
            d = karaoke[0].astype(np.float64) - instrumental
            self._sums += [np.sum(d * d), np.sum(d * v), np.sum(v * v)]
            self._energy += float(np.sum(karaoke[0].astype(np.float64) ** 2))

    def error_db(self) -> float:
        """Return what no level of the vocals explains, relative to the mix."""
        dd, dv, vv = self._sums
        error = max(dd - (dv * dv / vv if vv > 0 else 0.0), 0.0)
        return 10 * math.log10((error + 1e-30) / (self._energy + 1e-9))


def _ask_witness(sets: list[Residual], path: Path) -> None:
    """Ask another decoder how many samples the song has, where one is installed."""
    if not shutil.which("ffmpeg"):
        return
    line = ("ffmpeg", "-nostdin", "-v", "quiet", "-protocol_whitelist", "file,pipe")
    options = ("-map", "0:a:0", "-ac", "1", "-f", "s16le", "-")
    process = subprocess.Popen(
        (*line, "-i", f"file:{path}", *options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    n_bytes = 0
    with process:
        assert process.stdout is not None
        while data := process.stdout.read(1 << 20):
            n_bytes += len(data)
    for found in sets:
        if n_bytes // 2 > found.n_samples + WITNESS_SLACK:
            found.faults.append(
                f"another decoder finds {n_bytes // 2} samples in the song, not "
                f"{found.n_samples}"
            )


def _residual(
    grid: Grid, mixture: GridSamples, vocals: GridSamples, instrumental: GridSamples
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
