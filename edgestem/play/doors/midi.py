"""MIDI from a raw device or JACK: bytes in, commands out.

Program Change selects (0 on the wire is song 1; CC 0 before it chooses a bank of 128),
Start and Continue play, Stop stops, MMC likewise.  CC 20 and 21 are the faders of
`edgestem stream`, CC 7 is the master.  Buttons press with 64 to 127 and let go below:
CC 80 play, 81 stop, 82 previous, 83 next, 84 vocals on/off, and CC 64, the sustain
pedal, plays and stops.  mtrack's defaults are understood, too: channel 16, CC 100,
values 0 to 3; the map "mtrack" understands nothing else, so that a show's other MIDI
moves nothing here.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edgestem.pcm.decibels import midi_db
from edgestem.play.commands import Console, Refused
from edgestem.stems import SILENT_DB

LOOK_S = 1.0
MAX_SYSEX = 256  # bytes that are kept of one
FADERS = {7: "master", 20: "vocals", 21: "instrumental"}
BUTTONS = {
    64: "play|stop",
    80: "play",
    81: "stop",
    82: "previous",
    83: "next",
    84: "vocals toggle",
}
MTRACK_CHANNEL, MTRACK_CC = 15, 100
MTRACK = {0: "play", 1: "previous", 2: "next", 3: "stop"}
REALTIME = {0xFA: "play", 0xFB: "play", 0xFC: "stop"}
MMC = {0x01: "stop", 0x02: "play", 0x03: "play"}
_SIZES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
_SYSTEM = {0xF1: 1, 0xF2: 2, 0xF3: 1}


class Parser:
    """Cuts a byte stream into messages: running status, real time in between."""

    def __init__(self) -> None:
        self._status, self._data = 0, bytearray()
        self._sysex: bytearray | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each message that is complete."""
        for byte in data:
            if byte >= 0xF8:
                yield bytes([byte])
            elif byte == 0xF7 and self._sysex is not None:
                yield bytes([0xF0, *self._sysex])
                self._sysex = None
            elif byte & 0x80:
                self._sysex = bytearray() if byte == 0xF0 else None
                self._status, self._data = byte, bytearray()
            elif self._sysex is not None:
                if len(self._sysex) < MAX_SYSEX:
                    self._sysex.append(byte)
            else:
                yield from self._more(byte)

    def _more(self, byte: int) -> Iterator[bytes]:
        size = _SIZES.get(self._status & 0xF0) or _SYSTEM.get(self._status, 0)
        if not size:
            return
        self._data.append(byte)
        if len(self._data) == size:
            yield bytes([self._status, *self._data])
            self._data = bytearray()


class MidiCommands:
    """Turns messages into commands; remembers the bank and what is pressed.

    Parameters
    ----------
    midi_map : {"usual", "mtrack"}
    """

    def __init__(self, midi_map: str = "usual") -> None:
        self._is_mtrack = midi_map == "mtrack"
        self._bank = 0
        self._is_down: dict[int, bool] = {}

    def of(self, message: bytes, state: str) -> str:
        """Tell the command of a message; empty: none."""
        status = message[0]
        if self._is_mtrack:
            is_it = message[:2] == bytes([0xB0 | MTRACK_CHANNEL, MTRACK_CC])
            return MTRACK.get(message[2], "") if is_it else ""
        if status in REALTIME:
            return REALTIME[status]
        if status == 0xF0:
            is_mmc = len(message) >= 5 and message[1] == 0x7F and message[3] == 0x06
            return MMC.get(message[4], "") if is_mmc else ""
        if status & 0xF0 == 0xC0:
            return f"select {self._bank * 128 + message[1] + 1}"
        if status & 0xF0 == 0xB0:
            return self._controller(status & 0x0F, message[1], message[2], state)
        return ""

    def _controller(self, channel: int, number: int, value: int, state: str) -> str:
        if number == 0:
            self._bank = value
            return ""
        if number in FADERS:
            level = midi_db(value)
            text = "-inf" if level <= SILENT_DB else f"{level:.2f}"
            return f"{FADERS[number]} {text}"
        if channel == MTRACK_CHANNEL and number == MTRACK_CC:
            return MTRACK.get(value, "")
        was_down, is_down = self._is_down.get(number, False), value >= 64
        self._is_down[number] = is_down
        line = BUTTONS.get(number, "") if is_down and not was_down else ""
        if line == "play|stop":
            return "play" if state in ("ready", "ended", "paused") else "stop"
        return line


class Midi:
    """A door of the console: one raw device, looked for again when it goes.

    Parameters
    ----------
    console : Console
    say : callable
    source : Path or int
        As /dev/snd/midiC1D0, or a FIFO; or a descriptor, which is closed in the end.
    midi_map : {"usual", "mtrack"}
    on_press : callable
        Called for each command but those of faders.
    """

    def __init__(
        self,
        console: Console,
        say: Callable[[str], None],
        source: Path | int,
        *,
        midi_map: str = "usual",
        on_press: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_press = on_press
        self._console, self._say, self._map = console, say, midi_map
        self._path = source if isinstance(source, Path) else None
        self._fd = source if isinstance(source, int) else -1
        self._is_told = False
        self._wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, name="midi", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        os.write(self._stop, b"x")
        self._thread.join()
        for fd in (self._fd, self._wake, self._stop):
            if fd >= 0:
                os.close(fd)

    def _run(self) -> None:
        looked = -LOOK_S
        parser, commands = Parser(), MidiCommands(self._map)
        while True:
            if self._fd < 0 and time.monotonic() - looked >= LOOK_S:
                looked = time.monotonic()
                parser, commands = Parser(), MidiCommands(self._map)
                self._open()
            fds = [self._wake] + [self._fd] * (self._fd >= 0)
            ready, _, _ = select.select(fds, [], [], LOOK_S)
            if self._wake in ready:
                return
            if self._fd in ready:
                for message in parser.feed(self._read()):
                    self._obey(commands.of(message, self._console.player.state))

    def _open(self) -> None:
        if self._path is None:
            return
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if not self._is_told:
                self._say(f"MIDI {self._path}: {error.strerror}; it is waited for")
            self._is_told = True
            return
        self._is_told = False

    def _read(self) -> bytes:
        try:
            data = os.read(self._fd, 4096)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            os.close(self._fd)
            self._fd = -1
        return data

    def _obey(self, line: str) -> None:
        if not line:
            return
        if line.partition(" ")[0] not in FADERS.values() or line.endswith("toggle"):
            self._on_press()
        try:
            self._console.do(line)
        except Refused as error:
            self._say(str(error))
