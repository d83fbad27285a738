"""How a song begins, kept beside its vocals: sound before its decoder has started.

libsndfile opens a song in a millisecond.  For m4a and others two programs have to start
first, ffprobe and ffmpeg, which takes a second on a busy board.  So the store keeps the
first seconds of such songs; the decoder starts meanwhile, and reads them too: what it
gives is what counts.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from edgestem.play.pages import narrow_dtype
from edgestem.play.track import Track
from edgestem.sound.grid import GRIDS, Grid, GridSamples

KEPT_S = 5.0  # what two programs may take to start


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a decoder would say of a song, and the first samples of it."""

    sample_rate: int
    """Hz."""
    n_channels: int
    """1 or 2."""
    n_samples: int
    """Of the whole song."""
    grid: Grid
    """What the decoder gives samples on."""
    is_lossy: bool
    """The grid is not the song's own."""
    tags: dict[str, str]
    """title, artist ..."""
    samples: GridSamples
    """Shape (n, n_channels), as the track keeps them."""


def beginning_of(track: Track) -> bytes:
    """Write the beginning of a song that is decoded to its end."""
    n = min(round(KEPT_S * track.sample_rate), track.length)
    samples = np.ascontiguousarray(track.mixture(0, n)).tobytes()
    facts = {
        "sample_rate": track.sample_rate, "n_channels": track.n_channels,
        "n_samples": track.n_samples, "grid": track.song_grid.name,
        "is_lossy": track.is_lossy, "tags": track.tags, "kept": track.grid.name,
        "sha256": hashlib.sha256(samples).hexdigest(),
    }  # fmt: skip
    return json.dumps(facts).encode() + b"\n" + samples


def parse_beginning(data: bytes) -> Beginning | None:
    """Read a beginning; None: it is none, or damaged."""
    head, _, samples = data.partition(b"\n")
    try:
        facts = json.loads(head)
        if facts.pop("sha256") != hashlib.sha256(samples).hexdigest():
            return None
        dtype = narrow_dtype(GRIDS[facts.pop("kept")])
        x: GridSamples = np.frombuffer(samples, dtype).reshape(-1, facts["n_channels"])
        return Beginning(**{**facts, "grid": GRIDS[facts["grid"]], "samples": x})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
