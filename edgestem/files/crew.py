"""Requests done by several processes at once, one a process in flight.

A process that dies costs its one request; another takes its place.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgestem.files.coworker import Coworker, Message, end_all


class Crew:
    """Processes that run one module.

    Parameters
    ----------
    module : str
        Dotted; it calls `coworker.serve`.
    first : mapping
        What each is told first.
    n_jobs : int
        Processes at most.
    """

    def __init__(self, module: str, first: Mapping[str, Any], n_jobs: int) -> None:
        self._module, self._first, self._n_jobs = module, first, n_jobs
        self._workers: dict[int, Coworker] = {}  # by descriptor
        self._at: dict[int, int] = {}  # descriptor -> request in flight
        self._poll = select.poll()

    def run(self, requests: Sequence[Message]) -> Iterator[tuple[int, Message]]:
        """Yield each request's number and answer, as they come.

        The answer of a process that died is {"failed": {"code", "text"}}.
        """
        waiting = deque(range(len(requests)))
        try:
            while waiting or self._at:
                self._hand_out(requests, waiting)
                for fd, _ in self._poll.poll():
                    yield from self._listen(fd)
        finally:
            end_all(self._workers.values())
            self._workers.clear()

    def _hand_out(self, requests: Sequence[Message], waiting: deque[int]) -> None:
        """Give what waits to whoever is idle, or to somebody new."""
        while waiting and len(self._at) < self._n_jobs:
            idle = next((fd for fd in self._workers if fd not in self._at), None)
            fd = self._hire() if idle is None else idle
            self._at[fd] = waiting.popleft()
            self._workers[fd].send(requests[self._at[fd]])

    def _hire(self) -> int:
        worker = Coworker(self._module, self._first)
        self._workers[worker.fileno()] = worker
        self._poll.register(worker.fileno(), select.POLLIN)
        return worker.fileno()

    def _listen(self, fd: int) -> Iterator[tuple[int, Message]]:
        answers = self._workers[fd].hear()
        for answer in answers or ():
            yield self._at.pop(fd), answer
        if answers is None:
            worker = self._workers.pop(fd)
            self._poll.unregister(fd)
            text = worker.last_words()
            worker.end()
            if fd in self._at:
                yield (
                    self._at.pop(fd),
                    {"failed": {"code": "worker_died", "text": text}},
                )
