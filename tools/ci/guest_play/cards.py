"""Sound cards that come and go, and what is heard on them.

`Stage` is ALSA's loopback: what is played on its first device can be recorded from the
second.  `Box` is a USB card of the emulator, whose monitor listens on our second
serial line, so that its plug is pulled from here.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

DRIVER = Path("/sys/bus/platform/drivers/snd_aloop")
DEVICE = "snd_aloop.0"
MONITOR = "/dev/ttyS1"


def is_there(card: str) -> bool:
    return f"[{card} " in Path("/proc/asound/cards").read_text()


def number_of(card: str) -> int:
    return int(Path("/proc/asound", card).resolve().name.removeprefix("card"))


def load(module: str, card: str) -> None:
    subprocess.run(["modprobe", module, f"id={card}"], check=True)


class Loopback:
    """The card `Stage`."""

    name = "Stage"

    def unplug(self) -> None:
        """Take it away; the kernel waits until its users have let go."""
        wait = threading.Thread(
            target=(DRIVER / "unbind").write_text, args=(DEVICE,), daemon=True
        )
        wait.start()

    def plug(self) -> None:
        while not is_there(self.name):
            with contextlib.suppress(OSError):  # it is not quite gone yet
                (DRIVER / "bind").write_text(DEVICE)
            time.sleep(0.1)


class Emulator:
    """The emulator's monitor."""

    def __init__(self) -> None:
        subprocess.run(["stty", "-F", MONITOR, "raw", "-echo"], check=True)
        self._fd = os.open(MONITOR, os.O_RDWR | os.O_NOCTTY)

    def say(self, line: str) -> None:
        os.write(self._fd, line.encode() + b"\r")
        time.sleep(0.5)


class UsbCard:
    """A USB card; its ALSA id is the last word of its name."""

    name = "Audio"

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def unplug(self) -> None:
        self._emulator.say("device_del box")

    def plug(self) -> None:
        self._emulator.say("device_add usb-audio,id=box,audiodev=quiet,bus=usb.0")


def record(seconds: int, rate: int) -> np.ndarray:
    """Record what is played on Stage."""
    words = ["arecord", "-q", "-D", "hw:Stage,1,0", "-f", "FLOAT_LE", "-c", "2"]
    words += ["-r", str(rate), "-d", str(seconds), "/tmp/heard.wav"]
    subprocess.run(words, check=True, timeout=seconds + 60)
    heard, _ = soundfile.read("/tmp/heard.wav", dtype="float32")
    return np.asarray(heard)


def longest_match(heard: np.ndarray, song: np.ndarray, step: int = 1000) -> int:
    """Count the samples of the longest run of `heard` that is in `song`, to the bit."""
    best = 0
    for start in range(0, len(heard), step):
        if not np.any(heard[start]):
            continue
        for place in np.flatnonzero(np.all(song == heard[start], axis=1)):
            n = min(len(heard) - start, len(song) - place)
            same = np.all(heard[start : start + n] == song[place : place + n], axis=1)
            best = max(best, n if same.all() else int(np.argmin(same)))
    return best


def playing(card: str) -> list[str]:
    """State of each of a card's outputs: closed, RUNNING ..."""
    paths = Path("/proc/asound", card).glob("pcm*p/sub*/status")
    lines = [path.read_text().splitlines()[0] for path in paths]
    return [line.removeprefix("state: ") for line in lines]
