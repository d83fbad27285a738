"""Checks of pedals: every switch, autorepeat, two at once, pulled out and back."""

from __future__ import annotations

import subprocess
import time

from tools.ci.guest_play.pedal import Listener, Pedal, is_grabbed
from tools.ci.guest_play.show import SET, Show, check

RIGHT = (109, 108, 106, 28, 163, 46, 186)  # docs/play.md: what A may send
LEFT = (104, 103, 105, 57, 165, 30, 184)
OTHERS = (48, 185, 102, 52, 107, 1, 166)  # C and D
DOWN, UP = 109, 104  # PageDown, PageUp: one of each
NAME = "Foot 1"
CONSOLE = "AT Translated Set 2 keyboard"


def switches() -> None:
    """Each code of the table plays or stops; others hear nothing of it."""
    pedal = Pedal(NAME, RIGHT + LEFT + OTHERS)
    with Show(str(SET), "--null", "timed") as show:
        check("it is found", show.wait_said(f"pedal {NAME}"), show.said().splitlines())
        check("it is grabbed", is_grabbed(pedal.path), pedal.path)
        check("the console's keyboard is not", not is_grabbed(keyboard()), keyboard())
        other = Listener(pedal.path)
        for right, left in zip(RIGHT, LEFT, strict=True):
            pedal.tap(right)
            began = show.wait_state("playing")
            pedal.tap(left)
            ended = show.wait_state("ready")
            said = f"playing after {began or 0:.2f} s, ready after {ended or 0:.2f} s"
            check(f"{right} plays, {left} stops", began and ended, said)
        check("nobody else hears it", other.values() == [], "no event")
        other.close()
        for key in OTHERS[:3]:
            before = show.status()["faders"]["vocals"]
            pedal.tap(key)
            is_so = show.wait(lambda s, b=before: s["faders"]["vocals"] != b)  # type: ignore[misc]
            check(f"{key} turns the vocals on or off", is_so, before)
        for key in OTHERS[3:]:
            pedal.tap(UP + 5)
            show.wait_state("playing")
            pedal.tap(key)
            check(f"{key} is silence", show.wait_state("ready") is not None)
    pedal.unplug()


def repeats() -> None:
    """A key that the kernel repeats is one press, and one long press."""
    pedal = Pedal(NAME, (UP, DOWN), is_repeating=True)
    other = Listener(pedal.path)
    pedal.tap(DOWN, 2.0)
    n_repeats = other.values().count(2)
    check("the kernel repeats it", n_repeats >= 5, f"{n_repeats} times in 2 s")
    other.close()
    with Show(str(SET), "--null", "timed") as show:
        show.wait_said(f"pedal {NAME}")
        n_before = show.status()["n_commands"]
        pedal.tap(UP, 2.0)  # ready, B held: guide vocals on or off
        time.sleep(1)
        status = show.status()
        n = status["n_commands"] - n_before
        check("held for 2 s it is one command", n == 1, f"{n}, {status['last']}")
        pedal.tap(DOWN)
        show.wait_state("playing")
        n_before = show.status()["n_commands"]
        for _ in range(20):
            pedal.tap(DOWN, 0.07)
            time.sleep(0.07)
        n = show.status()["n_commands"] - n_before
        is_playing = show.status()["state"] == "playing"
        check("20 presses of A change nothing in a song", n == 0 and is_playing, n)
    pedal.unplug()


def two() -> None:
    """Two pedals at once; one is pulled out while the song goes on, and comes back."""
    one, other = Pedal(NAME, (UP, DOWN)), Pedal("Foot 2", (184, 186))
    with Show(str(SET), "--null", "timed") as show:
        both = show.wait_said(f"pedal {NAME}") and show.wait_said("pedal Foot 2")
        check(
            "both are found", both and is_grabbed(one.path) and is_grabbed(other.path)
        )
        one.press(UP)  # held down over there
        other.tap(186)
        check("the second plays", show.wait_state("playing") is not None)
        one.release(UP)
        other.unplug()
        is_told = show.wait_said("sleeps or is gone")
        before = show.status()["position"]
        goes_on = show.wait(lambda s: s["position"] > before + 1) is not None
        check("pulled out: it is told, the song goes on", is_told and goes_on)
        other = Pedal("Foot 2", (184, 186))
        check("it is taken again", show.wait_said("pedal Foot 2", 2))
        other.tap(184)
        check("its next press stops", show.wait_state("ready") is not None)
        for _ in range(10):
            other.unplug()
            other = Pedal("Foot 2", (184, 186))
            time.sleep(0.2)
        show.wait(lambda _: is_grabbed(other.path))
        other.tap(186)
        check("after ten more times, too", show.wait_state("playing") is not None)
        one.tap(UP)
        check("and the first one stops", show.wait_state("ready") is not None)
    one.unplug()
    other.unplug()


def learn() -> None:
    """`--pedal learn` says what a pedal sends; `--pedal one` is for one switch."""
    pedal = Pedal(NAME, (UP, DOWN, 99))
    with Show(str(SET), "--null", "timed", "--pedal", "learn") as show:
        show.wait_said(f"pedal {NAME}")
        for key in (UP, DOWN, 99):
            pedal.tap(key)
        for line in ("key code 104: B", "key code 109: A", "key code 99: no switch"):
            check("learn", show.wait_said(line), line)
        check("and nothing plays", show.status()["state"] == "ready")
    with Show(str(SET), "--null", "timed", "--pedal", "one") as show:
        show.wait_said(f"pedal {NAME}")
        pedal.tap(DOWN)
        check("one switch plays", show.wait_state("playing") is not None)
        pedal.tap(DOWN)
        check("and stops", show.wait_state("ready") is not None)
        pedal.tap(DOWN, 1.5)
        is_next = show.wait(lambda s: s["index"] == 1 and s["state"] == "ready")
        check("held, it is the next song", is_next is not None, show.status()["state"])
    pedal.unplug()


def keyboard() -> str:
    """The node of the console's keyboard."""
    text = subprocess.run(
        ["cat", "/proc/bus/input/devices"], capture_output=True, text=True, check=True
    ).stdout
    (part,) = (p for p in text.split("\n\n") if CONSOLE in p)
    return "/dev/input/" + next(w for w in part.split() if w.startswith("event"))
