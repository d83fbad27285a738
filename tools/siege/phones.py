"""Phones on the player's page: many that listen, one that loads it anew each second."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from multiprocessing.sharedctypes import Synchronized

RETRY_S = 1.0  # what the page asks its browsers for
PATIENCE_S = 20.0


class Phones:
    """Listeners in threads of a process of their own.

    Parameters
    ----------
    port : int
    token : str
    n : int
        Phones that listen all the time.
    longest : multiprocessing.Value
        Seconds that a phone went without news, at most.
    """

    def __init__(self, port: int, token: str, n: int, longest: Synchronized[float]):
        self._port, self._token = port, token
        self._longest = longest
        self._n = n

    def run(self, seconds: float) -> None:
        """Listen and reload for so long."""
        end = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._listen, args=(end,), daemon=True)
            for _ in range(self._n)
        ]
        for thread in threads:
            thread.start()
        while time.monotonic() < end:
            self._reload()
            time.sleep(1)

    def _ask(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, PATIENCE_S)
        connection.request("GET", path, headers={"X-Token": self._token})
        return connection.getresponse()

    def _listen(self, end: float) -> None:
        heard = time.monotonic()
        while time.monotonic() < end:
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = self._ask("/events")
                while line := answer.readline():
                    now = time.monotonic()
                    if line.startswith(b"data: {"):
                        with self._longest.get_lock():
                            self._longest.value = max(self._longest.value, now - heard)
                        heard = now
                    if now > end:
                        return
            time.sleep(RETRY_S)

    def _reload(self) -> None:
        """Load the page, its waves and its first news, then go."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            for path in ("/", "/waves"):
                self._ask(path).read()
            answer = self._ask("/events")
            while not answer.readline().startswith(b"data: {"):
                pass
            answer.close()
