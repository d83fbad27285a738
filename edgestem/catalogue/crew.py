"""Worker processes on this machine: hired, given songs, buried, replaced.

One song a worker is in flight, so that a worker that dies costs one song's work.
"""

from __future__ import annotations

import select
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edgestem.catalogue.failure import MACHINE, Failure
from edgestem.catalogue.ledger import Ledger, Result
from edgestem.catalogue.listing import Song
from edgestem.catalogue.process import Worker
from edgestem.files.coworker import end_all

_MAX_DEATHS = 3  # of workers that never were ready: another one would die, too


class Crew:
    """Processes on this machine.

    Parameters
    ----------
    first : mapping
        What every worker is told first.
    ledger : Ledger
        Of the songs; its `stopped_by` says why some were not tried.
    n_jobs : int
        Processes.
    redo : bool
        Replace what has a receipt that differs.
    """

    def __init__(
        self, first: Mapping[str, Any], ledger: Ledger, *, n_jobs: int, redo: bool
    ) -> None:
        self._first, self._ledger = first, ledger
        self._n_jobs, self._redo = n_jobs, redo
        self._workers: dict[int, Worker] = {}  # by descriptor
        self._poll = select.poll()
        self._n_deaths = 0

    def run(self, songs: Iterable[Song]) -> Iterator[Result]:
        """Do songs; yield each once, when nothing more is to be done about it."""
        self._ledger.begin(songs)
        try:
            while self._n_busy or self._ledger.n_waiting:
                self._hire()
                self._hand_out()
                for fd, _ in self._poll.poll(self._patience_ms()):
                    yield from self._listen(self._workers[fd])
        finally:
            end_all(self._workers.values())
            self._workers.clear()

    @property
    def _n_busy(self) -> int:
        return sum(worker.song is not None for worker in self._workers.values())

    def _hire(self) -> None:
        """Have as many workers as there are songs for, up to the number of jobs."""
        wanted = min(self._n_jobs, self._n_busy + self._ledger.n_waiting)
        while len(self._workers) < wanted:
            worker = Worker(self._first)
            self._workers[worker.fileno()] = worker
            self._poll.register(worker.fileno(), select.POLLIN)

    def _hand_out(self) -> None:
        for worker in self._workers.values():
            is_free = worker.is_ready and worker.song is None
            if is_free and (song := self._ledger.next()) is not None:
                worker.give(song, redo=self._redo)

    def _patience_ms(self) -> float | None:
        """How long to wait for workers: until a song's pause is over."""
        pause_s = self._ledger.pause_s
        return None if pause_s is None else pause_s * 1000 + 1

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
                self._ledger.stopped_by = Failure.from_json(answer["failed"])
            else:
                song, worker.song = worker.song, None
                if result := self._ledger.settle(song, answer):
                    yield result

    def _bury(self, worker: Worker) -> Iterator[Result]:
        """See to a worker that has ended, and to its song."""
        self._poll.unregister(worker.fileno())
        del self._workers[worker.fileno()]
        failure = worker.obituary()
        worker.end()
        if worker.song is not None:
            if result := self._ledger.fail(worker.song, failure):
                yield result
        elif not worker.is_ready and self._ledger.stopped_by is None:
            self._n_deaths += 1
            if self._n_deaths >= _MAX_DEATHS:
                self._ledger.stopped_by = Failure(failure.code, failure.text, MACHINE)
