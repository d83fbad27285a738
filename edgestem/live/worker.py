"""The network's thread of a rig, and who looks after it.

The worker follows the mixture ring hop by hop.  When it is behind, it first makes up
for it: its calls then come too late to be heard, but the network's states stay what
they would have been.  What is further behind than the ring's slack is skipped, and
the separator starts anew at the sample it skipped to.  A call that raises is
counted and the same is done.

A call that never comes back cannot be ended.  Where a spare separator was given,
another worker takes over with it; what the first one says later is ignored.  So it is
with a thread that died; without a spare it says that it did, and the fall-back plays.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from edgestem.engine.separator import Separator
from edgestem.live.rig import N_TAILS, Done, Rig
from edgestem.stems import Stems

STUCK_S = 2.0  # a call that takes longer has died
PAUSE_S = 0.05  # after a call that raised: a broken device is not asked all the time


@dataclass(slots=True)
class Count:
    """What happened so far, over all workers of a rig."""

    n_calls: int = 0
    """Calls of the network that came back."""
    n_errors: int = 0
    """Calls that raised."""
    n_skipped_samples: int = 0
    """Samples that no call has seen."""
    last_error: str = ""
    """What the last call that raised said."""
    n_taken_over: int = 0
    """Workers that were replaced."""
    busy_s: float = 0.0
    """Time of all calls, seconds."""
    call_s: float = 0.0
    """Time of the last call, seconds."""
    peak_s: float = 0.0
    """Longest call, seconds."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user, once."""


class Worker:
    """Feeds one separator from the rig's ring, in a thread of its own."""

    def __init__(
        self,
        rig: Rig,
        separator: Separator,
        count: Count,
        prepare: Callable[[], None],
    ) -> None:
        self._rig, self.separator, self.count = rig, separator, count
        self._prepare = prepare
        self._out = Stems(
            *(np.empty((rig.hop, rig.n_channels), np.float32) for _ in range(2))
        )
        self._base = self._at = 0  # where the separator's stream began, and where it is
        self._need = rig.first_samples
        self._valid = -rig.latency_samples  # vocals are in the ring from here on
        self._slot = 0
        self.since = 0.0  # when the call at hand began; 0: there is none
        self._is_lost = False
        self.is_over = False
        self.death = ""  # what ended the thread, if not `stop`
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin at the newest sample."""
        if self._rig.n_in:
            self._begin_anew()
        self._rig.is_deserted = False
        self._thread.start()

    def stop(self, wait_s: float = 1.0) -> bool:
        """End; say whether the thread is gone."""
        self.is_over = True
        os.eventfd_write(self._rig.bell, 1)
        if self._thread.is_alive():
            self._thread.join(wait_s)
        return not self._thread.is_alive()

    # ---- the thread -----------------------------------------------------------

    def _run(self) -> None:
        """Never raise: nobody would see it, and the music would wait for vocals."""
        try:
            self._prepare_or_say()
            while not self.is_over:
                self._sleep()
                while not self.is_over and self._follow():
                    pass
        except Exception as error:
            if not self.is_over:
                self.death = f"{type(error).__name__}: {error}"
                self._rig.is_deserted = True

    def _prepare_or_say(self) -> None:
        try:
            self._prepare()
        except Exception as error:  # it works without
            what = f"{type(error).__name__}: {error}"
            self.count.notes.append(
                f"the network's thread runs as any other, it got no priority and no "
                f"core ({what}): leave --realtime and --cpu out"
            )

    def _sleep(self) -> None:
        if select.select([self._rig.bell], [], [], 0.1)[0]:
            with contextlib.suppress(BlockingIOError):  # another worker was faster
                os.eventfd_read(self._rig.bell)

    def _follow(self) -> bool:
        """Make one call of the network, if its samples are there."""
        behind = self._rig.n_in - self._at
        if behind < self._need:
            return False
        is_far = behind > self._rig.max_behind + self._need
        try:
            if self._is_lost or (is_far and not self._rig.is_waiting):
                self._begin_anew()
            else:
                self._call()
        except Exception as error:
            self.since = 0.0
            self.count.n_errors += 1
            self.count.last_error = f"{type(error).__name__}: {error}"
            self._is_lost = True
            time.sleep(PAUSE_S)
        return True

    def _call(self) -> None:
        rig, started = self._rig, time.perf_counter()
        self.since = started
        for at in range(self._at, self._at + self._need, rig.hop):
            place = at % rig.n_ring
            self.separator.push(rig.mixture[place : place + rig.hop], self._out)
        if self.is_over:
            return
        self._at += self._need
        self._need = rig.call_samples
        self._hand_over()
        self.since = 0.0
        self.count.n_calls += 1
        self.count.call_s = time.perf_counter() - started
        self.count.busy_s += self.count.call_s
        self.count.peak_s = max(self.count.peak_s, self.count.call_s)

    def _hand_over(self) -> None:
        """Put what the call finished into the ring, and say so."""
        rig, done = self._rig, self.separator.finished()
        start = self._base + done.start
        end = start + len(done.vocals)
        if end <= self._base:  # before this separator's stream
            return
        for at in range(max(start, self._base), end, rig.hop):
            part = done.vocals[at - start : at - start + rig.hop]
            rig.vocals[at % rig.n_ring :][: len(part)] = part
        self._slot = (self._slot + 1) % N_TAILS
        np.copyto(rig.tails[self._slot], done.tail)
        rig.done = Done(self._valid, end, self._slot)
        os.eventfd_write(rig.done_bell, 1)

    def _begin_anew(self) -> None:
        """Skip to the newest samples that are enough for a call."""
        rig = self._rig
        old, first = self._at, max(rig.n_in - rig.first_samples, 0)
        self._base = self._at = first // rig.hop * rig.hop
        self._need, self._valid = rig.first_samples, self._base
        self.count.n_skipped_samples += max(self._at - old, 0)
        self.separator.reset()
        self._is_lost = False


class Crew:
    """The worker of a rig, and the one that takes over from it.

    Parameters
    ----------
    rig : Rig
    separator : Separator
        The one that the rig was made for.
    spare : Separator, optional
        Another one of the same model, on the CPU, for when calls of the first
        one raise or never come back.
    prepare : callable
        Called in each worker's thread before its first call.
    """

    def __init__(
        self,
        rig: Rig,
        separator: Separator,
        spare: Separator | None = None,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self.rig, self.count = rig, Count()
        self._spare, self._prepare = spare, prepare
        self._worker = Worker(rig, separator, self.count, prepare)
        self._stuck: Worker | None = None
        self._is_told = False

    def start(self) -> None:
        """Begin."""
        self._worker.start()

    def stop(self) -> bool:
        """End; say whether all threads are gone."""
        is_gone = self._worker.stop()
        self._tell_death()
        if self._stuck is not None:
            is_gone = self._stuck.stop(0.0) and is_gone
        return is_gone

    @property
    def device(self) -> str:
        """Where the network runs now."""
        return self._worker.separator.device

    def look(self) -> None:
        """Take over from a worker that is stuck, raises or died; call it now and then.

        Without a spare, say once that it died.
        """
        worker = self._worker
        why = self._trouble(worker)
        if self._spare is None:
            self._tell_death()
        elif why:
            self._replace(worker, self._spare, why)

    def _tell_death(self) -> None:
        death = self._worker.death
        if death and not self._is_told:
            self._is_told = True
            self.count.notes.append(
                f"the network's thread ended ({death}), and the fall-back plays: start "
                "edgestem stream again, and report this bug"
            )

    def _trouble(self, worker: Worker) -> str:
        """Say what is wrong with a worker, or nothing."""
        since = worker.since  # once: the worker changes it
        if worker.death:
            return f"ended ({worker.death})"
        if since > 0 and time.perf_counter() - since > STUCK_S:
            return "does not answer"
        return f"failed ({self.count.last_error})" if self.count.n_errors else ""

    def _replace(self, worker: Worker, spare: Separator, why: str) -> None:
        self.count.notes.append(
            f"the network on {worker.separator.device} {why}: the CPU takes over"
        )
        worker.is_over = True
        self._stuck = worker
        self._worker = Worker(self.rig, spare, self.count, self._prepare)
        self._spare = None
        self.count.n_taken_over += 1
        self._worker.start()
