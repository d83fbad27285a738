"""A client's connection: it waits for a daemon that lives, never for one that does not.

The daemon answers a `ping` whatever its jobs do.  So a wait may last as long as the
queue is, but a daemon without any sign of life for `patience_s` is given up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections.abc import Sequence

from edgestem.errors import EdgestemError
from edgestem.protocol import Decoder, Message, encode

CONNECT_S = 20.0  # until the daemon has greeted: it may be busy, or its machine
_RETRY_S = 0.05  # between two tries at a full queue of connections
_PINGS = 3  # in the time of the patience


class Link:
    """One connection, for one thread that reads and others that write.

    Parameters
    ----------
    place : str
        The socket.
    patience_s : float, optional
        Longest time without a sign of life; None waits for ever.

    Raises
    ------
    EdgestemError
        `no_daemon`.
    """

    def __init__(self, place: str, patience_s: float | None) -> None:
        self._place = place
        # Before it greets, the daemon answers no ping: there is a limit in any case.
        self._patience_s: float | None = min(patience_s or CONNECT_S, CONNECT_S)
        self._later_s, self._is_greeted = patience_s, False
        self._decoder, self._lock = Decoder(), threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        try:
            self._connect()
        except OSError as cause:
            self.close()
            raise EdgestemError(
                f"no daemon answers at {place} ({cause.strerror or cause}); "
                "start one with edgestem serve",
                code="no_daemon",
            ) from cause

    def _connect(self) -> None:
        """Connect; a full queue of a UNIX socket says EAGAIN at once, so try again."""
        deadline = time.monotonic() + CONNECT_S
        while (status := self._socket.connect_ex(self._place)) == errno.EAGAIN:
            if time.monotonic() > deadline:
                break
            time.sleep(_RETRY_S)
        if status:
            raise OSError(status, os.strerror(status))

    def greeted(self) -> None:
        """From now on the daemon answers pings."""
        self._patience_s, self._is_greeted = self._later_s, True

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send bytes, and descriptors with the first of them.

        Raises
        ------
        EdgestemError
            `timeout` or `hung_up`.
        """
        left = memoryview(data)
        with self._lock:
            while left:
                if not self._wait(select.POLLOUT, self._patience_s):
                    raise self._silent()
                try:
                    left, fds = left[self._send_some(left, fds) :], ()
                except BlockingIOError:  # there is room, but not for so much at once
                    time.sleep(0.001)
                except OSError as cause:
                    raise self._hung_up() from cause

    def _send_some(self, data: memoryview, fds: Sequence[int]) -> int:
        if fds:
            return socket.send_fds(self._socket, [data], list(fds))
        return self._socket.send(data)

    def receive(self) -> Message:
        """Wait for a message.

        Raises
        ------
        EdgestemError
            `timeout` or `hung_up`.
        """
        look_s = None if self._patience_s is None else self._patience_s / _PINGS
        n_silent = 0
        while (message := self._decoder.next_message()) is None:
            if self._wait(select.POLLIN, look_s):
                self._decoder.feed(self._receive_some())
                n_silent = 0
                continue
            n_silent += 1
            if n_silent == _PINGS:
                raise self._silent()
            self._ping()
        return message

    def _receive_some(self) -> bytes:
        data = b""
        with contextlib.suppress(OSError):
            data = self._socket.recv(1 << 18)
        if not data:
            raise self._hung_up()
        return data

    def last_words(self) -> EdgestemError | None:
        """Find the error that the daemon sent before it hung up."""
        with contextlib.suppress(EdgestemError, OSError):
            while self._wait(select.POLLIN, 0.0):
                message = self.receive()
                if message.type == "error":
                    return refusal(message)
        return None

    def _ping(self) -> None:
        """Ask for a sign of life, unless somebody is in the middle of a message."""
        if self._is_greeted and self._lock.acquire(blocking=False):
            try:
                with contextlib.suppress(OSError):  # goes whole or not at all
                    self._socket.send(encode("ping"))
            finally:
                self._lock.release()

    def _wait(self, event: int, wait_s: float | None) -> bool:
        if self._socket.fileno() < 0:
            raise EdgestemError(
                "this connection is closed: make another Client", code="hung_up"
            )
        poll = select.poll()
        poll.register(self._socket, event)
        return bool(poll.poll(None if wait_s is None else wait_s * 1000))

    def _silent(self) -> EdgestemError:
        return EdgestemError(
            f"the daemon at {self._place} gave no sign of life for "
            f"{self._patience_s:g} s: it hangs or was stopped; see its log and restart "
            "it",
            code="timeout",
        )

    def _hung_up(self) -> EdgestemError:
        return EdgestemError(
            f"the daemon at {self._place} hung up: see its log, start it again with "
            "edgestem serve if it has ended, and repeat the request",
            code="hung_up",
        )


def refusal(message: Message) -> EdgestemError:
    """Make the exception of an error that the daemon sent."""
    text, code = message.fields.get("text"), message.fields.get("code")
    return EdgestemError(
        str(text or "the daemon refuses without a reason; see its log"),
        code=str(code or "error"),
    )
