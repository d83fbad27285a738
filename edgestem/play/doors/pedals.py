"""Pedals: keys from /dev/input, without a library.

Devices with few keys are grabbed, a console's keyboard never.  A pedal that sleeps or
is pulled out is looked for once a second.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edgestem.play.commands import Console, Refused
from edgestem.play.doors.gestures import (
    AT_ONCE,
    PAUSED,
    SINGLE_TAKEN_BACK,
    SWITCH_OF,
    TAKEN_BACK,
    Gestures,
    table_of,
)

EVENT = struct.Struct("llHHi")  # struct input_event: time, type, code, value
EV_KEY = 1
RELEASE, PRESS, REPEAT = 0, 1, 2
EVIOCGRAB = 0x40044590
EVIOCGNAME = 0x81004506  # 256 bytes
EVIOCGKEYS = 0x80604521  # EVIOCGBIT(EV_KEY, 96 bytes)
MAX_KEYS = 30  # a device with more is a keyboard
LOOK_S = 1.0
OLDEST_S = 60.0  # an event that seems older has another clock


class Pedals:
    """A door of the console.

    Parameters
    ----------
    console : Console
    say : callable
    mode : {"two", "one", "learn"}
        The map; "learn" says the code of each press and does nothing else.
    paths : sequence of Path
        Devices to read whatever they are; none: every pedal there is.
    folder : Path
        Where input devices are.
    on_press : callable
        Called for each press of a switch that did not bounce.
    """

    def __init__(
        self,
        console: Console,
        say: Callable[[str], None],
        *,
        mode: str = "two",
        paths: tuple[Path, ...] = (),
        folder: Path = Path("/dev/input"),
        on_press: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_press = on_press
        self._console, self._say, self._mode = console, say, mode
        self._paths, self._folder = paths, folder
        self._fds: dict[int, Path] = {}
        self._rest: dict[int, bytes] = {}
        self._refused: set[Path] = set()
        self._told: dict[Path, float] = {}
        self._gestures = Gestures()
        self._acted: dict[int, str] = {}
        self._tables: dict[int, dict[str, str]] = {}  # at the last press of a code
        self._wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, name="pedals", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._look()
        self._thread.start()

    def close(self) -> None:
        """End, and let the devices go."""
        os.write(self._stop, b"x")
        self._thread.join()
        for fd in (*self._fds, self._wake, self._stop):
            os.close(fd)

    # ---- devices -------------------------------------------------------------

    def _look(self) -> None:
        """Open what has come."""
        there = self._paths or sorted(self._folder.glob("event*"))
        known = set(self._fds.values())
        self._refused &= set(there)
        for path in there:
            if path not in known and path not in self._refused:
                self._open(path)

    def _open(self, path: Path) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            self._tell_refusal(path, error)
            return
        if not self._paths and not is_pedal(fd):
            self._refused.add(path)
            os.close(fd)
            return
        with contextlib.suppress(OSError):  # a FIFO, or grabbed by another
            fcntl.ioctl(fd, EVIOCGRAB, 1)
        self._fds[fd], self._rest[fd] = path, b""
        self._told.pop(path, None)
        self._say(f"pedal {device_name(fd) or path}")

    def _tell_refusal(self, path: Path, error: OSError) -> None:
        """Say once why a device cannot be read; after plugging in it takes a while."""
        since = self._told.setdefault(path, time.monotonic())
        if since and time.monotonic() - since > 2:
            self._told[path] = 0.0
            self._say(f"{path}: {error.strerror}; join the group input: "
                      "sudo usermod -aG input $USER, and log in again")  # fmt: skip

    def _drop(self, fd: int) -> None:
        path = self._fds.pop(fd)
        self._rest.pop(fd)
        os.close(fd)
        self._say(f"pedal {path} sleeps or is gone")

    # ---- events ----------------------------------------------------------------

    def _run(self) -> None:
        looked = time.monotonic()
        while True:
            ready, _, _ = select.select([self._wake, *self._fds], [], [], 0.05)
            if self._wake in ready:
                return
            for fd in ready:
                self._read(fd)
            now = time.monotonic()
            for code in self._gestures.held(now):
                self._hold(code)
            if now - looked > LOOK_S:
                looked = now
                self._look()

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, 64 * EVENT.size)
        except BlockingIOError:
            return
        except OSError:  # ENODEV: it sleeps
            data = b""
        if not data:
            self._drop(fd)
            return
        data = self._rest[fd] + data
        n_whole = len(data) // EVENT.size * EVENT.size
        self._rest[fd] = data[n_whole:]
        for seconds, micros, kind, code, value in EVENT.iter_unpack(data[:n_whole]):
            if kind == EV_KEY and value != REPEAT:
                # The kernel's time of it, on our clock: we may come late.
                age = max(time.time() - seconds - micros / 1e6, 0.0)
                at = time.monotonic() - age if age < OLDEST_S else time.monotonic()
                self._key(code, value == PRESS, at)

    def _key(self, code: int, is_press: bool, now: float) -> None:
        if self._mode == "learn":
            if is_press:
                self._say(f"key code {code}: {SWITCH_OF.get(code, 'no switch')}")
            return
        if is_press:
            self._press(code, now)
            return
        what = self._gestures.release(code, now)
        if what == "held":
            self._hold(code)
        elif what == "short" and code not in self._acted:
            self._act(code, "")

    def _press(self, code: int, now: float) -> None:
        self._acted.pop(code, None)
        what = self._gestures.press(code, now)
        table = self._tables[code] = self._map()
        line = table.get(self._switch(code), "")
        if what and self._switch(code):
            self._on_press()
        if what == "held":
            self._hold(code)
        elif what == "press" and line in AT_ONCE:
            # A song that goes on is not taken back by a foot that rests.
            self._acted[code] = "" if table is PAUSED else line
            self._act(code, "")

    def _hold(self, code: int) -> None:
        """Act on a long press; what its beginning did is taken back."""
        table = SINGLE_TAKEN_BACK if self._mode == "one" else TAKEN_BACK
        lines = table.get(self._acted.get(code, ""), ())
        for line in lines:
            self._obey(line)
        if not lines:
            self._act(code, " held")

    def _map(self) -> dict[str, str]:
        return table_of(self._console.player.state, self._mode)

    def _switch(self, code: int) -> str:
        switch = SWITCH_OF.get(code, "")
        return "A" if self._mode == "one" and switch != "D" else switch

    def _act(self, code: int, held: str) -> None:
        table = self._map()
        if table is not self._tables.get(code, table):
            return  # the other foot began or ended a song: this one meant what was
        line = table.get(self._switch(code) + held)
        if line:
            self._obey(line)

    def _obey(self, line: str) -> None:
        try:
            self._console.do(line)
        except Refused as error:
            self._say(str(error))


def is_pedal(fd: int) -> bool:
    """Say whether a device has a switch's keys, and few others."""
    bits = bytearray(96)
    try:
        fcntl.ioctl(fd, EVIOCGKEYS, bits)
    except OSError:
        return False
    keys = [i for i in range(768) if bits[i // 8] >> i % 8 & 1]
    return 0 < len(keys) < MAX_KEYS and any(key in SWITCH_OF for key in keys)


def device_name(fd: int) -> str:
    """Tell what a device calls itself; empty: nothing."""
    name = bytearray(256)
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, EVIOCGNAME, name)
    return name.split(b"\0")[0].decode(errors="replace")
