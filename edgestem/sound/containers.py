"""What the containers of stems can hold, decided before libsndfile is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgestem.errors import AudioError
from edgestem.sound.covers import Cover
from edgestem.sound.song import load_soundfile

CONTAINERS = ("wav", "flac", "ogg", "mp3")  # libsndfile's, and the daemon's
BY_FFMPEG = ("m4a", "alac", "opus")  # what the program `ffmpeg` writes
ALL_CONTAINERS = CONTAINERS + BY_FFMPEG
EXTENSIONS = ("wav", "flac", "ogg", "mp3", "m4a", "opus")  # of stems
LOSSY = ("ogg", "mp3", "m4a", "opus")
MIN_BITRATE, MAX_BITRATE = 64, 320  # kbit/s: below, mp3 cannot say its exact length
_AAC_RATES: tuple[int, ...] = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000)
_AAC_RATES += (44100, 48000, 64000, 88200, 96000)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
# Least and greatest kbit/s of mp3 from these sample rates up: MPEG-1, 2 and 2.5.
_MP3_RANGES = ((32000, (32, 320)), (16000, (8, 160)), (0, (8, 64)))
# Nominal kbit/s of Vorbis' qualities 0.0, 0.1 ... 0.9, at 44.1 kHz in stereo.
_OGG_RATES = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320)


@dataclass(frozen=True, slots=True)
class Details:
    """What only some containers have."""

    bitrate: int | None = None
    """kbit/s of ogg (about) and mp3, default `MAX_BITRATE`; of m4a and opus."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of every container; the names are those of `tags.NAMES`."""
    covers: tuple[Cover, ...] = ()
    """Pictures; wav has no place for them."""
    extras: Mapping[str, str] = field(default_factory=dict)
    """Tags of `extras.NAMES`; wav has no place for them either."""


PLAIN = Details()


def extension(file_format: str) -> str:
    """Name the extension of a format's files."""
    return "m4a" if file_format == "alac" else file_format


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


def quality(file_format: str, sample_rate: int, bitrate: int | None) -> dict[str, Any]:
    """Put kbit/s into libsndfile's words: 0 is the best, 1 the smallest.

    soundfile before 0.13 has no such words; what is asked for is refused then.
    """
    if file_format not in LOSSY:
        return {}
    soundfile = load_soundfile()
    if not hasattr(soundfile.SoundFile, "compression_level"):
        if bitrate is None:
            return {}
        raise ValueError(
            f"a bit rate needs soundfile 0.13, not {soundfile.__version__}"
        )
    wanted = MAX_BITRATE if bitrate is None else bitrate
    if file_format == "ogg":
        level = 1 - np.interp(wanted, _OGG_RATES, np.arange(10) / 10)
        return {"compression_level": float(level)}
    low, high = next(r for start, r in _MP3_RANGES if sample_rate >= start)
    return {
        "compression_level": (high - min(wanted, high)) / (high - low),
        "bitrate_mode": "CONSTANT",
    }
