"""A Dask cluster as a crew: every worker has a warm child and two songs at most.

A song is bound to the worker that got it: when that one dies, the song that it was
at is tried again elsewhere, the one behind it was not begun, and no other song is
touched: answers come as events, so that no result lies on a worker and is lost with
it.  Workers that cannot see the files, or would write other bits, are refused.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import queue
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgestem.catalogue import cluster_task
from edgestem.catalogue.failure import AGAIN, MACHINE, Failure
from edgestem.catalogue.ledger import Ledger, Result
from edgestem.catalogue.listing import Song
from edgestem.errors import EdgestemError
from edgestem.missing import way_to_install

IN_FLIGHT = 2  # songs a worker: one is done, one waits
LOOK_S = 1.0  # between two looks at who is there
NOBODY_S = 60.0  # without any worker: nothing will come
_FETCH_S = 5.0  # for an error that the scheduler has
_CONNECT_S = 10.0
_SOME = 10  # songs that a worker has to see before it gets one
_WORDS = ("edgestem", "runtime", "model", "options")  # that have to be the same


_Answer = tuple[str, str, Mapping[str, Any]]  # worker's address, key, what it said


@dataclass(slots=True)
class _Hand:
    """A Dask worker that we know of."""

    address: str
    host: str = ""
    is_ready: bool = False
    is_refused: bool = False
    songs: dict[str, tuple[Song, Any]] = field(default_factory=dict)
    """Key -> song and future, in the order that they were given."""
    greeting: Any = None
    """Future of the greeting, while it is awaited."""


class Cluster:
    """The workers of a Dask scheduler.

    Parameters
    ----------
    address : str
        Of the scheduler: tcp://HOST:8786; tls:// with Dask's own settings.
    first : mapping
        What every child is told first.
    ledger : Ledger
    known : mapping
        What a child has to answer: edgestem's version, runtime, model, options.
    redo : bool
        Replace what has a receipt that differs.
    warn : callable
        Told a sentence about a worker that is refused or lost.

    Raises
    ------
    EdgestemError
        `cluster_missing`: the extra is not installed.
    """

    def __init__(
        self,
        address: str,
        first: Mapping[str, Any],
        ledger: Ledger,
        *,
        known: Mapping[str, Any],
        redo: bool,
        warn: Callable[[str], None],
    ) -> None:
        self._library = _library()
        self._address, self._first, self._ledger = address, dict(first), ledger
        self._known, self._redo, self._warn = known, redo, warn
        self._hands: dict[str, _Hand] = {}
        self._ended: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._next_look = 0.0
        self._seen_last = time.monotonic()
        self._seen: list[str] = []
        self._late: list[Result] = []  # of songs whose worker has gone

    def run(self, songs: Iterable[Song]) -> Iterator[Result]:
        """Do songs; yield each once, when nothing more is to be done about it."""
        songs = list(songs)
        if not songs:
            return
        self._ledger.begin(songs)
        mark = self._mark()
        some = songs[:: max(1, len(songs) // _SOME)]
        self._seen = [mark, *(song.source for song in some)]
        try:
            with self._connected() as self._client:
                while self._n_busy or self._ledger.n_waiting:
                    self._look_round()
                    self._hand_out()
                    yield from self._listen()
        except OSError as cause:
            text = f"the Dask scheduler at {self._address} does not answer: {cause}"
            self._ledger.stopped_by = Failure("cluster_refused", text, AGAIN)
        finally:
            Path(mark).unlink(missing_ok=True)

    def _mark(self) -> str:
        """Write a file into the catalogue that every worker has to see."""
        store = Path(self._first["store"])
        store.mkdir(parents=True, exist_ok=True)
        mark = store / f"{self._first['token']}.here"
        mark.touch()
        return str(mark)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        logging.getLogger("distributed").setLevel(logging.ERROR)
        self._check_certificates()
        client = self._library.Client(
            self._address, timeout=_CONNECT_S, set_as_default=False
        )
        try:
            client.subscribe_topic(cluster_task.topic(self._first["token"]), self._hear)
            yield client
        finally:
            for hand in self._hands.values():
                for _, future in hand.songs.values():
                    future.release()
            with contextlib.suppress(Exception):  # it is over whatever happens
                client.run(
                    *(cluster_task.dismiss, self._first["token"]),
                    workers=[h.address for h in self._hands.values() if h.is_ready],
                    on_error="ignore",
                )
            client.close(timeout=_CONNECT_S)

    def _check_certificates(self) -> None:
        """Refuse TLS without certificates before Dask fails over it."""
        words = self._library.Security().get_connection_args("client")
        if self._address.startswith("tls://") and words.get("ssl_context") is None:
            name = "DASK_DISTRIBUTED__COMM__TLS__"
            raise ConnectionError(
                f"TLS needs {name}CA_FILE, {name}CLIENT__CERT and {name}CLIENT__KEY"
            )

    @property
    def _n_busy(self) -> int:
        return sum(len(hand.songs) for hand in self._hands.values())

    def _look_round(self) -> None:
        """Find out who has come and who has gone."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        there = set(self._client.nthreads())
        for address in there - set(self._hands):
            self._hands[address] = hand = _Hand(address)
            hand.greeting = self._submit(hand, cluster_task.greet, self._seen)
        for address in set(self._hands) - there:
            self._lose(self._hands.pop(address))
        if any(not hand.is_refused for hand in self._hands.values()):
            self._seen_last = now
        elif self._hands:
            text = f"no worker of {self._address} can be used"
            self._ledger.stopped_by = Failure("cluster_refused", text, MACHINE)
        elif now - self._seen_last > NOBODY_S:
            text = f"there is no Dask worker at {self._address}"
            self._ledger.stopped_by = Failure("cluster_refused", text, AGAIN)

    def _lose(self, hand: _Hand) -> None:
        """Take back the songs of a worker that has gone."""
        waiting = list(hand.songs.values())
        for _, future in waiting:
            future.release()
        for song, _ in reversed(waiting[1:]):
            self._ledger.give_back(song)
        for song, _ in waiting[:1]:
            text = f"the Dask worker on {hand.host} ended while it was at this song"
            failure = Failure("worker_died", text, AGAIN)
            if result := self._ledger.fail(song, failure, hand.host):
                self._late.append(result)

    def _submit(self, hand: _Hand, task: Callable[..., Any], *words: Any) -> Any:
        """Let one worker do something; its answer comes by `_hear`."""
        key = f"edgestem-{self._first['token']}-{next(self._numbers)}"
        future = self._client.submit(
            *(task, key, self._first, *words),
            key=key,
            workers=[hand.address],
            allow_other_workers=False,
            pure=False,
        )
        future.add_done_callback(lambda done: self._complain(hand.address, key, done))
        return future

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Hear an answer, in Dask's thread."""
        said = event[1]
        self._ended.put((said["address"], said["key"], json.loads(said["answer"])))

    def _complain(self, address: str, key: str, future: Any) -> None:
        """Hear, in Dask's thread, that a task could not even answer."""
        if future.status == "error":
            cause = future.exception(timeout=_FETCH_S)
            text = f"its Dask task failed: {type(cause).__name__}: {cause}"
            failed = {"code": "worker_died", "text": text, "kind": AGAIN}
            self._ended.put((address, key, {"failed": failed}))

    def _hand_out(self) -> None:
        for hand in self._hands.values():
            while hand.is_ready and len(hand.songs) < IN_FLIGHT:
                if (song := self._ledger.next()) is None:
                    return
                words = (song.root, song.name, song.is_long)
                future = self._submit(hand, cluster_task.do, words, self._redo)
                hand.songs[future.key] = (song, future)

    def _listen(self) -> Iterator[Result]:
        """Wait for something to end, and hear what came of it."""
        with contextlib.suppress(queue.Empty):
            address, key, answer = self._ended.get(timeout=LOOK_S)
            hand = self._hands.get(address)
            if hand is not None and key in hand.songs:
                song, future = hand.songs.pop(key)
                future.release()  # what is held would be done again
                if result := self._settle(hand, song, answer):
                    yield result
            elif hand is not None and hand.greeting is not None:
                hand.greeting = None
                self._welcome(hand, answer)
        while self._late:
            yield self._late.pop()

    def _welcome(self, hand: _Hand, said: Mapping[str, Any]) -> None:
        """Use a worker that would write the same bits, refuse others."""
        hand.host = said.get("host", hand.address)
        hand.is_ready = True
        if why := self._difference(said):
            self._refuse(hand, why)

    def _refuse(self, hand: _Hand, why: str) -> None:
        if not hand.is_refused:
            self._warn(f"{hand.host} ({hand.address}) is not used: {why}")
        hand.is_ready, hand.is_refused = False, True

    def _difference(self, said: Mapping[str, Any]) -> str:
        if "failed" in said:
            return str(said["failed"]["text"])
        theirs = said["ready"]
        for word in _WORDS:
            if theirs.get(word) != self._known[word]:
                mine = str(self._known[word])
                return f"its {word} is {str(theirs.get(word))[:60]}, not {mine[:60]}"
        return ""

    def _settle(
        self, hand: _Hand, song: Song, answer: Mapping[str, Any]
    ) -> Result | None:
        if "failed" not in answer:
            return self._ledger.settle(song, answer, hand.host)
        is_blind = not answer.get("is_there", True) and os.path.exists(song.source)  # noqa: PTH110
        if is_blind or answer["failed"]["kind"] == MACHINE:
            self._ledger.give_back(song)
            why = f"it cannot see {song.source}" if is_blind else _text(answer)
            self._refuse(hand, why)
            return None
        words = {**answer["failed"], "text": f"{_text(answer)} (on {hand.host})"}
        return self._ledger.settle(song, {"failed": words}, hand.host)


def _text(answer: Mapping[str, Any]) -> str:
    return str(answer["failed"]["text"])


def _library() -> Any:
    try:
        import distributed
    except ImportError as cause:
        raise EdgestemError(
            "Dask is not installed: "
            + way_to_install("distributed", debian="python3-distributed"),
            code="cluster_missing",
        ) from cause
    return distributed
