"""One client: its requests, its stream, its jobs.

The session's own thread reads; when it waits, only this client waits.  Whatever a
client does, the worst that happens is that its connection is closed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgestem import __version__
from edgestem.daemon_channel import SEND_BUFFER, Gone, Inbox, Outbox
from edgestem.daemon_jobs import ClientJobs
from edgestem.daemon_requests import (
    Audio,
    Cancel,
    Hello,
    Open,
    Request,
    Set,
    Subscribe,
    parse,
)
from edgestem.daemon_schedule import BATCH, LIVE
from edgestem.daemon_socket import Peer
from edgestem.daemon_streams import Stream
from edgestem.errors import EdgestemError, ProtocolError
from edgestem.protocol import VERSION, Message, encode, encode_error, sequence_number

if TYPE_CHECKING:
    from edgestem.daemon import Daemon

log = logging.getLogger(__name__)
LOOK_S = 0.2  # between looks whether a client that is served to the end still listens
LINGER_S = 2.0  # time that the last words get when a connection is closed


class Session:
    """A connection from hello to goodbye."""

    def __init__(self, daemon: Daemon, connection: socket.socket, peer: Peer) -> None:
        self.peer, self.client = peer, ""
        self._daemon, self._socket = daemon, connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        config = daemon.config
        self.outbox = Outbox(connection, config.idle_s)
        self._inbox = Inbox(connection, config.message_s)
        self.stream: Stream | None = None
        self._events: frozenset[str] = frozenset()
        self._fds: list[int] = []
        self._jobs = ClientJobs(daemon.jobs, self.outbox, daemon.event)
        self._is_ending = False
        self.n_requests = 0
        self._writer = threading.Thread(target=self.outbox.write, daemon=True)
        self._reader = threading.Thread(target=self._run, daemon=True)
        self._handlers: dict[str, Callable[[Any], None]] = {
            "hello": self._hello,
            "ping": lambda r: self._reply("pong", r),
            "status": self._status,
            "models": self._models,
            "open": self._open,
            "audio": lambda r: None,
            "set": self._set,
            "flush": lambda r: self._open_stream().do("flush", r.seq),
            "close": lambda r: self._open_stream().do("close", r.seq),
            "separate": lambda r: self._jobs.submit(r, self._fds, daemon.config),
            "cancel": self._cancel,
            "subscribe": self._subscribe,
        }

    def start(self) -> None:
        """Serve in threads of its own."""
        self._writer.start()
        self._reader.start()

    def join(self) -> None:
        """Wait for the end of the session."""
        self._reader.join()

    def event(self, name: str, **fields: Any) -> None:
        """Tell what happened, if the client subscribed to it."""
        if name in self._events:
            data = encode("event", event=name, **fields)
            self.outbox.put_soon(data, is_event=True)

    def end_stream(self) -> None:
        """Close the stream because the daemon ends: after the block at hand."""
        stream = self.stream
        if stream is not None:
            stream.stop()
            stream.join()
            self.outbox.put_soon(encode("closed", xruns=stream.xruns))

    def end(self) -> None:
        """Say goodbye because the daemon ends."""
        self._is_ending = True
        text = "the daemon is ending"
        self.outbox.put_soon(encode_error("shutting_down", text))
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
            self.outbox.put(self._greeting())
            while (message := self._read()) is not None:
                self._handle(message)
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
            log.exception("the session of pid %d failed", self.peer.pid)
            self.outbox.put_soon(encode_error("internal", "a bug: see the log"))
        finally:
            self._close(reason)

    def _greeting(self) -> bytes:
        return encode(
            "hello",
            protocol=VERSION,
            server=f"edgestem {__version__}",
            models=list(self._daemon.engine.models)[:32],
            device=self._daemon.engine.device,
        )

    def _read(self) -> Message | None:
        return self._inbox.read(self._daemon.config.idle_s, self._is_idle)

    def _is_idle(self) -> bool:
        """Tell a forgotten connection from one that listens or waits for a job."""
        quiet_s = time.monotonic() - self.outbox.last_sent
        is_busy = self._jobs.count() > 0 or self._events
        return not is_busy and quiet_s >= self._daemon.config.idle_s

    def _handle(self, message: Message) -> None:
        """Carry out a request; what is wrong with it is told."""
        self.n_requests += 1
        self._fds = self._inbox.take_fds(message.fields.get("fds", 0))
        try:
            request = parse(message)
            if isinstance(request, Audio):
                self._audio(request, message.payload)
            else:
                self._handlers[message.type](request)
        except EdgestemError as error:
            if isinstance(error, ProtocolError) and error.fatal:
                raise
            seq = sequence_number(message)
            self.outbox.put(encode_error(error.code, str(error), seq))
        finally:
            for fd in self._fds:
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
        if self._inbox.is_hung_up(0.0):
            self.outbox.abandon()
        self._jobs.cancel_all()
        stream = self.stream
        if stream is not None:
            stream.stop()
        self.outbox.end()
        self._writer.join(LINGER_S)
        self.outbox.abandon()
        self._writer.join()
        if stream is not None:
            stream.join()
        self._inbox.close()
        self._socket.close()
        self._daemon.forget(self, reason)

    # ---- requests ---------------------------------------------------------------

    def _reply(self, kind: str, request: Request, **fields: Any) -> None:
        self.outbox.put(encode(kind, seq=request.seq, **fields))

    def _hello(self, request: Hello) -> None:
        if request.protocol != VERSION:
            raise ProtocolError(
                f"this daemon speaks protocol {VERSION}, not {request.protocol}",
                code="bad_version",
                fatal=True,
            )
        self.client = request.client[:64]

    def _status(self, request: Request) -> None:
        summary, details = self._daemon.status()
        payload = json.dumps(details, separators=(",", ":")).encode()
        self.outbox.put(encode("status", payload, seq=request.seq, **summary))

    def _models(self, request: Request) -> None:
        engine = self._daemon.engine
        payload = json.dumps(engine.describe(), separators=(",", ":")).encode()
        names = list(engine.models)[:32]
        self.outbox.put(encode("models", payload, seq=request.seq, models=names))

    def _cancel(self, request: Cancel) -> None:
        self._jobs.cancel(request.job)
        self._reply("cancelled", request, job=request.job)

    def _subscribe(self, request: Subscribe) -> None:
        self._events = frozenset(request.events)
        self._reply("subscribed", request, events=list(request.events))

    # ---- the stream ---------------------------------------------------------------

    def _open(self, request: Open) -> None:
        if self.stream is not None:
            raise ProtocolError("this connection has a stream", code="bad_order")
        is_live = request.mode == "live"
        with self._daemon.stream_place():
            separator = self._daemon.engine.take(
                request.model,
                request.sample_rate,
                request.channels,
                LIVE if is_live else BATCH,
            )
            try:
                rtf = self._daemon.admit(separator) if is_live else None
            except BaseException:
                self._daemon.engine.give_back(separator)
                raise
            config, tell = self._daemon.config, self._daemon.event
            self.stream = Stream(request, separator, self.outbox, config, tell)
            self.stream.start(self._stream_ended)
        self._reply(
            "opened",
            request,
            latency_samples=separator.latency_samples,
            block=round(separator.call_s * separator.sample_rate),
            stems=list(request.stems),
            model=separator.config.name,
            device=separator.device,
            rtf=None if rtf is None else round(rtf, 5),
        )

    def _stream_ended(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            self._daemon.engine.give_back(stream.separator)

    def _open_stream(self) -> Stream:
        stream = self.stream
        if stream is None:
            raise ProtocolError("there is no open stream", code="bad_order")
        return stream

    def _audio(self, request: Audio, payload: bytes) -> None:
        stream = self._open_stream()
        if len(payload) % stream.bytes_per_sample:
            raise ProtocolError(
                f"a sample takes {stream.bytes_per_sample} bytes, the payload of "
                f"{len(payload)} is not a multiple",
                code="bad_field",
            )
        stream.audio(request.seq, payload)

    def _set(self, request: Set) -> None:
        self._open_stream().set_levels(request)
