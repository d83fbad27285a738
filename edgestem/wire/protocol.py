r"""The daemon's wire format, without any input or output: bytes in, messages out.

A message is one line of JSON and then exactly `payload_length` bytes:

    {"type": "audio", "seq": 7, "payload_length": 3840}\n<3840 bytes of PCM>

`Decoder` turns bytes into messages, `encode` turns fields into bytes;
`daemon_requests` checks what the messages say.  `docs/protocol.md` is normative.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from edgestem.errors import ProtocolError

VERSION = 1
MAX_HEADER = 4096  # bytes of a header line with its newline: one page
MAX_PAYLOAD = 1 << 20  # bytes: 3 s of 44.1 kHz stereo floats
MAX_FDS = 8  # descriptors waiting on a connection; a job takes three
MAX_SEQ = 1 << 53  # integers that every JSON library keeps exact
MAX_TEXT = 1024  # characters of a string field: four of them fit into a header
MAX_TAGS = 2048  # bytes of a job's tags as JSON: the rest fits beside them
WIRE_FORMATS = {"f32le": "float", "s16le": "16", "s24le": "24"}  # wire -> grid
EVENTS = ("session", "job", "xrun", "device")
ALL_EVENTS = (*EVENTS, "activity")  # the last one is work: who wants it names it
SHORT = 16  # characters of a text that is never cut


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came over the wire."""

    type: str
    """What it is."""
    fields: dict[str, Any]
    """The header without `type` and `payload_length`."""
    payload: bytes = b""
    """Raw bytes after the header."""


class Decoder:
    """Cut a byte stream into messages; holds one message at most."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: dict[str, Any] | None = None
        self._n_payload = 0

    def feed(self, data: bytes) -> None:
        """Append received bytes; call `next_message` until it returns None."""
        self._buffer += data

    @property
    def is_inside_message(self) -> bool:
        """Some of a message is here, but not all."""
        return bool(self._buffer) or self._header is not None

    def next_message(self) -> Message | None:
        """Take the next complete message, None when there is none.

        Raises
        ------
        ProtocolError
            `bad_header` or `too_large`; fatal, as the framing is lost.
        """
        if self._header is None and not self._take_header():
            return None
        if len(self._buffer) < self._n_payload:
            return None
        with memoryview(self._buffer) as view:  # one copy, not two
            payload = bytes(view[: self._n_payload])
        del self._buffer[: self._n_payload]
        header, self._header = self._header, None
        assert header is not None
        return Message(header.pop("type"), header, payload)

    def _take_header(self) -> bool:
        end = self._buffer.find(b"\n", 0, MAX_HEADER)
        if end < 0:
            if len(self._buffer) >= MAX_HEADER:
                _lost("too_large", f"a header line is longer than {MAX_HEADER} bytes")
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._header = _parse_header(line)
        self._n_payload = self._header.pop("payload_length", 0)
        return True


def encode(kind: str, payload: bytes = b"", **fields: Any) -> bytes:
    """Make the bytes of a message; fields that are None are left out.

    Raises
    ------
    ProtocolError
        `too_large`: the message does not fit.
    """
    line = _line(kind, len(payload), fields)
    if len(line) > MAX_HEADER or len(payload) > MAX_PAYLOAD:
        raise ProtocolError(f"a {kind} message is too large", code="too_large")
    return line + payload


def encode_reply(kind: str, payload: bytes = b"", **fields: Any) -> bytes:
    """Make the bytes of a message of the daemon's own: its texts give way to fit.

    What a client named may be long, and longer once JSON has escaped it: the middle
    of the longest text goes, until the header is one.  `payload` has to fit.
    """
    while len(_line(kind, len(payload), fields)) > MAX_HEADER:
        if not _shorten_longest(fields):
            break
    return encode(kind, payload, **fields)


def encode_error(code: str, text: str, seq: int | None = None, **more: Any) -> bytes:
    """Make the bytes of an error message; an overlong text is cut."""
    return encode_reply("error", code=code, text=text, seq=seq, **more)


def as_json(value: object) -> bytes:
    """Make a payload of JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def sequence_number(message: Message) -> int | None:
    """Find the `seq` to put into an error about a message."""
    seq = message.fields.get("seq")
    return seq if type(seq) is int and 0 <= seq <= MAX_SEQ else None


def _line(kind: str, n_payload: int, fields: dict[str, Any]) -> bytes:
    header = {"type": kind} | {k: v for k, v in fields.items() if v is not None}
    if n_payload:
        header["payload_length"] = n_payload
    return json.dumps(header, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _shorten_longest(fields: dict[str, Any]) -> bool:
    """Halve the text that takes most bytes, also one in a list; False: none is left."""
    found: list[tuple[int, str, int | None, str]] = []
    for name, value in fields.items():
        texts = enumerate(value) if isinstance(value, list) else [(None, value)]
        found += [
            (len(json.dumps(text)), name, i, text)
            for i, text in texts
            if isinstance(text, str) and len(text) > SHORT
        ]
    if not found:
        return False
    _, name, i, text = max(found, key=lambda one: one[0])
    kept = len(text) // 4  # of each end: names begin, advice ends a sentence
    short = f"{text[:kept]}...{text[-kept:]}"
    if i is None:
        fields[name] = short
    else:
        fields[name] = [*fields[name][:i], short, *fields[name][i + 1 :]]
    return True


def _lost(code: str, text: str) -> NoReturn:
    raise ProtocolError(text, code=code, fatal=True)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse_header(line: bytes) -> dict[str, Any]:
    """Parse one header line; whatever is wrong with it loses the framing."""
    try:
        header = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        _lost("bad_header", "a header is not one line of JSON")
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        _lost("bad_header", 'a header is not an object with a "type"')
    n_payload = header.get("payload_length", 0)
    if type(n_payload) is not int or n_payload < 0:
        _lost("bad_header", "payload_length is not a natural number")
    if n_payload > MAX_PAYLOAD:
        _lost("too_large", f"a payload is larger than {MAX_PAYLOAD} bytes")
    return header
