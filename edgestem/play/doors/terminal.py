"""The terminal: a key is a command, and one line shows what is going on.

Without a terminal, lines on stdin are commands, and their answers go to stdout.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable
from typing import Any

from edgestem.play.commands import Console, Refused

KEYS = {
    " ": "play|pause", "\r": "play|pause", "\n": "play|pause", "s": "stop",
    "!": "panic", "n": "next", "p": "previous", "r": "restart",
    "\x1b[C": "seek +5", "\x1b[D": "seek -5", "\x1b[A": "vocals +1",
    "\x1b[B": "vocals -1", "v": "vocals toggle", "g": "guide toggle",
    "c": "click toggle", "+": "key +1", "-": "key -1", "]": "tempo +1",
    "[": "tempo -1", "l": "loop here", "q": "quit",
}  # fmt: skip
HELP = (
    "space play/pause, s stop, ! silence, n/p next/previous, arrows seek and vocals, "
    "v vocals, g guide, c click, +/- key, [/] tempo, l loop, r again, q quit"
)
SHOW_S = 0.2  # between two looks of the display
AGAIN_S = 1.0  # a sentence may have been written over it
MAX_LINE = 4096


def as_time(seconds: float) -> str:
    """Write minutes and seconds."""
    sign = "-" if seconds < 0 else ""
    whole = int(abs(seconds))
    return f"{sign}{whole // 60}:{whole % 60:02d}"


def one_line(status: dict[str, Any], width: int) -> str:
    """Put a status into one line of a terminal."""
    vocals = status["faders"]["vocals"]
    parts = [
        f"{status['index'] + 1}/{len(status['songs'])}",
        status["state"],
        f"{as_time(status['position'])}/{as_time(status['length'])}",
        f"vocals {'off' if vocals is None else f'{vocals:g} dB'}",
    ]
    if status["key"] or status["tempo"] != 1:
        parts.append(f"key {status['key']:+g} tempo {status['tempo'] * 100:g} %")
    if status["loop"]:
        parts.append("loop {}-{}".format(*map(as_time, status["loop"])))
    if status["front"] < status["length"]:
        parts.append(f"separated to {as_time(status['front'])}")
    if status["n_late"]:
        parts.append(f"{status['n_late']} late")
    head = "  ".join(parts)
    title = "".join(c if c.isprintable() else "?" for c in status["title"])
    return f"{head}  {title}"[: max(width - 1, 10)]


class Terminal:
    """Keys from a terminal, or lines from a pipe.

    Parameters
    ----------
    console : Console
    say : callable
        Gets what is to be said above the line.
    answer : callable
        Gets the answers to lines.
    """

    def __init__(
        self,
        console: Console,
        say: Callable[[str], None],
        answer: Callable[[str], None],
    ) -> None:
        self._console, self._say, self._answer = console, say, answer
        self._fd = sys.stdin.fileno()
        self._is_terminal = os.isatty(self._fd)
        self._wake, self._stop = os.pipe()
        self._before: list[Any] | None = None
        self._loop_start: float | None = None
        self._shown, self._shown_at = "", 0.0
        self._rest = b""
        self._thread = threading.Thread(target=self._run, name="keys", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        if self._is_terminal:
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
        self._thread.start()

    def close(self) -> None:
        """End; the terminal is as it was."""
        os.write(self._stop, b"x")
        self._thread.join()
        if self._before is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
            self._put("\n")
        for fd in (self._wake, self._stop):
            os.close(fd)

    def _run(self) -> None:
        fds = [self._wake, self._fd]
        while True:
            ready, _, _ = select.select(fds, [], [], SHOW_S)
            if self._wake in ready:
                return
            if self._fd in ready and not self._read():
                fds.remove(self._fd)
            if self._is_terminal:
                self._show()

    def _read(self) -> bool:
        """Take what was typed; False: nobody types any more."""
        try:
            data = os.read(self._fd, MAX_LINE)
        except OSError:
            data = b""
        if not data:
            return False
        if self._is_terminal:
            for key in split_keys(data.decode(errors="replace")):
                self._press(key)
            return True
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-MAX_LINE:]
        for line in lines:
            self._obey(line.decode(errors="replace"), self._answer)
        return True

    def _press(self, key: str) -> None:
        line = KEYS.get(key)
        if line is None:
            self._say(HELP)
        elif line == "play|pause":
            is_on = self._console.player.state in ("playing", "paused")
            self._obey("pause" if is_on else "play", None)
        elif line == "loop here":
            self._loop()
        elif line.startswith("vocals ") and line[7] in "+-":
            level = max(self._console.faders["vocals"], -60.0) + float(line[7:])
            self._obey(f"vocals {min(level, 20):g}", None)
        else:
            self._obey(line, None)

    def _loop(self) -> None:
        """First press: start; second: end; third: leave it."""
        status = self._console.status()
        if status["loop"]:
            self._obey("loop off", None)
        elif self._loop_start is None:
            self._loop_start = status["position"]
            self._say("the loop starts here: press l again at its end")
        else:
            start, self._loop_start = self._loop_start, None
            self._obey(f"loop {start} {status['position']}", None)

    def _obey(self, line: str, answer: Callable[[str], None] | None) -> None:
        if not line.strip():
            return
        try:
            said = self._console.do(line)
        except Refused as error:
            said = str(error)
            answer = answer or self._say
        if answer is not None:
            answer(said)

    def _show(self) -> None:
        """Draw the line when it changes, and once a second: others write there, too."""
        line = one_line(self._console.status(), shutil.get_terminal_size().columns)
        now = time.monotonic()
        if line != self._shown or now - self._shown_at >= AGAIN_S:
            self._shown, self._shown_at = line, now
            self._put(f"\r{line}\033[K")

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.write(2, text.encode(errors="replace"))


def split_keys(text: str) -> list[str]:
    """Cut what was typed into keys; an arrow is three characters."""
    keys = []
    while text:
        n = 3 if text.startswith("\x1b[") else 1
        keys.append(text[:n])
        text = text[n:]
    return keys
