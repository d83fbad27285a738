"""What a call leaves behind on Python's heap, and needs meanwhile."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable


def allocations(call: Callable[[], object]) -> tuple[int, int]:
    """Bytes that 100 calls leave behind, and the most that one more needs."""
    tracemalloc.start()
    call()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(100):
        call()
    tracemalloc.reset_peak()
    call()
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return now - before, peak - now
