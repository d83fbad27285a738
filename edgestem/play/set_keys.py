"""The keys of a set list, and what each may say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from edgestem.play.midi_words import parse_midi
from edgestem.stems import MAX_DB, SILENT_DB

FOLLOWING = {"wait": False, "follow": True}


def _number(low: float, high: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        is_number = type(value) in (int, float) and math.isfinite(value)
        if not is_number or not low <= value <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}")
        return float(value)

    return check


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return value

    return check


def _level(value: Any) -> float:
    if value == "-inf":
        return SILENT_DB
    if type(value) not in (int, float) or not SILENT_DB <= value <= MAX_DB:
        raise ValueError(f'expected decibels up to {MAX_DB:g}, or "-inf"')
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected a text in quotes")
    return value


def _midi(value: Any) -> tuple[bytes, ...]:
    return parse_midi(_text(value))


def _is_true(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _next(value: Any) -> bool:
    if value not in FOLLOWING:
        raise ValueError('expected "wait" or "follow"')
    return FOLLOWING[value]


def section_times(value: Any) -> tuple[float, float]:
    """Check the start and the end of a section, seconds.

    Raises
    ------
    ValueError
        The message says what is wanted.
    """
    is_pair = isinstance(value, list) and len(value) == 2
    if not is_pair or not all(type(x) in (int, float) for x in value):
        raise ValueError("expected [start, end] in seconds")
    if not 0 <= value[0] < value[1]:
        raise ValueError("expected a start before the end")
    return float(value[0]), float(value[1])


Keys = dict[str, Callable[[Any], Any]]
SET_KEYS: Keys = {
    "loudness": _number(-40, -5),
    "next": _next,
    "vocals": _level,
    "click": _is_true,
    "count_in": _whole(0, 8),
    "replaygain": _is_true,
}
SONG_KEYS: Keys = {
    "file": _text,
    "title": _text,
    "key": _number(-12, 12),
    "tempo": _number(50, 200),
    "vocals": _level,
    "instrumental": _level,
    "gain": _number(-60, 20),
    "start": _number(0, 86400),
    "end": _number(0, 86400),
    "next": _next,
    "bpm": _number(20, 400),
    "first_beat": _number(0, 3600),
    "meter": _whole(1, 16),
    "count_in": _whole(0, 8),
    "click": _is_true,
    "midi": _midi,
    "replaygain": _is_true,
}
