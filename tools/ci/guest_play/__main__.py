"""The player in a booted Debian: pedals, cards, a service; see tools/ci/guest.sh.

Runs as root inside the guest, twice: the first boot checks pedals and cards and
installs the service, the second one finds it running.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from tools.ci.guest_play import boot, feet, stage
from tools.ci.guest_play.cards import Emulator, Loopback, load
from tools.ci.guest_play.own import own as own_service
from tools.ci.guest_play.show import SET, check, failed, run

MARK = Path("/job/second-boot")
JOB = Path("/job")
THEN = JOB / "then"  # what the machine does when this ends; or it goes off
OTHER_S = 6  # of the second song: separating is slow without a real processor


def say(text: str) -> None:
    seconds = Path("/proc/uptime").read_text().split()[0]
    print(f"-- {seconds} s: {text}", flush=True)


def call(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def set_up() -> None:
    """A user in the right groups, two songs, two cards."""
    call("useradd", "-m", "-G", "audio,input", "singer")
    call("modprobe", "uinput")
    load("snd-aloop", Loopback.name)
    load("snd-dummy", "HDMI")
    SET.parent.mkdir(parents=True)
    x, rate = soundfile.read(JOB / "song.ogg", dtype="int16")
    soundfile.write(SET.with_name("song.wav"), np.concatenate([x, x]), rate)
    soundfile.write(SET.with_name("other.wav"), x[-OTHER_S * rate :], rate)
    SET.write_text('[[song]]\nfile = "song.wav"\n[[song]]\nfile = "other.wav"\n')


def separate_once() -> None:
    """As fast as it goes: from then on songs come from the store."""
    status, said = run("play", str(SET), "--null", "fast", "--model", "live")
    store = Path("/home/singer/.local/share/edgestem/store")
    n = len(list(store.glob("*.json")))
    check("the set separated, as fast as it goes", status == 0 and n == 2, said or n)


def pedals() -> None:
    feet.switches()
    feet.repeats()
    feet.two()
    feet.learn()


def cards() -> None:
    stage.refusals()
    stage.lost(Loopback())  # a song that is not separated yet
    separate_once()
    stage.sound()
    stage.resumed(Loopback())
    stage.renumbered(Loopback())
    stage.usb(Emulator())


def own() -> None:
    own_service(Emulator())


def service() -> None:
    boot.prepare(Emulator())
    if not failed:
        MARK.touch()


PARTS = {"pedals": pedals, "cards": cards, "own": own, "service": service}


def first_boot(names: list[str]) -> None:
    set_up()
    for name in names:
        say(name)
        PARTS[name]()


def main(names: list[str]) -> int:
    """Run what this boot is for; the exit status is 0 when all of it passed."""
    version = Path("/etc/debian_version").read_text().strip()
    say(f"{platform.release()}, Debian {version}")
    if not MARK.exists():
        first_boot(names or list(PARTS))
        if MARK.exists():
            say("reboot")
            THEN.write_text("reboot")
            return 0
    else:
        THEN.unlink()
        call("modprobe", "uinput")
        load("snd-dummy", "HDMI")
        boot.after()
    if failed:
        print("FAILED:", "; ".join(failed))
        return 1
    say("the end")
    print("ALL PASSED", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
