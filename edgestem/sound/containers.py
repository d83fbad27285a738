"""What the containers of stems can hold, decided before an encoder is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgestem.errors import AudioError
from edgestem.sound.covers import Cover
from edgestem.sound.grid import GRIDS, Grid

# Grids that the lossless formats besides wav hold, and the wider one for others.
_LOSSLESS = {"flac": ("8", "16", "24"), "alac": ("16", "24")}
_AAC_RATES: tuple[int, ...] = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000)
_AAC_RATES += (44100, 48000, 64000, 88200, 96000)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


@dataclass(frozen=True, slots=True)
class Details:
    """What only some containers have."""

    bitrate: int | None = None
    """kbit/s of ogg (about) and mp3, default `formats.MAX_BITRATE`; of m4a and opus."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of every container; the names are those of `tags.NAMES`."""
    covers: tuple[Cover, ...] = ()
    """Pictures; wav has no place for them."""
    extras: Mapping[str, str] = field(default_factory=dict)
    """Tags of `extras.NAMES`; wav has no place for them either."""


PLAIN = Details()


def choose_grid(subtype: str, file_format: str, own: Grid) -> tuple[Grid, str]:
    """Find the grid the stems are written on.

    Parameters
    ----------
    subtype : str
        "keep" or the name of a grid.
    file_format : str
        One of `formats.ALL_CONTAINERS`.
    own : Grid
        What keeping means for this song.

    Returns
    -------
    grid : Grid
    note : str
        A sentence when the format cannot keep the song's own grid.

    Raises
    ------
    AudioError
        `unsupported_format`: the format cannot hold what was asked for.
    """
    grid = own if subtype == "keep" else GRIDS[subtype]
    if grid.name in _LOSSLESS.get(file_format, GRIDS):
        return grid, ""
    if subtype != "keep":
        raise AudioError(
            f"{file_format} holds 16 or 24 bits, not {subtype}: choose --subtype 24 "
            "or --format wav",
            code="unsupported_format",
        )
    if own.name == "8":
        return GRIDS["16"], ""  # wider: nothing is lost
    note = f"{file_format} cannot keep {own.name}-bit samples: the stems are 24-bit"
    return GRIDS["24"], note


def check_rate(file_format: str, sample_rate: int, path: Path) -> None:
    """Refuse what a container cannot hold.

    libsndfile finds out too late: it fails at the first write, or crashes.

    Raises
    ------
    AudioError
        `unsupported_format`.
    """
    rate = sample_rate
    if {
        "ogg": rate <= 200_000,
        "mp3": rate in _MP3_RATES,
        "m4a": rate in _AAC_RATES,
        "flac": rate < 1 << 16 or (rate <= 655_350 and rate % 10 == 0),
    }.get(file_format, True):
        return
    takes_flac = file_format != "flac" and (rate < 1 << 16 or rate % 10 == 0)
    raise AudioError(
        f"{path}: {file_format} cannot hold {rate} Hz: choose --format "
        f"{'flac or wav' if takes_flac else 'wav'}",
        code="unsupported_format",
        path=str(path),
    )
