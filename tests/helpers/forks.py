"""Children of the test process that cannot outlive their test."""

from __future__ import annotations

import os
import signal
import warnings


def fork(limit_s: int = 120) -> int:
    """`os.fork`, and the child dies of SIGALRM when it takes longer.

    pytest has threads (xdist's, the runtime's), and a lock that one of them holds at
    this moment stays locked in the child for ever.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(limit_s)
    return pid
