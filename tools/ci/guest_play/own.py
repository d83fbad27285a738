"""Checks of a user's own service: the sandbox leaves it what a show needs."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from pathlib import Path

from tools.ci.guest_play.boot import DISK, DOWN, Stick, until
from tools.ci.guest_play.cards import Emulator, record
from tools.ci.guest_play.pedal import Pedal
from tools.ci.guest_play.show import AS, CLEAN, USER, Door, check

HOME = Path("/home") / USER
SET = HOME / ".config/edgestem/play.toml"
SONGS = """\
[[song]]
file = "/srv/songs/song.wav"
[[song]]
file = "/media/songs/song.wav"
"""
ENV = 'EDGESTEM_PLAY="--card Stage --model live --unlocked"\n'


class OwnDoor(Door):
    """The socket of a user's player, which no other user may talk to, root neither."""

    def __init__(self, user: pwd.struct_passwd) -> None:
        super().__init__(f"/run/user/{user.pw_uid}/edgestem-play/socket")
        self._uid = user.pw_uid

    def _ask(self, kind: str, **fields: object) -> object:
        os.seteuid(self._uid)
        try:
            return super()._ask(kind, **fields)
        finally:
            os.seteuid(0)


def mine(*words: str) -> str:
    """Run a command in the user's session; what it said."""
    place = f"/run/user/{pwd.getpwnam(USER).pw_uid}"
    bus = f"DBUS_SESSION_BUS_ADDRESS=unix:path={place}/bus"
    words = (f"HOME={HOME}", f"XDG_RUNTIME_DIR={place}", bus, *words)
    done = subprocess.run(
        [*AS, USER, *CLEAN, *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=600, check=False,
    )  # fmt: skip
    said = done.stdout.strip()
    return f"exit {done.returncode}: {said}" if done.returncode else said


def journal() -> str:
    words = ["journalctl", f"_UID={pwd.getpwnam(USER).pw_uid}", "--no-pager", "-b"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def own(emulator: Emulator) -> None:
    """Installed by its user, it has card, pedal, stick, set and store; and no more."""
    user = pwd.getpwnam(USER)
    subprocess.run(["loginctl", "enable-linger", USER], check=True)
    bus = Path(f"/run/user/{user.pw_uid}/bus")
    check("the user's systemd", until(bus.exists, 120))
    mine("mkdir", "-p", str(SET.parent))
    SET.write_text(SONGS)
    SET.with_name("play.env").write_text(ENV)
    for path in (SET, SET.with_name("play.env")):
        os.chown(path, user.pw_uid, user.pw_gid)
    print(mine("edgestem", "service", "install", "play", "--user"))
    door = OwnDoor(user)
    if door.wait_state("ready", seconds=60) is None:
        check("it starts", False, journal())
        return
    pid = mine("systemctl", "--user", "show", "-P", "MainPID", "edgestem-play.service")
    closed(pid)
    on_stage(door)
    keeps(door)
    stick(emulator, pid)
    said = mine(
        "systemd-analyze", "--user", "security", "--no-pager", "edgestem-play.service"
    )
    found = re.search(r"exposure level .*: ([0-9.]+)", said)
    check("exposure of 3.0 at most", found and float(found[1]) <= 3, found and found[0])
    said = mine("edgestem", "service", "remove", "play", "--user")
    check("remove", "exit" not in said, said)
    said = mine("systemctl", "--user", "list-units", "--failed", "--no-legend")
    check("nothing of it has failed", "edgestem" not in said, said)
    subprocess.run(["loginctl", "disable-linger", USER], check=True)


def closed(pid: str) -> None:
    """Nothing but its own places can be written to."""
    status = Path(f"/proc/{pid}/status").read_text()
    caps = re.search(r"CapEff:\t(\w+)", status)
    check("no capability", caps and int(caps[1], 16) == 0, caps and caps[1])
    maps = Path(f"/proc/{pid}/uid_map").read_text().split()
    check("a namespace of its own", maps[2] == "1", " ".join(maps))
    for path, is_open in (
        (HOME / ".bashrc", False),
        ("/etc/passwd", False),
        ("/srv/songs/song.wav", False),
        (HOME / ".local/share/edgestem", True),
        (SET.parent, True),
    ):
        # Root's own rights: what it meets is the read-only mount alone.
        words = ["nsenter", "-m", "-t", pid, "touch", "-c", str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        is_good = (done.returncode == 0) == is_open
        check(f"{path} is {'open' if is_open else 'closed'}", is_good, done.stderr)


def on_stage(door: Door) -> None:
    """Its pedal and its card, both by its groups."""
    pedal = Pedal("Foot 1", (DOWN,))
    check("it takes the pedal", until(lambda: "pedal Foot 1" in journal(), 60))
    pedal.tap(DOWN)
    check("the pedal plays", door.wait(lambda s: s["position"] > 1) is not None)
    heard = record(2, 48000)
    check("Stage sounds", abs(heard).max() > 0.01, f"peak {abs(heard).max():.3f}")
    pedal.unplug()


def keeps(door: Door) -> None:
    """It writes to the store and to the set."""
    stored = door.wait(lambda s: s["front"] >= s["length"] > 0, 300)
    store = HOME / ".local/share/edgestem/store"
    check("the song is separated", stored is not None)
    check("and kept", until(lambda: any(store.glob("*.json")), 60), store)
    door.do("stop")
    door.wait_state("ready")
    door.do("vocals -12")
    door.do("save")
    check("the set is saved", "vocals = -12" in SET.read_text(), SET)


def stick(emulator: Emulator, pid: str) -> None:
    """A stick that is mounted while it runs is seen by it."""
    key = Stick(emulator)
    key.fill()
    inside = Path(f"/proc/{pid}/root{DISK}/song.wav")
    check("the stick is seen by the service that runs", inside.exists(), inside)
    key.unplug()
