"""Pedals: input_event structs through the same reader, on a FIFO."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from feet import Foot
from shows import Show

from edgestem.play.commands import Console
from edgestem.play.doors.gestures import SWITCHES, Gestures
from edgestem.play.doors.pedals import Pedals
from edgestem.play.items import Item

RATE = 44100
Write = Callable[..., Path]


class Stage:
    def __init__(self, show: Show, folder: Path, mode: str) -> None:
        self.show, self.console = show, Console(show.player)
        self.said: list[str] = []
        self.ticks: list[int] = []
        self.foot = Foot(folder / "event7")
        self.pedals = Pedals(
            self.console, self.said.append, mode=mode, paths=(self.foot.path,),
            on_press=lambda: self.ticks.append(1),
        )  # fmt: skip

    def wait(self, *states: str) -> None:
        self.show.wait_state(*states)


@pytest.fixture
def stage(write_song: Write, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    held = []
    songs = [
        Item(write_song(f"{n}.wav", np.full((20 * RATE, 2), 0.2, np.float32)))
        for n in "abc"
    ]

    def make(mode: str = "two") -> Stage:
        show = Show(songs, is_timed=True)
        found = Stage(show, tmp_path, mode)
        show.__enter__()
        found.pedals.start()
        held.append(found)
        show.wait_cued()
        return found

    yield make
    for found in held:
        found.pedals.close()
        found.show.__exit__()


def test_each_usual_pair_plays_and_stops(stage: Callable[..., Stage]) -> None:
    s = stage()
    for a, b in zip(SWITCHES["A"], SWITCHES["B"], strict=True):
        s.foot.tap(a)
        s.wait("playing")
        s.foot.tap(b)
        s.show.wait_cued()
        assert s.show.player.index == 0


def test_go_during_a_song_changes_nothing(stage: Callable[..., Stage]) -> None:
    s = stage()
    s.foot.tap(109)
    s.wait("playing")
    n = s.console.n_commands
    for _ in range(1000):
        s.foot.send(109, 1, 0)
    time.sleep(0.3)
    assert s.show.player.state == "playing" and s.console.n_commands == n
    s.foot.tap(1)  # panic
    s.show.wait_cued()
    assert s.show.sound()[-1, 0] == 0


def test_holds_and_repeats(stage: Callable[..., Stage]) -> None:
    s = stage()
    s.foot.tap(104)  # B selects the next song
    s.show.wait(lambda: s.show.player.index == 1)
    s.foot.hold(109)  # A held: the previous one
    s.show.wait(lambda: s.show.player.index == 0)
    s.show.wait_cued()
    n = s.console.n_commands
    s.foot.hold(104)  # B held: guide vocals off
    assert s.console.n_commands == n + 1  # 30 repeats are one action
    assert s.console.status()["faders"]["guide"] is None
    s.foot.tap(48)  # C
    assert s.console.last == "vocals toggle" or not time.sleep(0.1)
    s.foot.tap(109)
    s.wait("playing")
    s.show.wait(lambda: s.show.player.place() > RATE)
    s.foot.hold(104)  # B held while playing: again from the start
    s.wait("playing")
    assert s.show.player.place() < RATE


def test_a_foot_on_b_does_not_end_the_song_that_the_other_begins(
    stage: Callable[..., Stage],
) -> None:
    """B was pressed to select a song; let go in a song it would stop that."""
    s = stage()
    for seconds in (0.1, 1.0):
        s.foot.send(104, 1)
        s.foot.tap(109)
        s.wait("playing")
        n = s.console.n_commands
        time.sleep(seconds)
        s.foot.send(104, 0)
        time.sleep(0.2)
        assert s.show.player.state == "playing" and s.console.n_commands == n
        s.foot.tap(104)
        s.show.wait_cued()
        time.sleep(0.1)  # no bounce


def test_one_switch(stage: Callable[..., Stage]) -> None:
    s = stage("one")
    s.foot.tap(30)
    s.wait("playing")
    time.sleep(0.1)
    s.foot.tap(30)
    s.show.wait_cued()
    s.foot.hold(30)
    s.show.wait(lambda: s.show.player.index == 1)
    s.show.wait_cued()
    assert len(s.ticks) == 3  # one a press


@pytest.mark.parametrize(("mode", "key"), [("two", 109), ("one", 30)])
def test_one_press_goes_on_when_a_card_is_back(
    stage: Callable[..., Stage], mode: str, key: int
) -> None:
    s = stage(mode)
    s.foot.tap(key)
    s.show.wait(lambda: s.show.player.place() > RATE // 2)
    s.show.player.lose_output()
    s.wait("paused")
    place = s.show.player.place()
    s.show.player.regain_output(is_resumed=False)
    s.foot.tap(key)
    s.wait("playing")
    s.show.wait(lambda: s.show.player.place() > place + RATE // 10)


def test_a_foot_that_rests_does_not_take_a_song_back_that_goes_on(
    stage: Callable[..., Stage],
) -> None:
    s = stage()
    s.foot.tap(109)
    s.show.wait(lambda: s.show.player.place() > RATE // 2)
    s.show.player.lose_output()
    s.wait("paused")
    s.foot.hold(109)
    s.wait("playing")
    assert s.show.player.place() > RATE // 2


def test_learn_says_codes_and_a_pedal_comes_back(stage: Callable[..., Stage]) -> None:
    s = stage("learn")
    s.foot.tap(109)
    s.foot.tap(77)
    s.show.wait(lambda: "key code 77: no switch" in s.said)
    assert "key code 109: A" in s.said
    assert s.console.n_commands == 0
    # It sleeps: the reader gets the end of it, drops it, and finds it again.
    (fd,) = s.pedals._fds
    s.foot.close()
    s.show.wait(lambda: any("sleeps" in text for text in s.said))
    s.foot.open()
    s.show.wait(lambda: s.said.count(f"pedal {s.foot.path}") == 2)
    s.foot.tap(104)
    s.show.wait(lambda: "key code 104: B" in s.said)
    assert fd


def test_a_pulse_pedal_holds_by_a_double_press() -> None:
    g = Gestures()
    now = 0.0
    for _ in range(2):
        assert g.press(5, now) == "press"
        assert g.release(5, now + 0.005) == "short"
        now += 1
    assert g.press(5, now) == "press"
    g.release(5, now + 0.005)
    assert g.press(5, now + 0.03) == ""  # bounce
    assert g.press(5, now + 0.2) == "held"
    assert g.release(5, now + 0.205) == ""
    # A pedal that can be held has no double press.
    for at in (10.0, 10.2):
        assert g.press(6, at) == "press"
        g.release(6, at + 0.1)
    assert g.press(6, 20) == "press"
    assert g.held(20.5) == [] and g.held(20.9) == [6] and g.held(21) == []
