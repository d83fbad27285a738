"""Worker processes and the songs that they do: handed out, lost, done again.

A song whose worker was killed, or whose disk stumbled, is done again later, as often
as asked for; the worker is replaced.  One song a worker is in flight, so that a
worker that dies costs one song's work.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgestem.catalogue.failure import AGAIN, FULL, MACHINE, Failure
from edgestem.catalogue.listing import Song
from edgestem.catalogue.process import Worker
from edgestem.catalogue.publish import BUSY

_PAUSE_S = 1.0  # before another try, times the number of tries
_MAX_DEATHS = 3  # of workers that never were ready: another one would die, too


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


class Crew:
    """Processes on this machine.

    Parameters
    ----------
    first : mapping
        What every worker is told first.
    n_jobs : int
        Processes.
    retries : int
        Times that a song is done again where that may help.
    redo : bool
        Replace what has a receipt that differs.
    busy_s : float
        Before a song that somebody else works on is looked at again.

    Attributes
    ----------
    stopped_by : Failure or None
        Why the rest was not tried: no song would do better.
    pids : set of int
        Of the workers that live.
    """

    def __init__(
        self,
        first: Mapping[str, Any],
        *,
        n_jobs: int,
        retries: int,
        redo: bool,
        busy_s: float,
    ) -> None:
        self._first, self._n_jobs, self._redo = first, n_jobs, redo
        self._retries, self._busy_s = retries, busy_s
        self._workers: dict[int, Worker] = {}  # by descriptor
        self._poll = select.poll()
        self._songs: deque[Song] = deque()
        self._later: list[tuple[float, int, Song]] = []  # a heap, by time
        self._attempts: dict[Song, int] = {}  # of songs that were begun
        self._numbers = itertools.count()
        self._n_deaths = 0
        self.stopped_by: Failure | None = None

    @property
    def pids(self) -> set[int]:
        """Process ids of the workers that live."""
        return {worker.pid for worker in self._workers.values()}

    def run(self, songs: Iterable[Song]) -> Iterator[Result]:
        """Do songs; yield each once, when nothing more is to be done about it.

        Songs that are not yielded were not tried to their end: `stopped_by` says why.
        """
        self._songs.extend(songs)
        try:
            while self._is_at_work():
                self._hire()
                self._hand_out()
                for fd, _ in self._poll.poll(self._patience_ms()):
                    yield from self._listen(self._workers[fd])
        finally:
            self._end()

    def _is_at_work(self) -> bool:
        is_busy = any(worker.song for worker in self._workers.values())
        if self.stopped_by is not None:
            return is_busy
        return bool(is_busy or self._songs or self._later)

    def _hire(self) -> None:
        """Have as many workers as there are songs for, up to the number of jobs."""
        n_busy = sum(worker.song is not None for worker in self._workers.values())
        wanted = min(self._n_jobs, n_busy + len(self._songs) + len(self._later))
        while self.stopped_by is None and len(self._workers) < wanted:
            worker = Worker(self._first)
            self._workers[worker.fileno()] = worker
            self._poll.register(worker.fileno(), select.POLLIN)

    def _hand_out(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            self._songs.append(heapq.heappop(self._later)[2])
        for worker in self._workers.values():
            is_free = worker.is_ready and worker.song is None
            if is_free and self._songs and self.stopped_by is None:
                song = self._songs.popleft()
                self._attempts[song] = self._attempts.get(song, 0) + 1
                worker.give(song, redo=self._redo)

    def _patience_ms(self) -> float | None:
        """How long to wait for workers: until a song's pause is over."""
        if not self._later:
            return None
        return max(0.0, self._later[0][0] - time.monotonic()) * 1000 + 1

    def _listen(self, worker: Worker) -> Iterator[Result]:
        answers = worker.hear()
        if answers is None:
            yield from self._bury(worker)
            return
        for answer in answers:
            if "ready" in answer:
                worker.is_ready = True
                self._n_deaths = 0
            elif worker.song is None:
                self.stopped_by = Failure.from_json(answer["failed"])
            else:
                song, worker.song = worker.song, None
                yield from self._settle(song, answer)

    def _settle(self, song: Song, answer: Mapping[str, Any]) -> Iterator[Result]:
        """Decide whether an answer is the last word about a song."""
        if "failed" in answer:
            yield from self._settle_failure(song, Failure.from_json(answer["failed"]))
        elif answer["state"] == BUSY:
            self._attempts[song] -= 1
            self._put_off(song, self._busy_s)
        else:
            attempts = self._attempts.pop(song)
            yield Result(song, answer["state"], attempts, answer)

    def _settle_failure(self, song: Song, failure: Failure) -> Iterator[Result]:
        if failure.kind in (FULL, MACHINE):
            self.stopped_by = failure
        elif failure.kind == AGAIN and self._attempts[song] <= self._retries:
            self._put_off(song, _PAUSE_S * self._attempts[song])
            return
        attempts = self._attempts.pop(song)
        yield Result(song, "failed", attempts, failure=failure)

    def _put_off(self, song: Song, pause_s: float) -> None:
        when = time.monotonic() + pause_s
        heapq.heappush(self._later, (when, next(self._numbers), song))

    def _bury(self, worker: Worker) -> Iterator[Result]:
        """See to a worker that has ended, and to its song."""
        self._poll.unregister(worker.fileno())
        del self._workers[worker.fileno()]
        failure = worker.obituary()
        worker.end()
        if worker.song is not None:
            yield from self._settle_failure(worker.song, failure)
        elif not worker.is_ready and self.stopped_by is None:
            self._n_deaths += 1
            if self._n_deaths >= _MAX_DEATHS:
                self.stopped_by = Failure(failure.code, failure.text, MACHINE)

    def _end(self) -> None:
        for worker in self._workers.values():
            worker.dismiss()
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()
