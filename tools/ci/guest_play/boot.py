"""Checks of the service: it starts at boot with a set, and waits for what is late."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tools.ci.guest_play.cards import Emulator, load, playing, record
from tools.ci.guest_play.pedal import Pedal
from tools.ci.guest_play.show import Door, check, run

SOCKET = "/run/edgestem-play/socket"
DISK = Path("/media/songs")
SET = Path("/etc/edgestem/play.toml")
DOWN, UP = 109, 104


def until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is so; whether it came."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.3)
    return True


class Stick:
    """The USB stick SONGS, by the emulator's own plug."""

    device = Path("/dev/disk/by-label/SONGS")

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def plug(self) -> None:
        self._emulator.say("device_add usb-storage,id=key,drive=stick,bus=usb.0")

    def fill(self) -> None:
        """Plug it and put a song on it; it stays mounted."""
        self.plug()
        until(self.device.exists, 60)
        DISK.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", self.device, DISK], check=True)
        subprocess.run(["cp", "/srv/songs/song.wav", DISK], check=True)

    def unplug(self) -> None:
        subprocess.run(["umount", DISK], check=True)
        self._emulator.say("device_del key")
        until(lambda: not self.device.exists(), 60)


def of_unit(name: str) -> str:
    words = ["systemctl", "show", "-P", name, "edgestem-play.service"]
    return subprocess.run(
        words, capture_output=True, text=True, check=True
    ).stdout.strip()


def journal(text: str) -> bool:
    words = ["journalctl", "-u", "edgestem-play", "--no-pager", "-b"]
    return (
        text in subprocess.run(words, capture_output=True, text=True, check=True).stdout
    )


def prepare(emulator: Emulator) -> None:
    """Songs on a USB stick, a set, the service; the stick is pulled out again."""
    stick = Stick(emulator)
    stick.fill()
    stick.unplug()
    with Path("/etc/fstab").open("a") as table:
        table.write(
            "LABEL=SONGS /media/songs ext4 nofail,x-systemd.device-timeout=600\n"
        )
    SET.parent.mkdir(exist_ok=True)
    SET.write_text('[[song]]\nfile = "/media/songs/song.wav"\n')
    defaults = Path("/etc/default/edgestem")
    text = defaults.read_text()
    line = '#EDGESTEM_PLAY="--card U24 --route backing=1,2"\n'
    check("/etc/default/edgestem offers the card", line in text)
    wanted = 'EDGESTEM_PLAY="--card Stage --route backing=1,2 --model live"\n'
    defaults.write_text(text.replace(line, wanted))
    status, said = run("service", "install", "play", user="root")
    print(said)
    check("service install play", status == 0)
    words = ["systemctl", "is-enabled", "edgestem-play"]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    check("it is enabled", said.strip() == "enabled", said.strip())


def after() -> None:
    """Booted again: neither the disk nor the card is there, then they come."""
    door = Door(SOCKET)
    stick = Stick(Emulator())
    n_before = restarts()
    time.sleep(10)
    check("without the disk it tries again", restarts() > n_before, restarts())
    check("and the journal says why", journal("/media/songs/song.wav"))
    stick.plug()
    check("the disk comes", until(DISK.is_mount, 120))
    is_said = until(lambda: journal("Stage cannot be used"), 120)
    check("without the card it says so", is_said)
    load("snd-aloop", "Stage")
    took = door.wait_state("ready", seconds=180)
    check("the card comes: the show is ready", took, f"after {took or 0:.1f} s")
    on_stage(door)


def on_stage(door: Door) -> None:
    """Its pedal, its sound, its store, its user; killed it comes again."""
    pid = of_unit("MainPID")
    uid = Path("/proc", pid).stat().st_uid
    groups = Path(f"/proc/{pid}/status").read_text().split("Groups:")[1].split("\n")[0]
    check("it has a user of its own", uid >= 61184, f"uid {uid}, groups {groups}")
    pedal = Pedal("Foot 1", (UP, DOWN))
    check("it takes the pedal", until(lambda: journal("pedal Foot 1"), 30))
    pedal.tap(DOWN)
    check("the pedal plays", door.wait(lambda s: s["position"] > 1) is not None)
    heard = record(2, 48000)
    check("Stage sounds", abs(heard).max() > 0.01, f"peak {abs(heard).max():.3f}")
    stored = door.wait(lambda s: s["front"] >= s["length"] > 0, 300)
    check("the song is separated", stored is not None)
    store = Path("/var/lib/edgestem-play/store")
    time.sleep(2)
    kept = [path.name for path in store.glob("*.json")]
    check("and kept in its own folder", len(kept) == 1, store.resolve())
    subprocess.run(["systemctl", "kill", "-s", "KILL", "edgestem-play"], check=True)
    is_new = door.wait(lambda s: s["state"] == "ready" and of_unit("MainPID") != pid)
    check("killed, it comes again", is_new is not None, f"{restarts()} restarts")
    pedal.tap(UP)
    pedal.tap(DOWN)
    is_on = door.wait(lambda s: s["state"] == "playing" and s["is_stored"], 60)
    is_heard = "RUNNING" in playing("Stage")
    check("and plays from the store", is_on is not None and is_heard)
    said = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", "edgestem-play.service"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    print(said.splitlines()[-1])
    status, said = run("service", "remove", "play", user="root")
    state = of_unit("ActiveState")
    check("service remove play", not status and state == "inactive", (state, said))
    pedal.unplug()


def restarts() -> int:
    return int(of_unit("NRestarts"))
