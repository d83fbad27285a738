"""Levels as people and controllers give them, in decibels."""

from __future__ import annotations

import math

from edgestem.stems import MAX_DB, SILENT_DB

MAX_BLOCK = 16384  # samples of one `take` of `faders.Levels`


def gain_of(level_db: float) -> float:
    """Turn decibels into a factor."""
    return 0.0 if level_db <= SILENT_DB else float(10 ** (level_db / 20))


def parse_db(text: str) -> float:
    """Read a level: a number of decibels up to 20, or -inf.

    Raises
    ------
    ValueError
        It is something else; the message says what is wanted.
    """
    try:
        level = float(text)
    except ValueError:
        level = math.nan
    if math.isnan(level) or level > MAX_DB:
        raise ValueError(f"expected decibels up to {MAX_DB:.0f}, or -inf, got {text}")
    return max(level, SILENT_DB)


def midi_db(value: int) -> float:
    """Level of a controller's position 0..127: the usual square law, 0 is silence."""
    return 40 * math.log10(value / 127) if value else SILENT_DB
