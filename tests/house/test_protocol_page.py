"""docs/protocol.md is true: its examples and lists, against a real daemon."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemons import DaemonProcess, running
from jobs import make_song, new_files

from edgestem.wire.protocol import Decoder, Message, encode

PAGE = (Path(__file__).parent.parent.parent / "docs" / "protocol.md").read_text()
# What differs from run to run; everything else is as it is printed there.
FREE = {"server", "job", "percent", "eta_s", "n_samples"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with running(tmp_path_factory.mktemp("daemon"), "--model", "karaoke") as found:
        yield found


def example(number: int) -> list[tuple[str, dict[str, Any], bool]]:
    """Direction, fields, and whether there are more fields, of each line."""
    block = PAGE.split("```")[2 * number + 1]
    found = []
    for line in block.strip().splitlines():
        match = re.match(r"(<-|->) (\{.*?\})(\s|$)", line)
        assert match, line
        text = match[2].replace(",...}", "}")
        found.append((match[1], json.loads(text), text != match[2]))
    return found


class Talk:
    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._decoder = connection, Decoder()

    def receive(self) -> Message:
        while (message := self._decoder.next_message()) is None:
            data = self._connection.recv(1 << 16)
            assert data, "hung up"
            self._decoder.feed(data)
        return message

    def receive_all(self, kind: str, last: str) -> list[Message]:
        """Take messages of a kind and the one behind them."""
        found = [self.receive()]
        while found[-1].type == kind:
            found.append(self.receive())
        assert found[-1].type == last, found[-1]
        return found


def compare(found: Message, shown: dict[str, Any], *, is_part: bool) -> None:
    fields = {"type": found.type, **found.fields}
    if found.payload:
        fields["payload_length"] = len(found.payload)
    assert set(shown) <= set(fields) if is_part else set(shown) == set(fields)
    for name, value in shown.items():
        assert type(fields[name]) is type(value), name
        assert name in FREE or fields[name] == value, name


def test_the_postcard_of_a_stream(daemon: DaemonProcess) -> None:
    lines = [line for line in example(1) if line[1]["type"] not in ("hello", "flush")]
    with daemon.client() as client:
        hello = Message("hello", client.server)
        compare(hello, example(1)[0][1], is_part=False)
    with daemon.raw() as connection:
        talk, last = Talk(connection), {}
        for way, shown, is_part in lines:
            n_payload = shown.get("payload_length", 0)
            if way == "->":
                fields = {k: v for k, v in shown.items() if k[:2] not in ("pa", "ty")}
                connection.sendall(encode(shown["type"], bytes(n_payload), **fields))
            elif shown["type"] != "stems" or not is_part:
                message = talk.receive()
                compare(message, shown, is_part=is_part)
                last[shown["type"]] = message
            else:  # those of the flush
                connection.sendall(encode("flush", seq=3))
                *rest, flushed = talk.receive_all("stems", "flushed")
                n_samples = sum(len(one.payload) for one in rest) // 8
                assert n_samples == last["opened"].fields["latency_samples"]
                talk._decoder.feed(encode("flushed", **flushed.fields))


def test_the_postcard_of_a_job(daemon: DaemonProcess, tmp_path: Path) -> None:
    (_, asked, _), *shown = example(2)
    song = make_song(tmp_path / "song.wav", 30)
    with daemon.raw() as connection, song.open("rb") as file:
        data = encode("separate", seq=asked["seq"], fds=asked["fds"])
        fds = [file.fileno(), *new_files(tmp_path)]
        socket.send_fds(connection, [data], fds)
        talk = Talk(connection)
        found = [talk.receive(), *talk.receive_all("progress", "done")]
    for (_, fields, is_part), message in zip(
        shown, (found[0], found[1], found[-1]), strict=True
    ):
        compare(message, fields, is_part=is_part)
    text = PAGE.split("* `done`: ")[1].split(". ")[0]
    named = set(re.findall(r"`(\w+)`", text))
    assert named == set(found[-1].fields) - {"seq", "job"}


def test_status_has_what_the_page_lists(daemon: DaemonProcess) -> None:
    text = PAGE.split("`status` has ")[1].split(";")[0]
    with daemon.client() as client:
        status = client.status()
    assert set(re.findall(r"`(\w+)`", text)) <= set(status)
