"""mpv beside the player: how long it takes to the first sound of a file.

mpv runs already, as the player does, and gets `loadfile` on its socket.  Its output is
a pipe, so that both are timed alike: to the first sample that is not zero.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path

WAIT_S = 30.0
BYTES = 1 << 16


class Mpv:
    """An idle mpv; `with` ends it."""

    def __init__(self, folder: Path) -> None:
        self._pipe, self._door = folder / "sound", folder / "mpv"
        os.mkfifo(self._pipe)
        self._fd = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
        self._process = subprocess.Popen(
            ["mpv", "--no-config", "--no-video", "--idle", "--no-terminal", "--ao=pcm",
             f"--ao-pcm-file={self._pipe}", "--ao-pcm-waveheader=no",
             f"--input-ipc-server={self._door}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._socket = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + WAIT_S
        while self._socket.connect_ex(str(self._door)):
            assert time.monotonic() < end, "mpv does not listen"
            time.sleep(0.02)

    def __enter__(self) -> Mpv:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()
        os.close(self._fd)

    def _say(self, *words: str) -> None:
        with contextlib.suppress(BlockingIOError):  # it tells of all that happens
            while self._socket.recv(BYTES, socket.MSG_DONTWAIT):
                pass
        self._socket.sendall(json.dumps({"command": words}).encode() + b"\n")

    def first_sound(self, song: Path) -> float:
        """Load a song; return the seconds to its first sample that is not zero."""
        began = time.monotonic()
        self._say("loadfile", str(song.resolve()))
        while True:
            left = began + WAIT_S - time.monotonic()
            assert left > 0, f"mpv plays nothing of {song}"
            if not select.select([self._fd], [], [], left)[0]:
                continue
            data = os.read(self._fd, BYTES)
            if data.strip(b"\0"):
                break
            if not data:
                time.sleep(0.0005)  # nobody writes yet
        seconds = time.monotonic() - began
        self._say("stop")
        self._drain()
        return seconds

    def _drain(self) -> None:
        """Read what is left, until it has let go of the pipe."""
        while True:
            select.select([self._fd], [], [], 1.0)
            try:
                if not os.read(self._fd, BYTES):
                    return
            except BlockingIOError:
                continue


def has_mpv() -> bool:
    return shutil.which("mpv") is not None
