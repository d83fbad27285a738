"""Slots of the network: live streams before jobs, and a slot that jobs never take."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
from daemons import DATA, wait_for

from edgestem.daemon.pool.schedule import FIRST, LAST, PacedSeparator, Scheduler


def start(scheduler: Scheduler, priority: int, order: list[int]) -> threading.Thread:
    """Begin a call in a thread; it notes when it had its slot."""

    def call() -> None:
        scheduler.acquire(priority)
        order.append(priority)
        scheduler.release(priority)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_a_live_call_goes_before_jobs_that_waited_longer() -> None:
    scheduler, order = Scheduler(1), []
    scheduler.acquire(LAST)
    waiting = []
    for n, priority in enumerate((LAST, LAST, FIRST), 1):
        waiting.append(start(scheduler, priority, order))
        wait_for(lambda n=n: scheduler.n_waiting() == n)
    scheduler.release(LAST)
    for thread in waiting:
        thread.join(10)
    assert order == [FIRST, LAST, LAST]


def test_jobs_leave_one_of_several_slots_free() -> None:
    scheduler, order = Scheduler(2), []
    scheduler.acquire(LAST)
    job = start(scheduler, LAST, order)
    wait_for(lambda: scheduler.n_waiting() == 1)
    start(scheduler, FIRST, order).join(10)
    assert order == [FIRST]
    scheduler.release(LAST)
    job.join(10)
    assert order == [FIRST, LAST]


def test_a_separator_that_nobody_holds_frees_its_memory_at_once() -> None:
    """At 384 kHz it is 130 MB, and the collector may not come for hours."""
    gc.disable()
    try:
        made = PacedSeparator(Scheduler(1), 44_100, 2, model=DATA / "tiny.tflite")
        made.push(np.zeros((100_000, 2), np.float32))
        assert made.n_calls > 0
        gone = weakref.ref(made)
        del made
        assert gone() is None
    finally:
        gc.enable()
