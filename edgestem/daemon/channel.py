"""One connection's two directions: messages in with their descriptors, bytes out.

Nothing here blocks anybody but the client it belongs to.  `read` gives up on a
client that is silent or slow; the outbox is bounded, and its writer thread is the
only one that waits for a client to read.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable

from edgestem.daemon.turns import Turns
from edgestem.errors import ProtocolError
from edgestem.wire.protocol import MAX_FDS, Decoder, Message

RECEIVE = 1 << 18  # bytes a system call
OUTBOX = 1 << 18  # bytes that wait for a client; then whoever answers it waits too
STREAM_OUTBOX = 2 << 20  # the same with a stream: two of its largest messages
BATCH = 1 << 16  # bytes of small messages that are sent at once
LONGEST_S = 86_400.0  # poll(2) takes 24 days at most; we look again anyway
OVERHEAD = 128  # bytes that a short message takes besides its own
SEND_BUFFER = 1 << 19  # bytes in the kernel; a block of stems goes in one piece
# Open from the start: there may be no descriptor left when it is needed.
_NULL = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


class Gone(Exception):
    """The client has closed the connection or stopped reading for too long."""


def wait_for(poll: select.poll, wait_s: float) -> bool:
    """Wait for what was registered, a day at most; say whether it came."""
    return bool(poll.poll(max(0.0, min(wait_s, LONGEST_S)) * 1000))


class Outbox:
    """Messages on their way to one client of a user."""

    def __init__(
        self, connection: socket.socket, idle_s: float, turns: Turns, uid: int
    ) -> None:
        self._socket, self._idle_s = connection, idle_s
        self._turns, self._uid = turns, uid
        self.limit = OUTBOX
        """Bytes that may wait."""
        self._changed = threading.Condition()
        self._queue: deque[tuple[bytes, bool]] = deque()
        self._n_bytes = self._n_live = 0
        self._is_writing = False
        self._is_ending = False
        self.is_gone = False
        self.last_sent = time.monotonic()

    def put(self, data: bytes) -> None:
        """Queue a reply; wait while the client does not read.

        Raises
        ------
        Gone
            Nobody will read it.
        """
        self.wait_for_room()
        with self._changed:
            self._append(data, is_live=False)

    def wait_for_room(self) -> None:
        """Wait while the client does not read.

        Raises
        ------
        Gone
            It will not read any more.
        """
        if self._n_bytes > self.limit:
            with self._turns.paused(), self._changed:
                while self._n_bytes > self.limit and not self.is_gone:
                    self._changed.wait()
        if self.is_gone:
            raise Gone

    def put_soon(self, data: bytes, *, is_event: bool = False) -> None:
        """Queue without waiting; an event is dropped when the outbox is full."""
        with self._changed:
            if not self.is_gone and not (is_event and self._n_bytes > self.limit):
                self._append(data, is_live=False)

    def put_live(self, data: bytes, limit: int) -> int:
        """Queue live stems; drop the oldest beyond `limit` bytes, say how many."""
        with self._changed:
            if self.is_gone:
                raise Gone
            self._append(data, is_live=True)
            n_dropped = 0
            while self._n_live > max(limit, len(data)) and self._drop_oldest():
                n_dropped += 1
            return n_dropped

    def _drop_oldest(self) -> bool:
        for i, (data, is_live) in enumerate(self._queue):
            if is_live:
                del self._queue[i]
                self._count(data, is_live, -1)
                return True
        return False

    def _append(self, data: bytes, *, is_live: bool) -> None:
        if not self._queue and not self._is_writing:
            # The usual case: the client keeps up, and no thread need wake.
            n_sent = self._send_some(data)
            if n_sent == len(data):
                return
            if n_sent:  # a torn message has to be completed
                data, is_live = data[n_sent:], False
        self._queue.append((data, is_live))
        self._count(data, is_live, +1)
        self._changed.notify_all()

    def _send_some(self, data: bytes | memoryview) -> int:
        """Send what the kernel takes now; return how many bytes, all when lost."""
        try:
            n_sent = self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._lose()
            return len(data)
        self.last_sent = time.monotonic()
        return n_sent

    def _count(self, data: bytes, is_live: bool, sign: int) -> None:
        self._n_bytes += sign * (len(data) + OVERHEAD)
        self._n_live += sign * len(data) * is_live

    def _lose(self) -> None:
        self.is_gone = True
        self._queue.clear()
        self._changed.notify_all()

    def abandon(self) -> None:
        """Drop everything; whoever waits is woken."""
        with self._changed:
            self._lose()

    def end(self) -> None:
        """Let the writer stop when everything is sent."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()

    def write(self) -> None:
        """Send what waits until the end; the writer thread runs this."""
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        while (data := self._next()) is not None:
            left = memoryview(data)
            while left and not self.is_gone:
                if not wait_for(poll, self._idle_s):
                    self.abandon()
                    return
                self._turns.begin(self._uid)
                with self._changed:
                    left = left[self._send_some(left) :]
                self._turns.end()
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._queue and not self._is_ending and not self.is_gone:
                self._changed.wait()
            if not self._queue:
                return None
            data, is_live = self._queue.popleft()
            self._count(data, is_live, -1)
            self._is_writing = True
            if is_live or not self._queue or len(data) > BATCH:
                return data
            parts, n_bytes = [data], len(data)
            while self._queue and not self._queue[0][1] and n_bytes < BATCH:
                data, _ = self._queue.popleft()
                self._count(data, False, -1)
                parts.append(data)
                n_bytes += len(data)
            return b"".join(parts)


class Inbox:
    """Messages and descriptors from one client."""

    def __init__(
        self, connection: socket.socket, message_s: float, turns: Turns
    ) -> None:
        self._socket, self._message_s = connection, message_s
        self._turns = turns
        self._decoder = Decoder()
        self._fds: deque[int] = deque()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def read(self, idle_s: float, is_idle: Callable[[], bool]) -> Message | None:
        """Wait for a message; None when the client has sent its last.

        Each `idle_s` without a byte `is_idle` decides whether to give up.

        Raises
        ------
        ProtocolError
            The framing is lost, or a message does not get complete.
        TimeoutError
            Nothing came for `idle_s`.
        """
        deadline = None
        while (message := self._decoder.next_message()) is None:
            if self._decoder.is_inside_message:
                deadline = deadline or time.monotonic() + self._message_s
            wait_s = idle_s if deadline is None else deadline - time.monotonic()
            with self._turns.paused():
                is_ready = wait_s >= 0 and wait_for(self._poll, wait_s)
            if not is_ready:
                if wait_s > LONGEST_S:
                    continue
                if deadline is not None:
                    raise self._too_slow()
                if is_idle():
                    raise TimeoutError
            elif not self._receive():
                return None
        return message

    def _too_slow(self) -> ProtocolError:
        text = f"a message was not complete after {self._message_s:g} s"
        return ProtocolError(text, code="timeout", fatal=True)

    def _receive(self) -> bool:
        """Take what is there; False at the end."""
        room = socket.CMSG_SPACE(MAX_FDS * 4)
        flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        try:
            data, ancillary, result, _ = self._socket.recvmsg(RECEIVE, room, flags)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
                self._fds.extend(fds)
                for fd in fds:
                    _defuse(fd)
        if len(self._fds) > MAX_FDS or result & socket.MSG_CTRUNC:
            raise ProtocolError(
                f"more than {MAX_FDS} descriptors wait", code="too_large", fatal=True
            )
        self._decoder.feed(data)
        return bool(data)

    def take_fds(self, count: object) -> list[int]:
        """Take the descriptors that a message announces; the caller closes them.

        Raises
        ------
        ProtocolError
            `bad_header`: so many were not passed; fatal, as nobody knows any more
            which descriptor belongs to which message.
        """
        if type(count) is not int or not 0 <= count <= len(self._fds):
            raise ProtocolError(
                f"fds is {str(count)[:20]}, {len(self._fds)} descriptors were passed",
                code="bad_header",
                fatal=True,
            )
        return [self._fds.popleft() for _ in range(count)]

    def close(self) -> None:
        """Close the descriptors that nobody took."""
        while self._fds:
            with contextlib.suppress(OSError):
                os.close(self._fds.popleft())

    def is_hung_up(self, wait_s: float) -> bool:
        """Say within a time whether the client has closed both directions."""
        poll = select.poll()
        poll.register(self._socket, 0)  # the kernel reports hang-ups unasked
        return bool(poll.poll(wait_s * 1000))


def _defuse(fd: int) -> None:
    """Let go at once of what no job takes, but for its number.

    A client's own end of its connection, held here, would keep it open for ever.
    What belongs to a process that has ended cannot even be asked what it is.
    """
    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return
    os.dup2(_NULL, fd, inheritable=False)
