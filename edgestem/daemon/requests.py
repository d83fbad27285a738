"""What clients may ask for: one frozen class a request, each field with its check.

`parse` turns a message into one of them or says what is wrong with it.  Unknown
fields are ignored, so that a newer client can talk to an older daemon.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from edgestem.errors import ProtocolError
from edgestem.sound.formats import CONTAINERS as FILE_FORMATS
from edgestem.sound.formats import MAX_BITRATE, MIN_BITRATE, SUBTYPES
from edgestem.sound.tags import NAMES
from edgestem.stems import MAX_DB, OUTPUTS
from edgestem.wire.protocol import (
    ALL_EVENTS,
    EVENTS,
    MAX_SEQ,
    MAX_TAGS,
    MAX_TEXT,
    VERSION,
    WIRE_FORMATS,
    Message,
    as_json,
)

Check = Callable[[Any], Any]


def _field(check: Check, default: Any = dataclasses.MISSING) -> Any:
    return dataclasses.field(default=default, metadata={"check": check})


def _refuse(expected: str) -> NoReturn:
    raise ValueError(f"expected {expected}")


def _integer(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            _refuse(f"an integer from {low} to {high}")
        return int(value)

    return check


def _number(low: float, high: float) -> Check:
    def check(value: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            _refuse(f"a number from {low:g} to {high:g}")
        return float(value)

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        _refuse(f"a string of at most {MAX_TEXT} characters")
    if "\0" in value or not _is_unicode(value):
        _refuse("a string without NUL and lone surrogates")
    return value


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _one_of(*choices: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            _refuse("one of " + ", ".join(choices))
        return value

    return check


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        _refuse("true or false")
    return value


def _some_of(*choices: str) -> Check:
    def check(value: Any) -> tuple[str, ...]:
        is_list = isinstance(value, list) and 0 < len(value) <= len(choices)
        if not is_list or any(v not in choices for v in value):
            _refuse("a list of " + ", ".join(choices))
        return tuple(dict.fromkeys(value))

    return check


def _texts(*names: str) -> Check:
    def check(value: Any) -> dict[str, str]:
        if not isinstance(value, dict) or len(as_json(value)) > MAX_TAGS:
            _refuse(f"an object of texts, {MAX_TAGS} bytes at most")
        return {_one_of(*names)(name): _text(text) for name, text in value.items()}

    return check


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What every request may carry."""

    seq: int | None = _field(_integer(0, MAX_SEQ), None)
    """Comes back in each reply to this request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Request):
    """Say which version the client speaks; optional."""

    protocol: int = _field(_integer(0, MAX_SEQ), VERSION)
    client: str = _field(_text, "")
    """For the daemon's log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Open(Request):
    """Open the connection's stream."""

    sample_rate: int = _field(_integer(1, 1 << 31))
    """Hz."""
    channels: int = _field(_integer(1, 1 << 16), 2)
    format: str = _field(_one_of(*WIRE_FORMATS), "f32le")
    """Of the audio and of the stems."""
    stems: tuple[str, ...] = _field(_some_of(*OUTPUTS), OUTPUTS[:2])
    model: str = _field(_text, "")
    """Empty: the daemon's first."""
    mode: str = _field(_one_of("file", "live"), "file")
    vocals_db: float = _field(_number(-1000, MAX_DB), 0.0)
    """Level in `karaoke`, dB; -100 and below is silence."""
    instrumental_db: float = _field(_number(-1000, MAX_DB), 0.0)
    """Level in `karaoke`, dB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio(Request):
    """A block of the mixture; the payload is PCM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Set(Request):
    """Change the levels of `karaoke`; what is left out stays."""

    vocals_db: float | None = _field(_number(-1000, MAX_DB), None)
    instrumental_db: float | None = _field(_number(-1000, MAX_DB), None)
    ramp_ms: float = _field(_number(0, 60_000), 20.0)
    """Time the change takes; 20 ms is no click and feels immediate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush(Request):
    """End the song: the last stems, then `flushed`; a new song may follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(Request):
    """Close the stream without its last stems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Separate(Request):
    """Queue a job on a file."""

    input: str = _field(_text, "")
    """Path; empty: a passed descriptor."""
    output_dir: str = _field(_text, "")
    """Path; empty: a passed descriptor for each stem, in the order of `stems`."""
    stems: tuple[str, ...] = _field(_some_of(*OUTPUTS), OUTPUTS[:2])
    vocals_db: float | None = _field(_number(-1000, MAX_DB), None)
    """Level of the vocals in `karaoke`, dB; below -120 there are none."""
    format: str = _field(_one_of(*FILE_FORMATS), "wav")
    subtype: str = _field(_one_of(*SUBTYPES), "keep")
    bitrate: int | None = _field(_integer(MIN_BITRATE, MAX_BITRATE), None)
    """kbit/s of mp3 and (about) ogg; default 320."""
    tags: Mapping[str, str] | None = _field(_texts(*NAMES), None)
    """Of the song, in place of those that its file has."""
    model: str = _field(_text, "")
    replace: bool = _field(_boolean, False)
    """Replace stems that exist in `output_dir`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Request):
    """End one of this connection's jobs."""

    job: int = _field(_integer(0, MAX_SEQ))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe(Request):
    """Hear of what happens in the daemon."""

    events: tuple[str, ...] = _field(_some_of(*ALL_EVENTS), EVENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Request):
    """Ask for `pong`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Request):
    """Ask for `status`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models(Request):
    """Ask for `models`."""


REQUESTS: dict[str, type[Request]] = {
    cls.__name__.lower(): cls
    for cls in (
        *(Hello, Open, Audio, Set, Flush, Close, Separate, Cancel, Subscribe),
        *(Ping, Status, Models),
    )
}


def parse(message: Message) -> Request:
    """Check a message from a client; unknown fields are ignored.

    Raises
    ------
    ProtocolError
        `unknown_type` or `bad_field`; not fatal.
    """
    cls = REQUESTS.get(message.type)
    if cls is None:
        raise ProtocolError(
            f"no request is called {message.type[:40]!r}", code="unknown_type"
        )
    if message.payload and cls is not Audio:
        raise ProtocolError(f"{message.type} takes no payload", code="bad_field")
    values = {}
    for f in dataclasses.fields(cls):
        if f.name in message.fields:
            values[f.name] = _checked(f, message.fields[f.name])
        elif f.default is dataclasses.MISSING:
            raise ProtocolError(f"{message.type} needs {f.name}", code="bad_field")
    return cls(**values)


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    try:
        return field.metadata["check"](value)
    except ValueError as cause:
        raise ProtocolError(f"{field.name}: {cause}", code="bad_field") from None
