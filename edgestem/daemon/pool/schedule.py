"""Who may call the network now: live streams before jobs, call by call.

`Scheduler` hands out slots; `PacedSeparator` is the engine with every network call
inside a slot, timed.  On a CPU there are as many slots as cores and what is not
live leaves one of them free; an accelerator has one slot, so a live call waits for
one call of a job at most.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from edgestem.engine.separator import Separator
from edgestem.errors import EdgestemError
from edgestem.network.geometry import frame_sizes
from edgestem.network.sidecar import ModelConfig

FIRST, LAST = 0, 1
# Of the memory of a stream, each as measured with all our models at 44.1 and 384 kHz:
_BASE = 10 << 20  # bytes of queues, buffers and a thread
_WEIGHTS = 4  # times the model's file: as read, as packed for the processor
_MAPS = 24  # times a frame's input for what a network holds between its layers
_ROWS = 3  # spectra kept for each frame of context
AVERAGE = 0.05  # weight of the newest call in the running mean: about 20 calls


class Scheduler:
    """Slots for network calls.

    Parameters
    ----------
    n_slots : int
        Calls at the same time.
    """

    def __init__(self, n_slots: int) -> None:
        self.n_slots = n_slots
        self._limits = (n_slots, max(1, n_slots - 1))
        self._lock = threading.Lock()
        self._n_running = [0, 0]
        self._waiting: tuple[deque[threading.Lock], ...] = (deque(), deque())
        self._since: dict[int, float] = {}

    def acquire(self, priority: int) -> None:
        """Wait for a slot."""
        with self._lock:
            if self._may_run(priority) and not self._waiting[priority]:
                self._start(priority)
                return
            ticket = threading.Lock()
            ticket.acquire()
            self._waiting[priority].append(ticket)
        ticket.acquire()  # whoever leaves hands the slot over
        with self._lock:
            self._since[threading.get_ident()] = time.monotonic()

    def release(self, priority: int) -> None:
        """Give the slot back, to the first who waits."""
        with self._lock:
            self._n_running[priority] -= 1
            self._since.pop(threading.get_ident(), None)
            for wanted in (FIRST, LAST):  # in this order: live streams go before jobs
                while self._waiting[wanted] and self._may_run(wanted):
                    self._n_running[wanted] += 1
                    self._waiting[wanted].popleft().release()

    def longest_call(self) -> float:
        """Seconds that the oldest unfinished call has taken, for the watchdog."""
        with self._lock:
            now = time.monotonic()
            return max((now - since for since in self._since.values()), default=0.0)

    def n_waiting(self) -> int:
        """Count calls that wait for a slot."""
        with self._lock:
            return sum(map(len, self._waiting))

    def _may_run(self, priority: int) -> bool:
        n_all = sum(self._n_running)
        n_same = self._n_running[priority]
        return n_all < self.n_slots and n_same < self._limits[priority]

    def _start(self, priority: int) -> None:
        self._n_running[priority] += 1
        self._since[threading.get_ident()] = time.monotonic()


class PacedSeparator(Separator):
    """A Separator whose network calls take turns with everybody else's."""

    def __init__(self, scheduler: Scheduler, *stream: int, **options: Any) -> None:
        self._scheduler = scheduler
        self.priority = LAST
        self.check: Callable[[], None] = _nothing
        """Called before each network call; may raise to give up."""
        self.around: Callable[[], AbstractContextManager[None]] = nullcontext
        """Entered around each network call, which may wait."""
        self.is_sound = True
        """No call has failed: it may be lent to the next one."""
        super().__init__(*stream, **options)
        # Not the method itself: a separator that holds itself keeps its memory until
        # the collector comes, which in a quiet daemon it does not for hours.
        in_turn = weakref.WeakMethod(self._in_turn)
        self.turn = lambda: in_turn()()  # type: ignore[misc]
        self.call_s = self.geometry.call_s
        """Audio that one call covers, seconds."""
        self.forget_times()

    def forget_times(self) -> None:
        """Start counting anew."""
        self.n_calls = 0
        self.last_s = self.peak_s = self.mean_s = self.waited_s = 0.0

    @property
    def rtf(self) -> float:
        """Mean time of the recent calls / audio time."""
        return self.mean_s / self.call_s

    @property
    def memory_bytes(self) -> int:
        """Estimate the memory of a stream with this separator."""
        return stream_bytes(self.config, self.sample_rate, self.n_channels)

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Wait for a slot, and note how long the call took."""
        self.check()
        with self.around():
            asked = time.perf_counter()
            self._scheduler.acquire(self.priority)
            started = time.perf_counter()
            try:
                yield
            except BaseException:
                self.is_sound = False
                raise
            finally:
                self._scheduler.release(self.priority)
            took_s = time.perf_counter() - started
        self._note(started - asked, took_s)

    def _note(self, waited_s: float, took_s: float) -> None:
        self.last_s = waited_s + took_s
        self.waited_s = waited_s
        self.peak_s = max(self.peak_s, self.last_s)
        weight = AVERAGE if self.n_calls else 1.0
        self.mean_s += weight * (took_s - self.mean_s)
        self.n_calls += 1


def stream_bytes(config: ModelConfig, sample_rate: int, n_channels: int) -> int:
    """Estimate the memory of a stream before its separator is there."""
    c, (_, hop) = config, frame_sizes(config, sample_rate)
    n_rows = c.left_context + c.group + c.lookahead_frames
    row = 8 * n_channels * (c.n_fft // 2) * hop // c.hop
    frame = 4 * n_channels * c.n_fft
    return _BASE + _WEIGHTS * c.n_bytes + _MAPS * c.group * frame + _ROWS * n_rows * row


def _nothing() -> None:
    pass


class Admission:
    """Refuses the live stream that would not keep up."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._lock = threading.Lock()
        self._booked: dict[int, PacedSeparator] = {}
        self._estimates: dict[int, float] = {}

    @property
    def load(self) -> float:
        """Slots that the live streams take; each counts what it measures now."""
        with self._lock:
            return sum(self._rtf(key) for key in self._booked)

    def admit(self, separator: PacedSeparator, rtf: float, share: float) -> None:
        """Book a live stream.

        Parameters
        ----------
        separator : PacedSeparator
        rtf : float
            As measured by `measure`.
        share : float
            Part of the slots that live streams may take.

        Raises
        ------
        EdgestemError
            `overloaded`, with the numbers.
        """
        with self._lock:
            load = sum(self._rtf(key) for key in self._booked)
            limit = share * self._scheduler.n_slots
            if rtf > share or load + rtf > limit:
                raise EdgestemError(
                    f"this stream needs {rtf:.3g} of a core, live streams already "
                    f"take {load:.3g}, and {limit:.3g} in all ({share:.3g} each) is "
                    "the limit: use a smaller model, mono or mode file",
                    code="overloaded",
                )
            self._booked[id(separator)] = separator
            self._estimates[id(separator)] = rtf

    def leave(self, separator: PacedSeparator) -> None:
        """Give a booking back; who has none is ignored."""
        with self._lock:
            self._booked.pop(id(separator), None)
            self._estimates.pop(id(separator), None)

    def _rtf(self, key: int) -> float:
        separator = self._booked[key]
        # A new stream has measured nothing on real audio yet.
        return separator.rtf if separator.n_calls > 8 else self._estimates[key]


def n_slots(configured: int, device: str) -> int:
    """Choose the number of slots: a core each, one on an accelerator."""
    if configured:
        return configured
    return len(os.sched_getaffinity(0)) if device == "cpu" else 1
