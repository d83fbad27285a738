"""How far a catalogue is, from its receipts alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from edgestem.catalogue import receipt
from edgestem.catalogue.identity import Identity
from edgestem.catalogue.listing import Song

DONE, STALE, TO_DO = "done", "stale", "to do"


@dataclass(slots=True)
class Survey:
    """What the receipts of a list say."""

    counts: Counter[str] = field(default_factory=Counter)
    """DONE: published as asked for; STALE: with another model, runtime or options;
    TO_DO: the rest."""
    differences: Counter[str] = field(default_factory=Counter)
    """Of the stale ones: what differs -> songs."""
    audio_s: float = 0.0
    """Length of the songs that are done."""
    n_warned: int = 0
    """Done songs with something that a person should know."""
    hosts: Counter[str] = field(default_factory=Counter)
    """Machine -> songs that it did."""
    unfinished: dict[str, list[Song]] = field(
        default_factory=lambda: {STALE: [], TO_DO: []}
    )
    """The songs that are not done."""

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints."""
        return {
            **{word.replace(" ", "_"): self.counts[word] for word in _STATES},
            "differences": dict(self.differences),
            "audio_s": round(self.audio_s, 3),
            "warned": self.n_warned,
            "hosts": dict(self.hosts),
        }


_STATES = (DONE, STALE, TO_DO)


def survey(out: str, songs: Iterable[Song], known: Identity) -> Survey:
    """Look at the receipts of songs."""
    found = Survey()
    for song in songs:
        folder = f"{out}/{song.folder}"
        made = receipt.read(folder)
        state = _state(folder, song, made, known, found)
        found.counts[state] += 1
        if state != DONE:
            found.unfinished[state].append(song)
        elif made is not None:
            _add(found, made)
    return found


def _add(found: Survey, made: receipt.Receipt) -> None:
    decoded = made["decoded"]
    found.audio_s += decoded["samples"] / decoded["sample_rate"]
    found.n_warned += bool(made.get("warnings"))
    found.hosts[made.get("host", "?")] += 1


def _state(
    folder: str,
    song: Song,
    made: receipt.Receipt | None,
    known: Identity,
    found: Survey,
) -> str:
    if made is None or not receipt.is_whole(folder, made):
        return TO_DO
    try:
        if not receipt.is_same_file(os.stat(song.source), made):  # noqa: PTH116
            return TO_DO  # the worker looks into it
    except OSError:
        return TO_DO
    if difference := known.difference(made):
        found.differences[difference] += 1
        return STALE
    return DONE
