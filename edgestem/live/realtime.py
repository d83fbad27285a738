"""What a thread asks of the kernel so that sound does not wait: all of it optional."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable

SWITCH_S = 1e-4  # how long one Python thread may keep another waiting
_MCL_CURRENT, _MCL_FUTURE = 1, 2
_RIGHTS = (
    "add `@audio - rtprio 95` and `@audio - memlock unlimited` to "
    "/etc/security/limits.d/audio.conf, join the group audio and log in again"
)


def calm_python() -> None:
    """Keep Python itself from getting in the way, for the rest of the process.

    The garbage collector rests (nothing here makes cycles while it plays), and a
    thread that wants to run waits for another one's Python code a tenth of a
    millisecond, not five.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(SWITCH_S)


def lock_memory() -> str:
    """Keep all memory in RAM; return why not, or nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0:
        return ""
    reason = os.strerror(ctypes.get_errno())
    return f"memory is not locked ({reason}): {_RIGHTS}"


def check_core(cpu: int | None) -> None:
    """Refuse a core that this process may not use; None is none in particular.

    Raises
    ------
    ValueError
        The message lists the cores that there are.
    """
    cores = sorted(os.sched_getaffinity(0))
    if cpu is not None and cpu not in cores:
        raise ValueError(f"cpu: expected one of the cores {cores}, got {cpu}")


def prepare_thread(priority: int, cpu: int | None, tell: Callable[[str], None]) -> None:
    """Give the calling thread a real-time priority (0: none) and a core.

    What is not permitted is told in a sentence; the thread works without it.
    """
    if cpu is not None:
        try:
            os.sched_setaffinity(0, {cpu})
        except (OSError, ValueError, OverflowError) as error:  # -1, 10**20
            cores = sorted(os.sched_getaffinity(0))
            reason = error.strerror if isinstance(error, OSError) else error
            tell(f"not on core {cpu} ({reason}): there is {cores}")
    if priority:
        try:
            policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_param(priority))
        except OSError as error:
            tell(f"no real-time priority {priority} ({error.strerror}): {_RIGHTS}")
