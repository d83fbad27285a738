"""What runs inside a Dask worker: it hands songs to one warm child process.

The child has the network; the Dask worker only waits, and so answers its scheduler.
A child that dies is replaced; it dies with its worker, whose end of the pipe closes;
one that nobody needs for a while is let go.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from edgestem.catalogue.failure import MACHINE
from edgestem.catalogue.listing import Song
from edgestem.catalogue.process import Worker

IDLE_S = 120.0  # after which a child is let go: its run has ended, or will ask again
Message = dict[str, Any]


class _Place:
    """The child of one run in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # workers may have several threads
        self._child: Worker | None = None
        self._timer: threading.Timer | None = None

    def ready(self, first: Mapping[str, Any]) -> Message:
        """Have a child that is ready, or say why there is none."""
        with self._lock:
            return self._start(first)

    def do(self, first: Mapping[str, Any], song: Song, *, redo: bool) -> Message:
        with self._lock:
            self._hold()
            answer = {} if self._child else self._start(first)
            if "failed" in answer:
                return answer
            assert self._child is not None
            self._child.give(song, redo=redo)
            found = self._child.ask() or self._lost()
            self._wait()
            return found

    def hurry(self) -> None:
        """Let the child end in the middle of a song, without waiting for it."""
        if (child := self._child) is not None:
            child.dismiss()
        threading.Thread(target=self.end, daemon=True).start()

    def end(self) -> None:
        with self._lock:
            self._hold()
            if self._child is not None:
                self._child.end()
            self._child = None

    def _start(self, first: Mapping[str, Any]) -> Message:
        if self._child is not None:
            self._child.end()
        self._child = Worker({**first, "host": socket.gethostname()})
        said = self._child.ask() or self._lost()
        if "failed" in said and self._child is not None:
            self._child.end()
            self._child = None
        self._wait()
        return said

    def _lost(self) -> Message:
        """Bury a child that has ended."""
        assert self._child is not None
        failure = self._child.obituary()
        self._child.end()
        self._child = None
        return {
            "failed": {"code": failure.code, "text": failure.text, "kind": failure.kind}
        }

    def _hold(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._hold()
        self._timer = threading.Timer(IDLE_S, self.end)
        self._timer.daemon = True
        self._timer.start()


_places: dict[str, _Place] = {}  # by the token of the run
_lock = threading.Lock()


def _place(token: str) -> _Place:
    with _lock:
        return _places.setdefault(token, _Place())


def topic(token: str) -> str:
    """Name the events of a run: answers go there."""
    return f"edgestem-{token}"


def greet(key: str, first: Mapping[str, Any], seen: Sequence[str]) -> None:
    """Get ready; answer what for, or what of `seen` is not there."""
    for path in seen:
        if not os.path.exists(path):  # noqa: PTH110 - it never raises
            text = f"it cannot see {path}"
            failed = {"code": "cluster_refused", "text": text, "kind": MACHINE}
            return _answer(key, first, {"failed": failed})
    return _answer(key, first, _place(first["token"]).ready(first))


def do(
    key: str, first: Mapping[str, Any], song: tuple[str, str, bool], redo: bool
) -> None:
    """Do one song."""
    found = _place(first["token"]).do(first, Song(*song), redo=redo)
    if "failed" in found:
        found["is_there"] = os.path.exists(Song(*song).source)  # noqa: PTH110
    _answer(key, first, found)


def _answer(key: str, first: Mapping[str, Any], found: Message) -> None:
    """Answer by an event: a result would lie here, and be lost with this worker."""
    import distributed

    words = {**found, "host": socket.gethostname()}
    worker = distributed.get_worker()
    # As text: Dask would make tuples of the lists.
    message = {"key": key, "address": worker.address, "answer": json.dumps(words)}
    worker.log_event(topic(first["token"]), message)


def dismiss(token: str) -> None:
    """Let the child of a run go, at once: this is the worker's own event loop."""
    with _lock:
        place = _places.pop(token, None)
    if place is not None:
        place.hurry()
