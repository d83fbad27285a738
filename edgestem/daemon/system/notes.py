"""Lines of the log about users: nobody fills it, or has another's lines lost in it.

A client that comes and goes thousands of times a second would have two lines each
time; a disk fills of that, and journald leaves out what everybody's lines say.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)
LINES = 600  # about one user
WINDOW_S = 60.0


class Notes:
    """Counts the lines about each user."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, tuple[float, int]] = {}  # uid -> window's begin, lines

    def about(self, uid: int) -> Callable[..., None]:
        """Give what takes lines about this user as `Logger.log` does."""
        return lambda level, text, *args: self.say(level, uid, text, *args)

    def say(self, level: int, uid: int, text: str, *args: object) -> None:
        """Log a line about a user, if there were not too many in this minute."""
        now = time.monotonic()
        with self._lock:
            since, count = self._seen.get(uid, (now, 0))
            if now - since > WINDOW_S:
                since, count = now, 0
            self._seen[uid] = (since, count + 1)
        if count < LINES:
            log.log(level, text, *args)
        elif count == LINES:
            log.warning(
                "uid %d: %d lines about it within %g s, the next are left out",
                *(uid, LINES, WINDOW_S),
            )
