"""The desk: the master fader, and ticks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from shows import Show

from edgestem.play.click import tick_tone
from edgestem.play.commands import Console
from edgestem.play.desk import Desk
from edgestem.play.doors.midi import Midi, MidiCommands
from edgestem.play.items import Item
from edgestem.play.routes import Routes

RATE = 44100


def test_the_master_moves_the_backing_bus_alone() -> None:
    desk = Desk(RATE, 4096)
    ones = np.ones((2048, 2), np.float32)
    desk.ring.write(ones, ones * 0.5, ones[:, 0])
    desk.go()
    desk.master.set(-20.0, None, 0)
    assert desk.process(512) == 512
    assert np.allclose(desk.backing[:512], 0.05, atol=1e-6)
    assert np.all(desk.guide[:512] == 1) and np.all(desk.click[:512] == 1)
    desk.master.set(0.0, None, 0)
    desk.process(512)
    assert np.all(desk.backing[:512] == np.float32(0.5))


def test_a_tick_sounds_whatever_plays_and_in_any_blocks() -> None:
    tone = tick_tone(RATE)
    for block in (64, 333, 4096):
        desk = Desk(RATE, 4096)
        desk.tick()
        heard = []
        for _ in range(-(-2 * len(tone) // block)):
            n = desk.process(block)
            heard.append(desk.click[:n].copy())
            assert not desk.backing[:n].any()
        line = np.concatenate(heard)
        assert np.array_equal(line[: len(tone)], tone) and not line[len(tone) :].any()


def test_presses_tick_and_faders_do_not(
    write_song: Callable[..., Path], tmp_path: Path
) -> None:
    assert MidiCommands().of(b"\xb0\x07\x00", "ready") == "master -inf"
    path = tmp_path / "midi"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    songs = [
        Item(write_song(f"{n}.wav", np.zeros((5 * RATE, 2), np.float32))) for n in "ab"
    ]
    with Show(songs, is_timed=True, routes=Routes({"click": (1,)})) as show:
        show.wait_cued()
        console, n_ticks = Console(show.player), [0]

        def tick() -> None:
            n_ticks[0] += 1

        midi = Midi(console, print, path, on_press=tick)
        midi.start()
        os.write(fd, b"\xb0\x07\x40\xb0\x14\x40")
        show.wait(lambda: console.faders["vocals"] > -20)
        assert -12 < console.faders["master"] < -11 and n_ticks == [0]
        os.write(fd, b"\xc0\x01\xb0\x54\x7f\xb0\x54\x00")
        show.wait(lambda: console.last == "vocals toggle")
        assert n_ticks == [2]
        time.sleep(0.02)
        midi.close()
    os.close(fd)
