"""What numbers of the command line may be; anything else is a usage error."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable

from edgestem.network.choices import MAX_THREADS


def whole(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise _wrong(f"{low} to {high}", text)
        return number

    return read


threads = whole(1, MAX_THREADS)


def real(low: float, high: float) -> Callable[[str], float]:
    """Make a reader of numbers from `low` to `high`."""

    def read(text: str) -> float:
        number = _float(text)
        if not low <= number <= high:  # NaN compares false
            raise _wrong(f"{low:g} to {high:g}", text)
        return number

    return read


def level(low: float, high: float) -> Callable[[str], float]:
    """Make a reader of decibels from `low` to `high`, or -inf: silence."""

    def read(text: str) -> float:
        number = _float(text)
        if not (low <= number <= high or number == -math.inf):
            raise _wrong(f"decibels from {low:g} to {high:g}, or -inf", text)
        return number

    return read


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def core(text: str) -> int:
    """Read the number of a core that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number not in usable:
        raise _wrong(f"one of the cores {', '.join(map(str, usable))}", text)
    return number


def filled(text: str) -> str:
    """Read a word that may not be empty: a shell's unset variable is."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, got an empty word")
    return text


def _wrong(expected: str, text: str) -> argparse.ArgumentTypeError:
    shown = text if len(text) <= 40 else f"{text[:37]}..."
    return argparse.ArgumentTypeError(f"expected {expected}, got {shown}")
