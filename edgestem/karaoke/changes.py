"""What the kernel tells of changes in folders: inotify, for disks of this machine.

What another machine writes to a network disk is told by nobody, so folders on such a
disk, and on every kind that is not listed here, are looked at again and again.  A
change says only that it is worth looking: what is new, and whether it has settled, is
the look's to find out.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

# Kinds of file systems that only this machine writes to; overlays may lie on others.
_LOCAL = frozenset(
    "ext2 ext3 ext4 xfs btrfs f2fs bcachefs zfs jfs nilfs2 reiserfs ubifs tmpfs ramfs "  # noqa: SIM905
    "vfat msdos exfat ntfs3 hfsplus".split()
)
_MOUNTS = Path("/proc/self/mountinfo")
# From <sys/inotify.h>: names that come and go, the folder's own with them, files that
# are closed after writing, new rights.
_ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x4, 0x8, 0x40, 0x80
_CREATE, _DELETE, _MOVE_SELF, _ONLYDIR = 0x100, 0x200, 0x800, 0x0100_0000
_NAMES = _CREATE | _DELETE | _MOVED_FROM | _MOVED_TO | _MOVE_SELF
_MASK = _NAMES | _ATTRIB | _CLOSE_WRITE | _ONLYDIR
_READ = 1 << 16  # bytes of events at a time


class Told(Enum):
    """What the kernel tells of some folders."""

    NOTHING = "nothing"
    """Of one of them at least: look again after a while."""
    FROM_NOW = "from now"
    """A change since the last look may have been missed: look again."""
    ALL = "all"
    """Nothing was missed, nothing will be."""


class Changes:
    """Tells when something changed in some folders; one of a process will do.

    Where the kernel tells nothing (no inotify, no more of it for this user),
    `follow` says so.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._followed: set[int] = set()
        self._poll = select.poll()
        self._fd = -1
        with contextlib.suppress(OSError, AttributeError):  # no /proc, no Linux
            self._mounts = _MOUNTS.open("rb")
            self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd >= 0:
            self._poll.register(self._fd, select.POLLIN)
            # Disks that come and go: the table of mounts is exceptional then.
            self._poll.register(self._mounts, select.POLLPRI | select.POLLERR)

    def follow(self, folders: Iterable[Path]) -> Told:
        """Be told of changes in these folders, and in no others."""
        if self._fd < 0:
            return Told.NOTHING
        local = _Locality()
        found: set[int] = set()
        is_whole = True
        for folder in folders:
            number = self._add(folder) if local.is_local(folder) else -1
            is_whole &= number >= 0
            found.add(number)
        found.discard(-1)
        for number in self._followed - found:
            self._libc.inotify_rm_watch(self._fd, number)
        before, self._followed = self._followed, found
        if not (is_whole and found):
            return Told.NOTHING
        return Told.ALL if found <= before else Told.FROM_NOW

    def _add(self, folder: Path) -> int:
        """Follow a folder; the number is the same as long as it is the same folder."""
        mask = ctypes.c_uint32(_MASK)
        return int(self._libc.inotify_add_watch(self._fd, os.fsencode(folder), mask))

    def drain(self) -> None:
        """Forget what was told: a look begins."""
        if self._fd < 0:
            return
        try:
            while os.read(self._fd, _READ):
                pass
        except BlockingIOError:
            pass

    def wait(self, seconds: float) -> bool:
        """Wait for a change; False: there was none."""
        return bool(self._poll.poll(seconds * 1000))

    def close(self) -> None:
        """Let go of all."""
        if self._fd >= 0:
            os.close(self._fd)
            self._mounts.close()
            self._fd = -1


class _Locality:
    """Which folders lie on disks of this machine, as things are mounted now."""

    def __init__(self) -> None:
        self._kinds: dict[Path, str] = {}
        for line in _MOUNTS.read_bytes().splitlines():
            before, _, after = line.partition(b" - ")
            point = _unescape(before.split()[4])
            self._kinds[Path(os.fsdecode(point))] = after.split()[0].decode()

    def is_local(self, folder: Path) -> bool:
        real = Path(os.path.realpath(folder))
        places = (real, *real.parents)
        # In a chroot the table may not have what the root lies on.
        point = next((place for place in places if place in self._kinds), None)
        return point is not None and self._kinds[point] in _LOCAL


def _unescape(name: bytes) -> bytes:
    r"""Read a name of the table of mounts, where a blank is \040."""
    head, *rest = name.split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)
