"""The wire format: golden bytes, laws of the decoder, and every kind of damage."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgestem.daemon.requests import REQUESTS, Open, Request, Set, parse
from edgestem.errors import ProtocolError
from edgestem.wire.protocol import (
    MAX_HEADER,
    MAX_PAYLOAD,
    Decoder,
    Message,
    encode,
    encode_error,
    sequence_number,
)

CONVERSATION = b"".join(
    [
        encode("hello", protocol=1, client="test"),
        encode("open", seq=1, sample_rate=44100, channels=2, format="s16le"),
        encode("audio", b"\n{}\n\x00\xff" * 4, seq=2),
        encode("set", seq=3, vocals_db=-12.5, ramp_ms=5),
        encode("separate", seq=4, input="/a/b.wav", output_dir="/c"),
        encode("flush", seq=5),
        encode("close", seq=6),
    ]
)


def decode(data: bytes) -> Iterator[Message]:
    decoder = Decoder()
    decoder.feed(data)
    while (message := decoder.next_message()) is not None:
        yield message


def survive_message(message: Message) -> list[Request]:
    try:
        return [parse(message)]
    except ProtocolError as error:
        assert not error.fatal
        encode_error(error.code, str(error), sequence_number(message))
        return []


def survive(data: bytes) -> list[Request]:
    """Decode and parse; anything but ProtocolError is a bug."""
    requests = []
    try:
        for message in decode(data):
            requests += survive_message(message)
    except ProtocolError as error:
        assert error.fatal and error.code in ("bad_header", "too_large")
    return requests


def test_bytes_on_the_wire() -> None:
    assert encode("audio", b"ab\n", seq=7) == (
        b'{"type":"audio","seq":7,"payload_length":3}\nab\n'
    )
    assert encode("error", code="x", text="y", seq=None) == (
        b'{"type":"error","code":"x","text":"y"}\n'
    )


def test_a_payload_may_hold_anything() -> None:
    payload = b'\n{"type":"x"}\n' + bytes(range(256))
    (message,) = decode(encode("audio", payload, seq=1))
    assert message == Message("audio", {"seq": 1}, payload)


@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=9))
def test_messages_do_not_depend_on_how_bytes_arrive(cuts: list[int]) -> None:
    decoder, found = Decoder(), []
    edges = [0, *sorted(cuts), len(CONVERSATION)]
    for start, end in itertools.pairwise(edges):
        decoder.feed(CONVERSATION[start:end])
        while (message := decoder.next_message()) is not None:
            found.append(message)
    assert found == list(decode(CONVERSATION))
    assert not decoder.is_inside_message


def test_every_prefix_of_a_conversation_is_survived() -> None:
    whole = len(survive(CONVERSATION))
    assert whole == 7
    for end in range(len(CONVERSATION)):
        assert len(survive(CONVERSATION[:end])) < whole


def test_every_single_byte_mutation_is_survived() -> None:
    for at in range(len(CONVERSATION)):
        for value in (0, 10, 34, 45, 48, 57, 92, 123, 125, 128, 255):
            survive(CONVERSATION[:at] + bytes([value]) + CONVERSATION[at + 1 :])


@given(st.binary(max_size=300))
def test_garbage_is_survived(data: bytes) -> None:
    survive(data)
    survive(data.replace(b"\n", b" ") + b"\n")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([*REQUESTS, "nonsense"]),
    st.dictionaries(
        st.sampled_from(
            sorted({f.name for r in REQUESTS.values() for f in dataclasses.fields(r)})
        ),
        JSON | st.sampled_from(["live", "f32le", 44100, ["karaoke"], -0.5]),
    ),
)
def test_any_json_in_any_field_is_survived(kind: str, fields: dict) -> None:
    survive(json.dumps({**fields, "type": kind}).encode() + b"\n")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", "bad_header"),
        (b"[]", "bad_header"),
        (b"{}", "bad_header"),
        (b'{"type":1}', "bad_header"),
        (b'{"type":"ping","x":NaN}', "bad_header"),
        (b'{"type":"ping","payload_length":-1}', "bad_header"),
        (b'{"type":"ping","payload_length":1.0}', "bad_header"),
        (b'{"type":"ping","payload_length":true}', "bad_header"),
        (b'{"type":"ping","payload_length":"9"}', "bad_header"),
        (b'{"type":"audio","payload_length":1048577}', "too_large"),
        (b'{"type":"audio","payload_length":1' + b"0" * 4000 + b"}", "too_large"),
        (b'{"type":"ping","x":' + b"[" * 3900 + b"]" * 100 + b"}", "bad_header"),
        (b"\xff\xfe", "bad_header"),
    ],
)
def test_lost_framing_is_fatal(line: bytes, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        list(decode(line + b"\n"))
    assert (caught.value.code, caught.value.fatal) == (code, True)


def test_a_header_without_an_end_is_refused_at_the_limit() -> None:
    decoder = Decoder()
    decoder.feed(b"x" * (MAX_HEADER - 1))
    assert decoder.next_message() is None
    decoder.feed(b"x")
    with pytest.raises(ProtocolError) as caught:
        decoder.next_message()
    assert caught.value.code == "too_large"


def test_what_does_not_fit_is_not_sent() -> None:
    with pytest.raises(ProtocolError):
        encode("audio", bytes(MAX_PAYLOAD + 1))
    with pytest.raises(ProtocolError):
        encode("x", text="y" * MAX_HEADER)
    assert len(encode_error("x", "\N{SNOWMAN}" * 5000)) < MAX_HEADER


def test_unknown_fields_are_ignored_and_unknown_types_refused() -> None:
    assert parse(Message("ping", {"seq": 1, "new": {}})).seq == 1
    with pytest.raises(ProtocolError) as caught:
        parse(Message("pong", {}))
    assert (caught.value.code, caught.value.fatal) == ("unknown_type", False)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("open", {}),
        ("open", {"sample_rate": 44100.0}),
        ("open", {"sample_rate": True}),
        ("open", {"sample_rate": 0}),
        ("open", {"sample_rate": 44100, "format": "s8"}),
        ("open", {"sample_rate": 44100, "stems": []}),
        ("open", {"sample_rate": 44100, "stems": ["drums"]}),
        ("open", {"sample_rate": 44100, "stems": "karaoke"}),
        ("open", {"sample_rate": 44100, "stems": [{}]}),
        ("open", {"sample_rate": 44100, "model": "x" * 2000}),
        ("set", {"vocals_db": 21}),
        ("set", {"vocals_db": "0"}),
        ("set", {"ramp_ms": -1}),
        ("separate", {"input": "a\0b"}),
        ("separate", {"input": "\ud800"}),
        ("separate", {"replace": 1}),
        ("cancel", {}),
        ("ping", {"seq": -1}),
        ("ping", {"seq": 1 << 60}),
    ],
)
def test_wrong_fields_are_refused_by_name(kind: str, fields: dict) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(Message(kind, fields))
    assert (caught.value.code, caught.value.fatal) == ("bad_field", False)


def test_only_audio_has_a_payload() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(Message("ping", {}, b"x"))
    assert caught.value.code == "bad_field"


def test_the_document_has_every_error_code_and_request() -> None:
    root = Path(__file__).parent.parent.parent
    text = (root / "docs" / "protocol.md").read_text()
    found = set(REQUESTS)
    files = list((root / "edgestem" / "daemon").rglob("*.py"))
    assert len(files) > 25
    for path in files:
        if path.parent.name != "system":  # before any client
            found |= set(re.findall(r'code="(\w+)"', path.read_text()))
    found -= {"died"}  # of a model's child, before any client
    assert {word for word in found if f"`{word}`" not in text} == set()


def test_requests_are_typed() -> None:
    request = parse(
        Message("open", {"sample_rate": 48000, "stems": ["karaoke", "karaoke"]})
    )
    assert isinstance(request, Open)
    assert (request.stems, request.channels) == (("karaoke",), 2)
    levels = parse(Message("set", {"vocals_db": -6}))
    assert isinstance(levels, Set)
    assert (levels.vocals_db, levels.instrumental_db) == (-6.0, None)
