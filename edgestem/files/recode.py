"""Stems of an earlier run in another container, under other names."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from edgestem.errors import AudioError
from edgestem.files.loop import FILE_BLOCK
from edgestem.files.names import song_name
from edgestem.sound.containers import Details, choose_grid
from edgestem.sound.covers import read_covers
from edgestem.sound.extras import corrected, read_extras
from edgestem.sound.formats import EXTENSIONS
from edgestem.sound.grid import GRIDS, convert
from edgestem.sound.reading import open_song
from edgestem.sound.wav import WavFormat
from edgestem.sound.writing import StemFiles
from edgestem.stems import STEMS


def find_stems(folder: Path, path: Path, relative: Path) -> dict[str, Path]:
    """Find both stems of a song in what `separate` had as -o; empty: not there.

    Parameters
    ----------
    relative : Path
        Where the song lies in the folder that was searched.
    """
    for name in (song_name(path), path.name):
        for place in (folder / relative / name, folder / name):
            for extension in EXTENSIONS:
                found = {stem: place / f"{stem}.{extension}" for stem in STEMS}
                if all(file.is_file() for file in found.values()):
                    return found
    return {}


def recode(
    sources: Mapping[str, Path],
    targets: Mapping[str, Path],
    file_format: str,
    song: str | Path,
) -> int:
    """Write stems to other files; return their length in samples.

    Parameters
    ----------
    sources : mapping
        The stems' files; of one length, rate and number of channels.
    targets : mapping
        Where each goes; they are replaced.
    file_format : str
        One of `ALL_FORMATS`.
    song : str or Path
        Whose tags and covers they carry.

    Raises
    ------
    AudioError
        `unreadable`, `unwritable`, or `stems_differ`.
    """
    original = open_song(song)
    original.close()
    extras = read_extras(song)
    tags = corrected(original.tags, extras)
    details = Details(None, tags, read_covers(song), extras)
    n_samples = 0
    with ExitStack() as stack:
        stems = {
            name: stack.enter_context(closing(open_song(sources[name])))
            for name in targets
        }
        shapes = {(s.sample_rate, s.n_channels, s.grid.name) for s in stems.values()}
        if len(shapes) > 1:
            raise _differ(sources)
        one = next(iter(stems.values()))
        own = GRIDS["16"] if one.is_lossy else one.grid
        grid, _ = choose_grid("keep", file_format, own)
        wav = WavFormat(grid, one.sample_rate, one.n_channels, one.n_samples)
        files = stack.enter_context(
            StemFiles(targets, file_format, wav, details=details, is_forced=True)
        )
        while True:
            blocks = {
                name: convert(stem.read(FILE_BLOCK), stem.grid, grid)[0]
                for name, stem in stems.items()
            }
            lengths = {len(block) for block in blocks.values()}
            if len(lengths) > 1:
                raise _differ(sources)
            if lengths == {0}:
                break
            n_samples += lengths.pop()
            files.write(blocks)
        files.commit()
    return n_samples


def _differ(sources: Mapping[str, Path]) -> AudioError:
    place = next(iter(sources.values())).parent
    return AudioError(
        f"the stems in {place} are of two songs: separate this one again",
        code="stems_differ",
        path=str(place),
    )
