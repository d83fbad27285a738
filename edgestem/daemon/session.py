"""One client: its requests, its stream, its jobs.

The session's own thread reads; when it waits, only this client waits.  Whatever a
client does, the worst that happens is that its connection is closed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from edgestem.daemon.channel import SEND_BUFFER, Gone, Inbox, Outbox
from edgestem.daemon.clients import ClientJobs
from edgestem.daemon.door import StreamDoor
from edgestem.daemon.requests import (
    Audio,
    Cancel,
    Hello,
    Request,
    Separate,
    Subscribe,
    parse,
)
from edgestem.daemon.shared import Shared
from edgestem.daemon.status import describe
from edgestem.daemon.stream import Stream
from edgestem.daemon.system.listener import Peer
from edgestem.errors import EdgestemError, ProtocolError
from edgestem.version import __version__
from edgestem.wire.protocol import (
    MAX_PAYLOAD,
    VERSION,
    Message,
    as_json,
    encode_error,
    encode_reply,
    sequence_number,
)

LOOK_S = 0.2  # between looks whether a client that is served to the end still listens
LINGER_S = 2.0  # time that the last words get when a connection is closed


class Session:
    """A connection from hello to goodbye."""

    def __init__(self, shared: Shared, connection: socket.socket, peer: Peer) -> None:
        self.peer, self.client = peer, ""
        self._shared, self._socket = shared, connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        config = shared.config
        self._turns = shared.turns
        self.outbox = Outbox(connection, config.idle_s, self._turns, peer.uid)
        self._inbox = Inbox(connection, config.message_s, self._turns)
        self.door = door = StreamDoor(shared, self.outbox, peer)
        self._events: frozenset[str] = frozenset()
        self._fds: list[int] = []
        self._jobs = ClientJobs(shared, self.outbox, peer)
        self._is_ending = False
        self.n_requests = 0
        self._writer = threading.Thread(target=self.outbox.write, daemon=True)
        self._reader = threading.Thread(target=self._run, daemon=True)
        self._handlers: dict[str, Callable[[Any], None]] = {
            "hello": self._hello,
            "ping": lambda r: self._reply("pong", r),
            "status": self._status,
            "models": self._models,
            "open": door.open,
            "audio": lambda r: None,
            "set": door.set,
            "flush": door.flush,
            "close": door.close,
            "separate": self._separate,
            "cancel": self._cancel,
            "subscribe": self._subscribe,
        }

    def start(self) -> None:
        """Serve in threads of its own.

        Raises
        ------
        RuntimeError
            There is no thread for it; the connection is closed.
        """
        try:
            self._writer.start()
            self._reader.start()
        except RuntimeError:
            self.outbox.put_soon(
                encode_error("too_many_clients", "the daemon has no thread left")
            )
            self.outbox.abandon()
            self._inbox.close()
            self._socket.close()
            raise

    @property
    def stream(self) -> Stream | None:
        """The open stream."""
        return self.door.stream

    def join(self, wait_s: float | None = None) -> None:
        """Wait for the end of the session."""
        self._reader.join(wait_s)

    def event(self, name: str, **fields: Any) -> None:
        """Tell what happened, if the client subscribed to it."""
        if name in self._events:
            data = encode_reply("event", event=name, **fields)
            self.outbox.put_soon(data, is_event=True)

    def hears(self, name: str) -> bool:
        """Say whether the client subscribed to an event."""
        return name in self._events

    def end_stream(self) -> None:
        """Close the stream because the daemon ends: after the block at hand."""
        stream = self.stream
        if stream is not None:
            stream.stop()
            stream.join(LINGER_S)
            self.outbox.put_soon(encode_reply("closed", xruns=stream.xruns))

    def end(self) -> None:
        """Say goodbye because the daemon ends."""
        self._hang_up("shutting_down", "the daemon is ending")

    def dismiss(self) -> None:
        """Say goodbye because the user may no longer use the daemon."""
        text = f"user {self.peer.uid} may not use this daemon any more (allow_users)"
        self._jobs.cancel_all()
        stream = self.stream
        if stream is not None:
            stream.stop()
        self._hang_up("forbidden", text)

    def _hang_up(self, code: str, text: str) -> None:
        self._is_ending = True
        self.outbox.put_soon(encode_error(code, text))
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def describe(self) -> dict[str, Any]:
        """Describe the session for `status`."""
        stream = self.stream
        return {
            "pid": self.peer.pid,
            "uid": self.peer.uid,
            "client": self.client,
            "n_requests": self.n_requests,
            "stream": stream.describe() if stream else None,
        }

    # ---- the thread -----------------------------------------------------------

    def _run(self) -> None:
        reason = "closed by the client"
        try:
            self._turns.begin(self.peer.uid)  # a crowd that comes takes turns, too
            self.outbox.put(self._greeting())
            while (message := self._read()) is not None:
                self._take_turn()
                self._handle(message)
            self._turns.end()
            self._drain()
        except Gone:
            reason = "gone"
        except ProtocolError as error:
            reason = f"{error} [{error.code}]"
            self.outbox.put_soon(encode_error(error.code, str(error)))
        except TimeoutError:
            reason = "idle"
            self.outbox.put_soon(encode_error("idle", "nothing moved for too long"))
        except Exception:
            reason = "a bug"
            self._shared.notes.say(
                *(logging.ERROR, self.peer.uid, "the session of pid %d failed:\n%s"),
                *(self.peer.pid, traceback.format_exc()),
            )
            self.outbox.put_soon(encode_error("internal", "a bug: see the log"))
        finally:
            self._turns.end()
            self._close(reason)

    def _take_turn(self) -> None:
        """Wait for a turn to handle a message: live audio needs none."""
        stream = self.stream
        is_live = stream is not None and stream.is_live and not stream.is_ahead
        if is_live and self._turns.live_message(self.peer.uid):
            self._turns.end()
        else:
            self._turns.step(self.peer.uid)

    def _greeting(self) -> bytes:
        return encode_reply(
            "hello",
            protocol=VERSION,
            server=f"edgestem {__version__}",
            models=list(self._shared.engine.models)[:32],
            device=self._shared.engine.device,
        )

    def _read(self) -> Message | None:
        return self._inbox.read(self._shared.config.idle_s, self._is_idle)

    def _is_idle(self) -> bool:
        """Tell a forgotten connection from one that listens or waits for a job."""
        quiet_s = time.monotonic() - self.outbox.last_sent
        is_busy = self._jobs.count() > 0 or self._events
        return not is_busy and quiet_s >= self._shared.config.idle_s

    def _handle(self, message: Message) -> None:
        """Carry out a request; what is wrong with it is told."""
        self.n_requests += 1
        self._fds = self._inbox.take_fds(message.fields.get("fds", 0))
        try:
            request = parse(message)
            if isinstance(request, Audio):
                self.door.audio(request, message.payload)
            else:
                self._handlers[message.type](request)
        except EdgestemError as error:
            if isinstance(error, ProtocolError) and error.fatal:
                raise
            seq = sequence_number(message)
            self.outbox.put(encode_error(error.code, str(error), seq))
        finally:
            for fd in self._fds:
                with contextlib.suppress(OSError):  # what a client's file system says
                    os.close(fd)

    def _drain(self) -> None:
        """Finish what the client asked for before its last word, while it listens."""
        stream = self.stream
        if stream is not None:
            stream.do("end", None)
        while not self._inbox.is_hung_up(0.0):
            is_done = stream is None or stream.join(LOOK_S)
            if is_done and (self._is_ending or self._jobs.wait(LOOK_S)):
                self.outbox.end()
                self._writer.join(LOOK_S)
                if not self._writer.is_alive():
                    return

    def _close(self, reason: str) -> None:
        self._turns.begin(self.peer.uid)  # and so does one that leaves
        if self._inbox.is_hung_up(0.0):
            self.outbox.abandon()
        self._jobs.cancel_all()
        stream = self.stream
        if stream is not None:
            stream.stop()
        self.outbox.end()
        with self._turns.paused():
            self._writer.join(LINGER_S)
            self.outbox.abandon()
            self._writer.join()
            if stream is not None:
                stream.join()
        self._inbox.close()
        self._socket.close()
        self._shared.forget(self, reason)
        self._turns.end()

    # ---- requests ---------------------------------------------------------------

    def _reply(self, kind: str, request: Request, **fields: Any) -> None:
        self.outbox.put(encode_reply(kind, seq=request.seq, **fields))

    def _hello(self, request: Hello) -> None:
        if request.protocol != VERSION:
            raise ProtocolError(
                f"this daemon speaks protocol {VERSION}, not {request.protocol}",
                code="bad_version",
                fatal=True,
            )
        self.client = request.client[:64]

    def _status(self, request: Request) -> None:
        summary, details = describe(self._shared)
        while len(payload := as_json(details)) > MAX_PAYLOAD:  # a very full house
            details["sessions"] = details["sessions"][: len(details["sessions"]) // 2]
        self.outbox.put(encode_reply("status", payload, seq=request.seq, **summary))

    def _models(self, request: Request) -> None:
        engine = self._shared.engine
        names = list(engine.models)[:32]
        payload = as_json(engine.describe())
        self.outbox.put(encode_reply("models", payload, seq=request.seq, models=names))

    def _separate(self, request: Separate) -> None:
        with self._turns.paused():
            self._jobs.submit(request, self._fds)

    def _cancel(self, request: Cancel) -> None:
        self._jobs.cancel(request.job)
        self._reply("cancelled", request, job=request.job)

    def _subscribe(self, request: Subscribe) -> None:
        self._events = frozenset(request.events)
        self._shared.count_listeners()
        self._reply("subscribed", request, events=list(request.events))
