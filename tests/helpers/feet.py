"""A pedal whose events come through a FIFO, read by the real reader."""

from __future__ import annotations

import os
import time
from pathlib import Path

from edgestem.play.doors.pedals import EVENT


class Foot:
    """A pedal on a FIFO."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.open()

    def open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR)

    def close(self) -> None:
        os.close(self._fd)

    def send(self, code: int, *values: int) -> None:
        now = time.time()
        at = (int(now), int(now % 1 * 1e6))
        for value in values:
            key, end = (1, code, value), (0, 0, 0)
            os.write(self._fd, EVENT.pack(*at, *key) + EVENT.pack(*at, *end))

    def tap(self, code: int) -> None:
        self.send(code, 1)
        time.sleep(0.03)
        self.send(code, 0)

    def hold(self, code: int) -> None:
        self.send(code, 1, *[2] * 30)  # autorepeat
        time.sleep(0.95)
        self.send(code, 0)
