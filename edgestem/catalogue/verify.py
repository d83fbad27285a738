"""Reading published songs again: every byte has to be as its receipt says."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from edgestem.catalogue import receipt
from edgestem.catalogue.listing import Song

_AHEAD = 4  # songs a thread that are being read or wait to be told


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a song that was read again."""

    song: Song
    faults: tuple[str, ...]
    """Sentences; none: it is as it was published."""
    is_published: bool = True
    """It has a receipt."""


def choose(songs: Sequence[Song], n: int | None) -> Sequence[Song]:
    """Choose songs by chance, or all of them."""
    return songs if n is None or n >= len(songs) else random.sample(songs, n)


def verify(out: str, songs: Sequence[Song], n_jobs: int) -> Iterator[Finding]:
    """Read songs and their stems again; hashing leaves Python's lock, so threads do."""
    waiting = iter(songs)
    with ThreadPoolExecutor(n_jobs) as pool:
        while some := list(islice(waiting, n_jobs * _AHEAD)):
            yield from pool.map(lambda song: _look(out, song), some)


def _look(out: str, song: Song) -> Finding:
    folder = f"{out}/{song.folder}"
    try:
        made = receipt.read(folder)
        if made is None:
            return Finding(song, (), is_published=False)
        return Finding(song, tuple(_faults(folder, song, made)))
    except OSError as cause:
        return Finding(song, (f"{folder} cannot be read: {cause.strerror or cause}",))


def _faults(folder: str, song: Song, made: receipt.Receipt) -> Iterator[str]:
    expected = [(f"{folder}/{name}", out) for name, out in made["outputs"].items()]
    for path, wanted in [*expected, (song.source, made["source"])]:
        try:
            is_same = receipt.sha256(path) == wanted.get("sha256")
        except OSError as cause:
            yield f"{path} cannot be read: {cause.strerror or cause}"
            continue
        if not is_same:
            yield f"{path} is not what its receipt says"
