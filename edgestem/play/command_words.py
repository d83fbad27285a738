"""The words behind a command: numbers, times, and what to say of wrong ones."""

from __future__ import annotations

from edgestem.stems import SILENT_DB


class Wanted(ValueError):
    """What a word should have been."""


def db_text(level: float) -> str:
    """Write a level."""
    return "-inf" if level <= SILENT_DB else f"{level:g} dB"


def no_more(words: list[str]) -> None:
    """Refuse words."""
    if words:
        raise Wanted("no more words")


def one_word(words: list[str]) -> str:
    """Take exactly one word."""
    if len(words) != 1:
        raise Wanted("one word")
    return words[0]


def real(text: str, low: float, high: float) -> float:
    """Read a number within limits."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise Wanted(f"a number from {low:g} to {high:g}, got {text[:20]}")
    return value


def parse_time(text: str) -> float:
    """Read seconds, or minutes:seconds."""
    minutes, colon, seconds = text.rpartition(":")
    value = real(seconds, 0, 86400)
    return value + 60 * real(minutes, 0, 1440) if colon else value
