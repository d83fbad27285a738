"""What a song looks like, for displays."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgestem.play.track import FINAL, Track
from edgestem.sound.grid import to_float32

N_BARS, BAR_SAMPLES = 300, 1024  # of a waveform, and looked at in each bar


def waves(track: Track) -> dict[str, Any]:
    """Look at a song: how loud each stem is, bar by bar; full scale 1.

    Behind the separated front the whole mixture counts as instrumental.
    """
    length = track.length
    vocals: list[float] = []
    rest: list[float] = []
    for i in range(N_BARS if track.sample_rate and length else 0):
        at = i * length // N_BARS
        n = min(BAR_SAMPLES, max(length // N_BARS, 1))
        if at + n <= track.front:
            pair = track.final(at, n)
        else:
            whole = to_float32(track.mixture(at, n), track.grid)
            pair = (track.vocals(at, 1, FINAL) * 0, whole)
        for bars, stem in zip((vocals, rest), pair, strict=True):
            bars.append(round(float(np.max(np.abs(stem), initial=0.0)), 3))
    return {"vocals": vocals, "instrumental": rest, "front": track.front}
