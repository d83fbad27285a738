"""MIDI that a song sends, and JACK's MIDI ports."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shows import Show

from edgestem.play.doors.midi import MidiCommands
from edgestem.play.doors.midi_out import MidiOut
from edgestem.play.items import Item
from edgestem.play.midi_words import parse_midi

RATE = 44100


def test_messages_in_words() -> None:
    assert parse_midi("PC5@1, CC7.100@1") == (b"\xc0\x05", b"\xb0\x07\x64")
    assert parse_midi("pc127@16,cc0.0") == (b"\xcf\x7f", b"\xb0\x00\x00")
    for bad in ("", "PC", "PC128", "PC5@0", "PC5@17", "CC7@1", "CC7.128", "PC5 PC6",
                "PC5,", "NO60.1"):  # fmt: skip
        with pytest.raises(ValueError, match="expected messages"):
            parse_midi(bad)


def test_the_map_of_mtrack_understands_nothing_else() -> None:
    commands = MidiCommands("mtrack")
    found = [commands.of(bytes([0xBF, 100, n]), "ready") for n in range(6)]
    assert found == ["play", "previous", "next", "stop", "", ""]
    for other in (b"\xb0\x64\x00", b"\xbf\x40\x7f", b"\xc0\x01", b"\xfa", b"\xf8"):
        assert commands.of(other, "ready") == ""


def test_a_song_sends_when_it_is_selected(
    write_song: Callable[..., Path], tmp_path: Path
) -> None:
    items = [
        Item(write_song(f"{n}.wav", np.zeros((5 * RATE, 2), np.float32))) for n in "abc"
    ]
    items[0].midi, items[1].midi = parse_midi("PC1"), parse_midi("PC2@2, CC7.9@2")
    path = tmp_path / "midiC1D0"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    said: list[str] = []
    out = MidiOut(path, said.append)
    show = Show(items, is_timed=True)
    show.player.on_select = lambda item: out.send(item.midi) if item.midi else None
    with show:
        heard = b""

        def hear(want: bytes) -> bool:
            nonlocal heard
            try:
                heard += os.read(fd, 99)
            except BlockingIOError:
                time.sleep(0.01)
            return heard == want

        show.wait(lambda: hear(b"\xc0\x01"))
        show.wait_cued()
        show.player.play()
        show.wait_state("playing")
        show.player.stop()  # it stays on the song: nothing is sent
        show.wait_cued()
        show.player.select(1)
        show.wait(lambda: hear(b"\xc0\x01\xc1\x02\xb1\x07\x09"))
        show.player.select(2)
        show.wait(lambda: show.player.index == 2)
        show.player.announce()
        show.player.select(1)
        show.wait(lambda: hear(b"\xc0\x01" + b"\xc1\x02\xb1\x07\x09" * 2))
    out.close()
    path.unlink()
    out.send((b"\xc0\x01",))
    out.send((b"\xc0\x01",))
    assert len(said) == 1 and "No such file" in said[0]
    os.close(fd)
