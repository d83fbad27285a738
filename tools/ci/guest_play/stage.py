"""Checks of sound cards: the right one, lost and back, never another."""

from __future__ import annotations

import time

import numpy as np
import soundfile

from tools.ci.guest_play.cards import (
    Emulator,
    Loopback,
    UsbCard,
    is_there,
    load,
    longest_match,
    number_of,
    playing,
    record,
)
from tools.ci.guest_play.pedal import Pedal
from tools.ci.guest_play.show import SET, Show, check, run

DOWN, UP = 109, 104
N_LOSSES = 6


def refusals() -> None:
    """What is wrong before the show is said before the show."""
    status, said = run("play", str(SET), "--test", "--card", "Nothing")
    is_named = "HDMI" in said or "Dummy" in said
    check("no such card", status == 1 and is_named, said)
    status, said = run("play", str(SET), "--test", "--card", "Stage")
    check("--test", status == 0 and "the card called" in said, said)
    status, said = run(
        "play", str(SET), "--check", "--card", "Stage", "--model", "live"
    )
    print(said)
    check("--check", status == 0 and "Stage" in said)
    broken = SET.with_name("broken.toml")
    broken.write_text('[[song]]\nfile = "song.wav"\n[[song]]\nfile = "gone.wav"\n')
    status, said = run("play", str(broken), "--check", "--model", "live")
    check("--check names what is missing", status == 1 and "gone.wav" in said)


def sound() -> None:
    """What is heard on the card is the file that the player writes."""
    run("play", str(SET), "--to", "/tmp/ref.wav", "--force", "--model", "live")
    song, rate = soundfile.read("/tmp/ref.wav", dtype="float32")
    with Show(str(SET), "--card", "Stage") as show:
        show.do("play")
        show.wait(lambda s: s["position"] > 1)
        heard = record(4, rate)
        check("the card plays", "RUNNING" in playing("Stage"), playing("Stage"))
    n = longest_match(heard, np.asarray(song))
    said = f"{n / rate:.2f} s of {len(heard) / rate:.2f} s in one piece to the bit"
    check("what is recorded is the instrumental", n > rate // 4, said)


def lost(card: Loopback | UsbCard, *words: str) -> None:
    """A card is pulled out in a song: it waits; back: one press goes on."""
    pedal = Pedal("Foot 1", (UP, DOWN))
    with Show(str(SET), "--card", card.name, *words) as show:
        show.wait_said("pedal Foot 1")
        pedal.tap(DOWN)
        check("it plays", show.wait(lambda s: s["position"] > 1) is not None)
        card.unplug()
        gone = show.wait(lambda s: s["output"] == f"waiting for CARD={card.name}")
        check("the loss is told", gone is not None and gone < 2, f"after {gone} s")
        frozen = show.status()["position"]
        time.sleep(3)
        after = show.status()["position"]
        check("the song waits where it is", after == frozen, f"{frozen} s")
        check("no other card is taken", set(playing("HDMI")) == {"closed"})
        card.plug()
        back = show.wait(lambda s: s["output"] == "")
        check("it is back", back is not None, f"after {back or 0:.1f} s")
        state = show.status()["state"]
        check("and waits for a press", state == "paused", state)
        pedal.tap(DOWN)
        show.wait_state("playing")
        place = show.status()["position"]
        is_on = show.wait(lambda s: s["position"] > frozen + 1) is not None
        check("one press goes on from there", is_on and place < frozen + 1, place)
    pedal.unplug()


def resumed(card: Loopback) -> None:
    """`--on-loss resume` goes on by itself; many losses leave memory as it is."""
    with Show(str(SET), "--card", card.name, "--on-loss", "resume") as show:
        show.do("play")
        show.wait(lambda s: s["position"] > 1)
        sizes = []
        for i in range(N_LOSSES):
            card.unplug()
            show.wait(lambda s: s["output"] != "")
            card.plug()
            gap = show.wait(lambda s: s["output"] == "")
            if i == 0:
                time.sleep(1)
                state = show.status()["state"]
                wanted = "playing" if gap is not None and gap < 2 else "paused"
                said = f"{state} after {gap} s"  # an emulated card takes long
                check("after less than 2 s it goes on by itself", state == wanted, said)
            sizes.append(show.rss())
        said = f"{sizes[0]} to {sizes[-1]} MB over {N_LOSSES} losses"
        check("memory stays", sizes[-1] <= sizes[1] + 2, said)
        show.do("restart")
        show.do("play")
        is_on = show.wait(lambda s: s["position"] > 1) is not None
        check("it still plays", is_on and "RUNNING" in playing(card.name))
    check("no other card was taken", set(playing("HDMI")) == {"closed"})


def renumbered(card: Loopback) -> None:
    """The card comes back with another number; its name is what counts."""
    before = number_of(card.name)
    card.unplug()
    while is_there(card.name):
        time.sleep(0.1)
    load("snd-virmidi", "Keys")  # it takes the number that is free now
    card.plug()
    after = number_of(card.name)
    status, said = run("play", str(SET), "--test", "--card", card.name)
    check("another number", before != after, f"{before}, then {after}")
    check("the same card", status == 0, said)


def usb(emulator: Emulator) -> None:
    """A USB card of 48 kHz, by the emulator's own plug."""
    card = UsbCard(emulator)
    card.plug()
    end = time.monotonic() + 30
    while not is_there(card.name) and time.monotonic() < end:
        time.sleep(0.2)
    check("a USB card", is_there(card.name), card.name)
    lost(card, "--rate", "48000")
    card.unplug()
