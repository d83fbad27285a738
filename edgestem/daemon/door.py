"""One client's side of streams: at most one is open, and somebody has room for it."""

from __future__ import annotations

from contextlib import ExitStack

from edgestem.daemon.channel import OUTBOX, STREAM_OUTBOX, Outbox
from edgestem.daemon.pool.admission import check_memory, stream_place
from edgestem.daemon.pool.schedule import FIRST, LAST, PacedSeparator
from edgestem.daemon.requests import Audio, Close, Flush, Open, Set
from edgestem.daemon.shared import Shared
from edgestem.daemon.stream import Stream
from edgestem.daemon.system.listener import Peer
from edgestem.errors import EdgestemError, ProtocolError
from edgestem.wire.protocol import encode_reply


class StreamDoor:
    """Opens a connection's stream and hands it what the client sends."""

    def __init__(self, shared: Shared, outbox: Outbox, peer: Peer) -> None:
        self._shared, self._outbox, self._peer = shared, outbox, peer
        self.stream: Stream | None = None
        self.memory = 0
        """Bytes that the open stream takes, as estimated."""

    def open(self, request: Open) -> None:
        """Open the stream.

        Raises
        ------
        EdgestemError
            There is one, or no room for it.
        """
        if self.stream is not None:
            raise ProtocolError("this connection has a stream", code="bad_order")
        with self._shared.turns.paused():
            self._shared.turns.wait_to_open(self._peer.uid)
            separator, rtf = self._start(request)
        self._outbox.put(
            encode_reply(
                "opened",
                seq=request.seq,
                latency_samples=separator.latency_samples,
                block=round(separator.call_s * separator.sample_rate),
                stems=list(request.stems),
                model=separator.config.name,
                device=separator.device,
                rtf=None if rtf is None else round(rtf, 5),
            )
        )

    def _start(self, request: Open) -> tuple[PacedSeparator, float | None]:
        is_live = request.mode == "live"
        shared, uid = self._shared, self._peer.uid
        load = shared.config.live_load
        priority = FIRST if is_live else LAST
        wanted = (request.model, request.sample_rate, request.channels, priority)
        with stream_place(shared, uid), ExitStack() as refused:
            refused.callback(self._weigh_nothing)
            separator = shared.engine.take(*wanted, weigh=self._weigh)
            refused.callback(shared.engine.give_back, separator)
            rtf = shared.engine.admit(separator, load) if is_live else None
            self._begin(request, separator)
            refused.pop_all()  # it was taken
        return separator, rtf

    def _weigh_nothing(self) -> None:
        self.memory = 0

    def _weigh(self, n_bytes: int) -> None:
        """Note the stream's memory down, if the user may take it."""
        self.memory = n_bytes
        check_memory(self._shared, self._peer.uid)

    def _begin(self, request: Open, separator: PacedSeparator) -> None:
        shared, uid = self._shared, self._peer.uid
        stream = Stream(
            request, separator, self._outbox, shared.config, shared.event,
            turns=shared.turns, uid=uid,
        )  # fmt: skip
        if stream.is_live:
            shared.turns.live_opens(uid)
            peer = self._peer
            stream.watch_singing(
                lambda: shared.latest_listener(uid),
                lambda numbers, **fields: shared.tell_activity(peer, numbers, **fields),
            )
        self._outbox.limit = STREAM_OUTBOX
        self.stream = stream
        try:
            stream.start(self._ended)
        except RuntimeError as cause:  # no thread
            self._forget()
            raise EdgestemError(
                "the daemon has no thread left for a stream: try again later",
                code="overloaded",
            ) from cause

    def _ended(self) -> None:
        stream = self._forget()
        if stream is not None:
            self._shared.engine.give_back(stream.separator)

    def _forget(self) -> Stream | None:
        stream, self.stream = self.stream, None
        self.memory, self._outbox.limit = 0, OUTBOX
        if stream is not None and stream.is_live:
            self._shared.turns.live_closes(self._peer.uid)
        return stream

    def _open_stream(self) -> Stream:
        stream = self.stream
        if stream is None:
            raise ProtocolError("there is no open stream", code="bad_order")
        return stream

    def audio(self, request: Audio, payload: bytes) -> None:
        """Hand a block of the mixture over.

        Raises
        ------
        ProtocolError
            `bad_order` or `bad_field`.
        """
        stream = self._open_stream()
        if len(payload) % stream.bytes_per_sample:
            raise ProtocolError(
                f"a sample takes {stream.bytes_per_sample} bytes, the payload of "
                f"{len(payload)} is not a multiple",
                code="bad_field",
            )
        stream.audio(request.seq, payload)

    def set(self, request: Set) -> None:
        """Change the levels."""
        self._open_stream().set_levels(request)

    def flush(self, request: Flush) -> None:
        """End the song."""
        self._open_stream().do("flush", request.seq)

    def close(self, request: Close) -> None:
        """Close the stream."""
        self._open_stream().do("close", request.seq)
