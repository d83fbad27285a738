"""A pedal of the kernel's own: uinput, and who else hears it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from pathlib import Path

SET_EVENT, SET_KEY = 0x40045564, 0x40045565
SETUP, CREATE, DESTROY = 0x405C5503, 0x5501, 0x5502
SYSNAME = 0x8040552C  # 64 bytes
GRAB = 0x40044590
EVENT = struct.Struct("llHHi")
EV_SYN, EV_KEY, EV_REP = 0, 1, 0x14
BUS_USB = 3


class Pedal:
    """A device with a few keys; needs root.

    Parameters
    ----------
    name : str
    keys : sequence of int
        Codes of linux/input-event-codes.h.
    is_repeating : bool
        The kernel repeats what is held, as a keyboard does.
    """

    def __init__(
        self, name: str, keys: tuple[int, ...], *, is_repeating: bool = False
    ) -> None:
        self._fd = os.open("/dev/uinput", os.O_WRONLY | os.O_NONBLOCK)
        for kind in (EV_KEY, *((EV_REP,) if is_repeating else ())):
            fcntl.ioctl(self._fd, SET_EVENT, kind)
        for key in keys:
            fcntl.ioctl(self._fd, SET_KEY, key)
        setup = struct.pack("4H80sI", BUS_USB, 0xED6E, 1, 1, name.encode(), 0)
        fcntl.ioctl(self._fd, SETUP, setup)
        fcntl.ioctl(self._fd, CREATE)
        called = fcntl.ioctl(self._fd, SYSNAME, bytes(64)).split(b"\0")[0].decode()
        (node,) = Path("/sys/devices/virtual/input", called).glob("event*")
        self.path = Path("/dev/input", node.name)

    def press(self, key: int) -> None:
        self._send(key, 1)

    def release(self, key: int) -> None:
        self._send(key, 0)

    def tap(self, key: int, seconds: float = 0.1) -> None:
        self.press(key)
        time.sleep(seconds)
        self.release(key)

    def _send(self, key: int, value: int) -> None:
        os.write(self._fd, EVENT.pack(0, 0, EV_KEY, key, value))
        os.write(self._fd, EVENT.pack(0, 0, EV_SYN, 0, 0))

    def unplug(self) -> None:
        fcntl.ioctl(self._fd, DESTROY)
        os.close(self._fd)


def is_grabbed(path: Path) -> bool:
    """Say whether somebody keeps a device for himself."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, GRAB, 1)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


class Listener:
    """Another program that reads the device."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def values(self) -> list[int]:
        """Values of the keys' events since the last call: 1, 0, 2 (a repeat)."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while more := os.read(self._fd, EVENT.size * 64):
                data += more
        return [value for *_, kind, _, value in EVENT.iter_unpack(data) if kind == 1]

    def close(self) -> None:
        os.close(self._fd)
