"""A blocking client of the daemon: numpy in, numpy out, files by descriptor.

>>> with edgestem.Client() as client:                          # doctest: +SKIP
...     stems = client.separate(mixture, 44100)
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.client.link import Link, refusal
from edgestem.errors import EdgestemError, ProtocolError
from edgestem.mixture import as_float32, as_mixture
from edgestem.sound.grid import GridSamples
from edgestem.stems import Stems
from edgestem.wire.place import find_socket
from edgestem.wire.protocol import VERSION, Message, encode

MESSAGE_BLOCK = 16384  # samples of one message: 128 KiB of stereo
PATIENCE_S = 60.0  # without any sign of life; loading a large network takes a while
JobProgress = Callable[[dict[str, Any]], None]


class Client:
    """A connection to the daemon.

    Parameters
    ----------
    path : str or Path, optional
        The daemon's socket; default $EDGESTEM_SOCKET or the usual places.
    timeout_s : float, optional
        Longest wait without a sign of life from the daemon; waiting in its queue is
        none.  None waits for ever.

    Attributes
    ----------
    server : dict
        The daemon's greeting: server, models, device.

    Raises
    ------
    EdgestemError
        `no_daemon`: nobody answers there.  From every method `timeout`: the daemon
        hangs; `hung_up`: it has gone; and what it refuses, with its own code.
    """

    def __init__(
        self, path: str | Path | None = None, *, timeout_s: float | None = PATIENCE_S
    ) -> None:
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout_s: expected more than 0, or None: {timeout_s}")
        self._link = Link(str(path or find_socket()), timeout_s)
        try:
            self.server = self._greet()
        except BaseException:
            self._link.close()
            raise

    def _greet(self) -> dict[str, Any]:
        greeting = self.receive("hello").fields
        if (version := greeting.get("protocol")) != VERSION:
            raise ProtocolError(
                f"the daemon speaks protocol {version or 'of no number'}, "
                f"this client {VERSION}: use the same edgestem for both",
                code="bad_version",
                fatal=True,
            )
        self._link.greeted()
        return greeting

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._link.close()

    def send(
        self, kind: str, payload: bytes = b"", *, fds: Sequence[int] = (), **fields: Any
    ) -> None:
        """Send a request of `docs/protocol.md`, with descriptors if there are any.

        Raises
        ------
        EdgestemError
            `hung_up`, `timeout`, or what the daemon said before it hung up.
        """
        data = encode(kind, payload, fds=len(fds) or None, **fields)
        try:
            self._link.send(data, fds)
        except EdgestemError as gone:
            raise self._link.last_words() or gone from gone

    def receive(self, *wanted: str) -> Message:
        """Wait for a message of a type; others are passed over, errors raised."""
        while True:
            message = self._link.receive()
            if message.type == "error":
                raise refusal(message)
            if message.type in wanted:
                return message

    def request(self, kind: str, reply: str, **fields: Any) -> Message:
        """Send a request and wait for its reply."""
        self.send(kind, **fields)
        return self.receive(reply)

    def status(self) -> dict[str, Any]:
        """Ask how the daemon is: device, load, streams, jobs, hop times, xruns."""
        return self.request("status", "status").fields

    def separate(
        self, mixture: NDArray[Any], sample_rate: int, *, model: str = ""
    ) -> Stems:
        """Separate a song held in memory; as `edgestem.separate`, in the daemon.

        Parameters
        ----------
        mixture : shape (n_samples, n_channels), or (n_samples,) for mono
            Floats or integers, as for `edgestem.separate`.
        sample_rate : int
        model : str
            Default the daemon's.

        Returns
        -------
        Stems
            float32, shaped like `mixture`.

        Raises
        ------
        TypeError, ValueError
            Wrong dtype or shape; the message says what to do.
        """
        x = as_mixture(mixture)
        stream = self.open(sample_rate, x.shape[1], model=model)
        sender = threading.Thread(target=self._send_all, args=(x,), daemon=True)
        sender.start()
        late, n = stream.latency_samples, len(x)
        stems = stream.read(late + n)
        sender.join()
        self.receive("flushed")
        self.request("close", "closed")
        return Stems(*(stem[late:].reshape(mixture.shape) for stem in stems))

    def _send_all(self, mixture: GridSamples) -> None:
        # The reading side says why.
        with contextlib.suppress(OSError, EdgestemError):
            for at in _starts(len(mixture)):
                block = _to_bytes(mixture[at : at + MESSAGE_BLOCK])
                self._link.send(encode("audio", block))
            self._link.send(encode("flush"))

    def open(
        self, sample_rate: int, n_channels: int = 2, **fields: Any
    ) -> ClientStream:
        """Open the connection's stream of floats; `mode`, `model`, levels as fields."""
        opened = self.request(
            *("open", "opened"), sample_rate=sample_rate, channels=n_channels, **fields
        )
        return ClientStream(self, opened.fields, n_channels)

    def separate_file(
        self,
        source: str | Path | int,
        outputs: Sequence[int],
        *,
        progress: JobProgress | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """Separate a file into open descriptors, one for each of `stems`.

        The daemon gets descriptors, so it needs no right to any path.  The fields of
        `done` are returned.
        """
        opened = None if isinstance(source, int) else os.open(source, os.O_RDONLY)
        try:
            fd = source if isinstance(source, int) else opened
            assert fd is not None
            self.send("separate", fds=[fd, *outputs], **fields)
        finally:
            if opened is not None:
                os.close(opened)
        warnings = []
        while (message := self.receive("progress", "warning", "done")).type != "done":
            if message.type == "warning":  # there are more than one message holds
                warnings.append(message.fields["text"])
            elif progress is not None:
                progress(message.fields)
        message.fields["warnings"] = warnings + message.fields.get("warnings", [])
        return message.fields


class ClientStream:
    """A stream in the daemon; `push` behaves as that of `Separator`."""

    def __init__(self, client: Client, opened: dict[str, Any], n_channels: int) -> None:
        self._client, self._n_channels = client, n_channels
        self.stems: tuple[str, ...] = tuple(opened["stems"])
        self.latency_samples: int = opened["latency_samples"]
        self.info = opened

    def push(self, block: NDArray[Any]) -> Any:
        """Send a block, wait for as many samples of each stem."""
        block = as_float32(block, "block")
        if (
            len(block) > MESSAGE_BLOCK
        ):  # piece by piece, or both sides would wait to write
            pieces = [
                self.push(block[i : i + MESSAGE_BLOCK]) for i in _starts(len(block))
            ]
            stems = [np.concatenate(stem) for stem in zip(*pieces, strict=True)]
            return self._named(stems)
        self._client.send("audio", _to_bytes(block))
        return self.read(len(block))

    def flush(self) -> Any:
        """End the song: the last `latency_samples` samples; a new song may follow."""
        self._client.send("flush")
        rest = self.read(self.latency_samples)
        self._client.receive("flushed")
        return rest

    def set(
        self,
        *,
        vocals_db: float | None = None,
        instrumental_db: float | None = None,
        ramp_ms: float | None = None,
    ) -> None:
        """Move the levels of `karaoke`; see `docs/protocol.md`."""
        self._client.send(
            "set",
            vocals_db=vocals_db,
            instrumental_db=instrumental_db,
            ramp_ms=ramp_ms,
        )

    def read(self, n_samples: int) -> Any:
        """Wait for samples: Stems, or a tuple like `stems` if these are others."""
        shape = (n_samples, self._n_channels)
        stems = [np.empty(shape, np.float32) for _ in self.stems]
        done = 0
        while done < n_samples:
            payload = self._client.receive("stems").payload
            values: GridSamples = np.frombuffer(payload, "<f4")
            parts = values.reshape(len(self.stems), -1, self._n_channels)
            for stem, part in zip(stems, parts, strict=True):
                stem[done : done + len(part)] = part
            done += len(parts[0])
        return self._named(stems)

    def _named(self, stems: list[GridSamples]) -> Any:
        """Give names only to what has them: two stems may be any two, in any order."""
        return Stems(*stems) if self.stems == Stems._fields else tuple(stems)


def _starts(n_samples: int) -> range:
    return range(0, n_samples, MESSAGE_BLOCK)


def _to_bytes(block: GridSamples) -> bytes:
    return np.ascontiguousarray(block, "<f4").tobytes()
