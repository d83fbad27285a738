r"""A socket for programs, in the daemon's framing (docs/protocol.md).

    {"type": "do", "line": "vocals -12", "seq": 1}\n
    {"type": "done", "text": "vocals -12 dB", "seq": 1}\n

`status` is answered with the whole status as a JSON payload, `subscribe` sends one
whenever it changes.  What makes no sense is an `error` with the code `refused`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from edgestem.errors import EdgestemError, ProtocolError
from edgestem.play.commands import Console, Refused
from edgestem.wire.protocol import (
    Decoder,
    Message,
    as_json,
    encode_error,
    encode_reply,
    sequence_number,
)

MAX_CLIENTS = 16
LOOK_S = 0.1
STALL_S = 5.0  # a client that takes nothing for so long is let go


class WireDoor:
    """A door of the console on a UNIX socket; this user and root may connect.

    Parameters
    ----------
    console : Console
    say : callable
    path : Path
        Made, and removed at the end.

    Raises
    ------
    EdgestemError
        `socket_in_use`, or `unwritable`: it cannot be made.
    """

    def __init__(
        self, console: Console, say: Callable[[str], None], path: Path
    ) -> None:
        self._console, self._say, self._path = console, say, path
        self._is_over = threading.Event()
        self._n_clients = 0
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._bind()
        except OSError as cause:
            self._listener.close()
            raise EdgestemError(
                f"no socket {path}: {cause.strerror or cause}; give --socket a name "
                "in a folder that you may write to",
                code="unwritable",
            ) from cause
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)

    def _bind(self) -> None:
        with socket.socket(socket.AF_UNIX) as other:
            if other.connect_ex(str(self._path)) == 0:
                self._listener.close()
                raise EdgestemError(
                    f"another player has the socket {self._path}", code="socket_in_use"
                )
        if self._path.is_socket():
            self._path.unlink()  # its player was killed
        before = os.umask(0o177)
        try:
            self._listener.bind(str(self._path))
        finally:
            os.umask(before)
        self._listener.listen(8)
        self._listener.settimeout(LOOK_S)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """End, and remove the socket."""
        self._is_over.set()
        self._thread.join()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                client, _ = self._listener.accept()
            except (TimeoutError, OSError):
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(STALL_S)
            raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if struct.unpack("3i", raw)[1] not in (0, os.geteuid()):
                client.sendall(encode_error("forbidden", "another user's player"))
                return
            if self._n_clients >= MAX_CLIENTS:
                client.sendall(encode_error("too_many_clients", "all places are taken"))
                return
            self._n_clients += 1
            try:
                self._talk(client)
            finally:
                self._n_clients -= 1

    def _talk(self, client: socket.socket) -> None:
        decoder, told, is_subscribed = Decoder(), b"", False
        client.settimeout(LOOK_S)
        while not self._is_over.is_set():
            try:
                data = client.recv(65536)
                if not data:
                    return
                decoder.feed(data)
            except TimeoutError:
                pass
            try:
                while (message := decoder.next_message()) is not None:
                    is_subscribed |= message.type == "subscribe"
                    self._send(client, self._answer(message))
            except ProtocolError as error:
                self._send(client, encode_error(error.code, str(error)))
                return
            if is_subscribed and (now := as_json(self._console.status())) != told:
                told = now
                self._send(client, encode_reply("status", now))

    def _send(self, client: socket.socket, data: bytes) -> None:
        client.settimeout(STALL_S)
        client.sendall(data)
        client.settimeout(LOOK_S)

    def _answer(self, message: Message) -> bytes:
        seq = sequence_number(message)
        if message.type in ("status", "subscribe"):
            return encode_reply("status", as_json(self._console.status()), seq=seq)
        line = message.fields.get("line")
        if message.type != "do":
            return encode_error("unknown_type", "there are do, status, subscribe", seq)
        if not isinstance(line, str):
            return encode_error("bad_field", "line: expected a text", seq)
        try:
            text = self._console.do(line, is_master=False)
        except Refused as error:
            return encode_error("refused", str(error), seq)
        return encode_reply("done", text=text, seq=seq)
