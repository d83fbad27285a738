"""What a live stream says of itself: what is new, and what to do where it is late.

A network that is always late is late once, as it never comes back; what counts then
is how much of the time the fall-back plays.
"""

from __future__ import annotations

import math
import os

from edgestem.live.rig import Rig
from edgestem.live.worker import Count
from edgestem.network.choices import LIVE_DEFAULT

WATCH_S = 2.0  # of music, at least, between two looks
MOST = 0.5  # of the time on the fall-back: that is no stall any more
FAST = 1.5  # times real time: that is a file in a pipe
REPORT_S = 1.0  # between two reports, at least
XRUNS_S = 10.0  # between two reports that have only xruns to say


class Watch:
    """Looks now and then whether the network keeps up, and says once if not.

    Parameters
    ----------
    rig, count : Rig, Count
        What is watched.
    model : str
        Its name.
    slack_ms : float
        What the network has now.
    threads : int
        Threads of the network; 0: not on the CPU, where threads do not help.
    """

    def __init__(
        self, rig: Rig, count: Count, model: str, slack_ms: float, threads: int
    ) -> None:
        self._rig, self._count = rig, count
        self._model, self._slack_ms, self._threads = model, slack_ms, threads
        self._is_told = False
        self._start: float | None = None
        self._seen = (0, 0, 0, 0, 0.0)

    def look(self, now: float) -> str:
        """Return a sentence, or nothing; `now` is a clock's time, seconds."""
        rig, count = self._rig, self._count
        found = (
            *(rig.n_in, rig.n_substitute_samples),
            *(count.n_errors, count.n_calls, count.busy_s),
        )
        if self._start is None or rig.is_waiting:
            self._start, self._seen = now, found
            return ""
        n_in, n_substitute, n_errors, n_calls, busy_s = (
            a - b for a, b in zip(found, self._seen, strict=True)
        )
        if n_in < WATCH_S * rig.sample_rate or not n_calls:
            return ""
        took_s = now - self._start
        self._start, self._seen = now, found
        if n_substitute < MOST * n_in:
            self._is_told = False
        if n_substitute < MOST * n_in or n_errors or self._is_told:
            return ""
        self._is_told = True
        if n_in > FAST * rig.sample_rate * took_s:
            return _TOO_FAST
        return self._sentence(1000 * busy_s / n_calls)

    def _sentence(self, call_ms: float) -> str:
        rig = self._rig
        has_ms = 1000 * rig.call_samples / rig.sample_rate
        times = f"a call of the network takes {call_ms:.1f} ms"
        if call_ms > has_ms:
            return (
                f"{self._model} is too much for this machine: {times} and covers "
                f"{has_ms:.1f}, so the fall-back plays; {self._way_out()}"
            )
        slack_ms = max(2 * self._slack_ms, 1000 * self._count.peak_s)
        return (
            f"the network is late most of the time, though {times} of {has_ms:.1f}: "
            f"give it time with --slack {math.ceil(slack_ms)}, or a core of its own "
            "with --cpu"
        )

    def _way_out(self) -> str:
        ways = []
        if self._model != LIVE_DEFAULT:
            ways.append(f"choose --model {LIVE_DEFAULT}")
        if self._threads == 1 and len(os.sched_getaffinity(0)) > 1:
            ways.append("give it --threads 2")
        return " or ".join(ways) or "separate the song beforehand: edgestem separate"


_TOO_FAST = (
    "the samples come faster than they play, so the network is late most of the time: "
    "leave --slack out, and the pipe waits for it"
)


class News:
    """What became more since it was last told."""

    def __init__(self) -> None:
        self._seen, self._told = (0, 0, 0), -math.inf

    def tell(
        self, rig: Rig, count: Count, n_xruns: int, now: float, *, is_end: bool
    ) -> str:
        """Return one line of what is new, at the end of everything; or nothing."""
        found = (rig.n_late, count.n_errors, n_xruns)
        are_new = [is_end or a != b for a, b in zip(found, self._seen, strict=True)]
        pause = REPORT_S if any(are_new[:2]) else XRUNS_S
        if not is_end and (not any(are_new) or now < self._told + pause):
            return ""
        self._seen, self._told = found, now
        texts = (_late(rig), _errors(count), f"{n_xruns} xruns of the sound system")
        parts = zip(texts, found, are_new, strict=True)
        return ", ".join(text for text, n, is_new in parts if n and is_new)


def _late(rig: Rig) -> str:
    times = "once" if rig.n_late == 1 else f"{rig.n_late} times"
    seconds = rig.n_substitute_samples / rig.sample_rate
    return f"late {times}, {seconds:.3f} s on the fall-back ({rig.substitute})"


def _errors(count: Count) -> str:
    return f"{count.n_errors} errors of the network ({count.last_error})"
