"""Songs that wait, songs that are tried again, and when nothing more is to be done."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgestem.catalogue.failure import AGAIN, FULL, MACHINE, Failure
from edgestem.catalogue.listing import Song
from edgestem.catalogue.publish import BUSY

_PAUSE_S = 1.0  # before another try, times the number of tries


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one song, at last."""

    song: Song
    state: str
    """What the worker said, or "failed"."""
    attempts: int
    """Times that it was begun here."""
    answer: Mapping[str, Any] = field(default_factory=dict)
    """Of the worker: audio_s, seconds, host, warnings."""
    failure: Failure | None = None
    host: str = ""
    """Where it failed, if that was not this machine."""


class Ledger:
    """The songs of one run.

    Parameters
    ----------
    retries : int
        Times that a song is done again where that may help.
    busy_s : float
        At most, before a song that somebody else works on is looked at again.

    Attributes
    ----------
    stopped_by : Failure or None
        Why no more songs are given out: none would do better.
    """

    def __init__(self, *, retries: int, busy_s: float) -> None:
        self._retries, self._busy_s = retries, busy_s
        self._songs: deque[Song] = deque()
        self._later: list[tuple[float, int, Song]] = []  # a heap, by time
        self._attempts: dict[Song, int] = {}  # of songs that were begun
        self._busy: dict[Song, int] = {}  # song -> times that somebody else had it
        self._numbers = itertools.count()
        self.stopped_by: Failure | None = None

    def begin(self, songs: Iterable[Song]) -> None:
        """Take songs in."""
        self._songs.extend(songs)

    @property
    def n_waiting(self) -> int:
        """Songs that are still to be given out."""
        if self.stopped_by is not None:
            return 0
        return len(self._songs) + len(self._later)

    @property
    def pause_s(self) -> float | None:
        """Time until a song may be tried again; None: there is none."""
        if not self._later:
            return None
        return max(0.0, self._later[0][0] - time.monotonic())

    def next(self) -> Song | None:
        """Give out a song, if one is due."""
        while self.pause_s == 0.0:
            self._songs.append(heapq.heappop(self._later)[2])
        if not self._songs or self.stopped_by is not None:
            return None
        song = self._songs.popleft()
        self._attempts[song] = self._attempts.get(song, 0) + 1
        return song

    def give_back(self, song: Song) -> None:
        """Take back a song that was not begun."""
        self._attempts[song] -= 1
        self._songs.appendleft(song)

    def settle(
        self, song: Song, answer: Mapping[str, Any], host: str = ""
    ) -> Result | None:
        """Decide whether an answer is the last word about a song."""
        if "failed" in answer:
            return self.fail(song, Failure.from_json(answer["failed"]), host)
        if answer["state"] == BUSY:
            self._attempts[song] -= 1
            times = self._busy[song] = self._busy.get(song, 0) + 1
            self._put_off(song, min(self._busy_s, _PAUSE_S * 2 ** min(times, 20) / 4))
            return None
        return Result(song, answer["state"], self._attempts.pop(song), answer)

    def fail(self, song: Song, failure: Failure, host: str = "") -> Result | None:
        """Decide whether a song that failed is tried again."""
        if failure.kind in (FULL, MACHINE):
            self.stopped_by = failure
        elif failure.kind == AGAIN and self._attempts[song] <= self._retries:
            self._put_off(song, _PAUSE_S * self._attempts[song])
            return None
        attempts = self._attempts.pop(song)
        return Result(song, "failed", attempts, failure=failure, host=host)

    def _put_off(self, song: Song, pause_s: float) -> None:
        when = time.monotonic() + pause_s
        heapq.heappush(self._later, (when, next(self._numbers), song))
