"""MIDI, the socket and the terminal: the same commands through each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from shows import Show

from edgestem.errors import EdgestemError
from edgestem.play.command_words import parse_time
from edgestem.play.commands import COMMANDS, Console, Refused
from edgestem.play.doors.midi import Midi, MidiCommands, Parser
from edgestem.play.doors.terminal import KEYS, one_line, split_keys
from edgestem.play.doors.wire_door import WireDoor
from edgestem.play.items import Item
from edgestem.wire.protocol import Decoder, Message, encode

RATE = 44100


@pytest.fixture
def console(write_song: Callable[..., Path]) -> Iterator[Console]:
    items = [
        Item(write_song(f"{n}.wav", np.full((20 * RATE, 2), 0.2, np.float32)))
        for n in "abc"
    ]
    items[0].settings.sections = {"chorus": (5.0, 8.0)}
    with Show(items, is_timed=True) as show:
        show.wait_cued()
        yield Console(show.player)


def wait(what: Callable[[], object]) -> None:
    import time

    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_every_command_has_a_line_of_help_and_refuses_nonsense(
    console: Console,
) -> None:
    assert all(name in console.do("help") for name in COMMANDS)
    for name, command in COMMANDS.items():
        with pytest.raises(Refused, match="expected"):
            console.do(f"{name} a b c d")
        assert command.text
    for line in ("vocals 21", "key 13", "tempo 10", "select 9", "loop chorus2",
                 "seek", "loop 1", "section x", "seek nan", "vocals"):  # fmt: skip
        with pytest.raises(Refused):
            console.do(line)
    assert parse_time("1:02.5") == 62.5


def test_sections_and_relative_words(console: Console) -> None:
    player = console.player
    console.do("play")
    wait(lambda: player.state == "playing")
    console.do("section chorus")
    wait(lambda: 5 * RATE <= player.place() < 6 * RATE)
    console.do("loop chorus")
    wait(lambda: player.loop == (5 * RATE, 8 * RATE))
    console.do("seek +2.8")
    wait(lambda: 5 * RATE <= player.place() < 5.2 * RATE)  # gone round
    console.do("loop off")
    assert console.do("key +1") == "key +1"
    wait(lambda: player.item.settings.key == 1)
    assert console.do("key +1") == "key +2"
    wait(lambda: player.item.settings.key == 2)
    assert console.do("tempo -5") == "tempo 95 %"
    status = json.loads(console.do("status"))
    assert status["faders"]["vocals"] is None and status["title"] == "a"


def test_midi_bytes_become_commands() -> None:
    parser, commands = Parser(), MidiCommands()

    def lines(data: bytes, state: str = "ready") -> list[str]:
        return [commands.of(m, state) for m in parser.feed(data)]

    assert lines(b"\xc0\x02") == ["select 3"]
    assert lines(b"\xb0\x00\x01\xc0\x02") == ["", "select 131"]
    assert lines(b"\x04") == ["select 133"]  # running status
    assert lines(b"\xb0\x14\xf8\x7f") == ["", "vocals 0.00"]  # a clock in between
    assert lines(b"\xb0\x14\x00") == ["vocals -inf"]
    assert lines(b"\xb0\x40\x7f\x40\x70\x40\x00\x40\x7f") == ["play", "", "", "play"]
    assert lines(b"\xb0\x40\x00\x40\x7f", "playing") == ["", "stop"]
    assert lines(b"\xfa\xfc") == ["play", "stop"]
    assert lines(b"\xf0\x7f\x01\x06\x02\xf7\xf0\x7f\x01\x06\x01\xf7") == [
        "play",
        "stop",
    ]
    assert lines(b"\xbf\x64\x00\x64\x03") == ["play", "stop"]  # mtrack
    assert lines(b"\xf0\x7f" + b"\x01" * 9999 + b"\xf7\x90\x40\x7f") == ["", ""]


def test_a_raw_midi_device_that_comes_later(console: Console, tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "midiC1D0"
    midi = Midi(console, said.append, path)
    midi.start()
    wait(lambda: said)
    assert "it is waited for" in said[0]
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    os.write(fd, b"\xc0\x01")
    wait(lambda: console.player.index == 1)
    os.write(fd, b"\xfa")
    wait(lambda: console.player.state == "playing")
    midi.close()
    os.close(fd)


def test_the_socket_speaks_the_daemons_framing(
    console: Console, tmp_path: Path
) -> None:
    path = tmp_path / "play.sock"
    door = WireDoor(console, print, path)
    door.start()
    with pytest.raises(EdgestemError) as caught:
        WireDoor(console, print, path)
    assert caught.value.code == "socket_in_use"
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    decoder = Decoder()

    def ask(data: bytes) -> Message:
        client.sendall(data)
        return read()

    def read() -> Message:
        while (message := decoder.next_message()) is None:
            data = client.recv(65536)
            assert data
            decoder.feed(data)
        return message

    found = ask(encode("do", line="vocals -12", seq=7))
    assert found.type == "done"
    assert found.fields == {"text": "vocals -12 dB", "seq": 7}
    assert ask(encode("do", line="vocals x", seq=8)).fields["code"] == "refused"
    assert ask(encode("do", line=5)).fields["code"] == "bad_field"
    assert ask(encode("dance")).fields["code"] == "unknown_type"
    assert json.loads(ask(encode("status")).payload)["state"] == "ready"
    console.is_locked = True
    assert "locked" in ask(encode("do", line="key 1")).fields["text"]
    ask(encode("subscribe"))
    console.do("play")
    while json.loads(read().payload)["state"] != "playing":
        pass
    assert ask(b"no json\n").type in ("status", "error")
    client.close()
    door.close()
    assert not path.exists()


def test_keys_and_the_line(console: Console) -> None:
    assert split_keys("a\x1b[C q") == ["a", "\x1b[C", " ", "q"]
    for line in KEYS.values():
        name = line.split("|")[0].split()[0]
        assert name in COMMANDS
    line = one_line(console.status(), 200)
    assert line.startswith("1/3  ready  0:00/0:20  vocals off") and line.endswith("a")
    assert len(one_line(console.status(), 40)) < 40


def test_a_real_terminal(
    command: Callable[..., list[str]],
    write_song: Callable[..., Path],
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    """Keys on a pseudo-terminal; the terminal is as it was afterwards."""
    import pty
    import termios

    song = write_song(x=np.zeros((20 * RATE, 2), np.float32))
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    line = command("play", song, "--null", "timed", "--model", tiny_model,
                   "--store", tmp_path / "store")  # fmt: skip
    play = subprocess.Popen(line, stdin=slave, stdout=slave, stderr=slave)
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(master, 4096)

    until(b"playing")
    os.write(master, b"v+")
    until(b"vocals 0 dB")
    until(b"key +1")
    os.write(master, b"q")
    assert play.wait(20) == 0
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_check_rehearses_silently(
    run: Callable[..., subprocess.CompletedProcess[str]],
    write_song: Callable[..., Path],
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    write_song("a.wav")
    (tmp_path / "b.mp3").write_bytes(b"x" * 5000)
    (tmp_path / "set.toml").write_text(
        '[[song]]\nfile = "a.wav"\nkey = 2\n[song.sections]\nend = [0, 9]\n'
        '[[song]]\nfile = "b.mp3"\n'
    )
    more = ("--model", tiny_model, "--store", tmp_path / "store")
    done = run("play", "set.toml", "--check", *more)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "BAD   1. a.wav: beyond its end (1.0 s): end"
    assert lines[1].startswith("BAD   2. b.mp3: ")
    assert lines[2].startswith("good  network: ")
    done = run("play", "a.wav", "--check", *more)
    assert done.stdout.startswith("good  1. a.wav: 1.0 s, 44100 Hz\n")
    done = run("play", "a.wav", "--test", "--null", "fast", *more)
    assert done.returncode == 2 and "--card" in done.stderr
