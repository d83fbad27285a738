"""Work behind the engine: a thread that takes what is ready, in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")
WAITING = 2  # items between the two threads: memory stays bounded


class Behind(Generic[Item]):
    """Hands items to another thread, which does one after the other.

    Used as a context manager: leaving waits until all is done.  What the work raises
    is raised again at the next `put`, or at the end; after that nothing is done.

    Parameters
    ----------
    do : callable
        The work with one item.
    """

    def __init__(self, do: Callable[[Item], None]) -> None:
        self._do = do
        self._queue: queue.Queue[Item | None] = queue.Queue(WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="edgestem-behind")

    def __enter__(self) -> Behind[Item]:
        try:
            self._thread.start()
        except BaseException as error:  # a signal, when it has begun already
            self._error = error
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:  # what waits is of no use any more
            self._error = self._error or error
        raised = self._end()
        if raised is not None:
            raise raised
        if error is None and self._error is not None:
            raise self._error

    def _end(self) -> BaseException | None:
        """Wait for the thread, whatever signals raise here; return the first of that.

        A thread that was left behind would keep the process from ending.
        """
        raised: BaseException | None = None
        while self._thread.is_alive():
            try:
                self._queue.put(None)
                self._thread.join()
            except BaseException as error:  # noqa: PERF203 - it has to go on
                self._error = self._error or error
                raised = raised or error
        return raised

    def put(self, item: Item) -> None:
        """Hand over an item; wait while two are waiting."""
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is not None:
                continue  # the other side must not wait for room
            try:
                self._do(item)
            except BaseException as error:
                self._error = error
