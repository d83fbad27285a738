"""Whose message is handled next, while somebody else plays live.

Python runs one thread at a time, so a hundred busy connections would take it from
the one that has to answer within milliseconds.  As long as a live stream of another
user plays, everybody else works in turns: one thread at a time, users one after
the other, a few messages each, between the live blocks.  Nobody who waits in line
competes for the interpreter.  Without live streams, and beside one that is silent
for a second, there are no turns at all.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator

MESSAGES = 16  # a turn
TURN_S = 0.0005  # of work: then it is the next one's turn
HELD_S = 0.05  # a turn that does not end for so long no longer keeps others waiting
LIVE_S = 0.005  # how long a live block keeps a turn waiting
REST = 4.0  # times a turn's length in which there is none: the load stays at 20 %
HEARD_S = 1.0  # after a live stream's last block it takes nobody's time any more
LIVE_MESSAGES = 1000.0  # of a user's live audio a second; what is more takes turns
LIVE_BURST = 500.0
NOBODY = -1  # no user has this number
OPENS, OPEN_BURST = 2.0, 4.0  # streams that a user opens a second beside live ones


class Allowance:
    """So much a second for each user, and some of it at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left: dict[int, tuple[float, float]] = {}  # uid -> left, when

    def take(self, uid: int) -> float:
        """Take one; return how many seconds too early that is."""
        now = time.monotonic()
        left, since = self._left.get(uid, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate) - 1
        self._left[uid] = (max(left, -1.0), now)
        return max(-left, 0.0) / self._rate


class Turns:
    """Hands out turns; see the module's text."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._live: Counter[int] = Counter()  # open live streams by uid
        self._heard: dict[int, float] = {}  # uid -> when one of them last had a block
        self._busy: set[int] = set()  # threads with a live block in hand
        self._waiting: dict[int, deque[threading.Lock]] = {}
        self._holder: threading.Lock | None = None
        self._last_s = 0.0  # how long the latest turn was
        self._mine = threading.local()
        self._messages = Allowance(LIVE_MESSAGES, LIVE_BURST)
        self._opens = Allowance(OPENS, OPEN_BURST)
        self._usher: threading.Thread | None = None

    # ---- live streams ---------------------------------------------------------

    def live_opens(self, uid: int) -> None:
        """Count a live stream."""
        with self._lock:
            self._live[uid] += 1
            self._heard[uid] = time.monotonic()

    def live_closes(self, uid: int) -> None:
        """Count it no longer."""
        with self._changed:
            self._live[uid] -= 1
            if self._live[uid] <= 0:
                del self._live[uid]
                self._heard.pop(uid, None)
            self._changed.notify_all()

    @contextlib.contextmanager
    def live_block(self, uid: int) -> Iterator[None]:
        """Keep the others' turns from beginning while a live block is in hand."""
        self._heard[uid] = time.monotonic()
        self._busy.add(threading.get_ident())
        try:
            yield
        finally:
            self._busy.discard(threading.get_ident())

    def is_free(self, uid: int) -> bool:
        """Say whether nobody else's live stream plays."""
        live = self._live
        if not live or (len(live) == 1 and uid in live):
            return True
        since = time.monotonic() - HEARD_S
        return all(self._heard.get(u, 0.0) < since for u in tuple(live) if u != uid)

    def live_message(self, uid: int) -> bool:
        """Count a block of live audio; False: this user sends too many."""
        with self._lock:
            return self._messages.take(uid) == 0

    def wait_to_open(self, uid: int) -> None:
        """Let a user wait who opens stream after stream beside somebody's live one."""
        with self._lock:
            wait_s = 0.0 if self.is_free(uid) else self._opens.take(uid)
        if wait_s:
            time.sleep(wait_s)

    # ---- everybody else -------------------------------------------------------

    def begin(self, uid: int) -> None:
        """Wait for a turn, if there are turns now."""
        self.end()
        if self.is_free(uid):
            return
        ticket = threading.Lock()
        ticket.acquire()
        with self._changed:
            self._waiting.setdefault(uid, deque()).append(ticket)
            self._start_usher()
            self._changed.notify_all()
        ticket.acquire()
        self._mine.turn = (uid, ticket, time.perf_counter(), [0])

    def end(self) -> None:
        """Give this thread's turn back, if it has one."""
        turn = getattr(self._mine, "turn", None)
        if turn is None:
            return
        self._mine.turn = None
        self._last_s = time.perf_counter() - turn[2]
        with self._changed:
            if self._holder is turn[1]:
                self._holder = None
                self._changed.notify_all()

    def step(self, uid: int) -> None:
        """Count a message; end the turn and wait for the next when it is used up."""
        turn = getattr(self._mine, "turn", None)
        if turn is None:
            if not self.is_free(uid):
                self.begin(uid)
            return
        turn[3][0] += 1
        if turn[3][0] >= MESSAGES or time.perf_counter() - turn[2] > TURN_S:
            self.begin(uid)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Give the turn back around something that waits."""
        turn = getattr(self._mine, "turn", None)
        if turn is None:
            yield
            return
        self.end()
        try:
            yield
        finally:
            self.begin(turn[0])

    # ---- the usher ------------------------------------------------------------

    def _start_usher(self) -> None:
        if self._usher is None:
            self._usher = threading.Thread(
                target=self._grant_all, name="turns", daemon=True
            )
            self._usher.start()

    def _grant_all(self) -> None:
        while True:
            self._grant_next()
            if not self.is_free(
                NOBODY
            ):  # it has the interpreter for the rest of the time
                time.sleep(min(max(self._last_s, TURN_S), HELD_S) * REST)

    def _grant_next(self) -> None:
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            self._changed.wait_for(lambda: self._holder is None, HELD_S)
            deadline = time.monotonic() + LIVE_S
            while self._busy and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(min(left, 0.001))
            if not self._waiting:
                return
            uid = next(iter(self._waiting))
            queue = self._waiting.pop(uid)
            ticket = queue.popleft()
            if queue:  # behind the other users
                self._waiting[uid] = queue
            self._holder = ticket
            ticket.release()
