"""What `watch` has done, on disk: it survives kill -9, power cuts and full disks.

One JSON object a line, appended and brought to the disk when an item is done; the
last line of a path counts, a line that was cut short is none.  At the start the file
is written anew, by rename.  A lock keeps two watchers from one folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestem.errors import EdgestemError
from edgestem.sound.parts import wrap

_VERSION = 1
Sign = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of an item."""

    sign: Sign
    """Sizes and times of its files, as they were then."""
    outputs: tuple[str, ...] = ()
    """What was made of it."""
    problem: str = ""
    """Why nothing could be made of it."""


class State:
    """The file; a context manager that holds its lock.

    Parameters
    ----------
    path : Path
        Made when it is not there.

    Raises
    ------
    EdgestemError
        `watched`: another process has it.
    AudioError
        `unwritable`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        with wrap(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(
                path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o666
            )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            os.close(self._lock)
            raise EdgestemError(
                f"another edgestem watch writes {path}: end it, or choose --state FILE",
                code="watched",
            ) from cause
        except OSError:  # a file system without locks
            pass
        try:
            self._read()
            self._fd = self._begin()
        except BaseException:
            os.close(self._lock)
            raise

    def _read(self) -> None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as cause:
            raise EdgestemError(
                f"{self.path} cannot be read: {cause.strerror}; choose --state FILE",
                code="os_error",
            ) from cause
        for line in data.split(b"\n"):
            self._take(line)

    def _take(self, line: bytes) -> None:
        # A line that was cut short is none, and the head is none either.
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            self._use(json.loads(line))

    def _use(self, found: dict[str, Any]) -> None:
        if found.get("gone"):
            self.entries.pop(found["path"], None)
            return
        sign = tuple(int(n) for n in found["sign"])
        outputs = tuple(map(str, found["outputs"]))
        self.entries[found["path"]] = Entry(sign, outputs, str(found["problem"]))

    def _begin(self) -> int:
        """Write the file anew under another name, and go on with it."""
        new = self.path.with_name(self.path.name + ".new")
        lines = [json.dumps({"edgestem watch": _VERSION})]
        lines += [_line(path, entry) for path, entry in self.entries.items()]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with wrap(self.path):
            fd = os.open(new, flags, 0o666)
            try:
                _write(fd, "\n".join([*lines, ""]))
                new.replace(self.path)
            except BaseException:
                os.close(fd)
                raise
        return fd

    def add(self, path: Path, entry: Entry) -> None:
        """Remember what became of an item; it is on the disk then.

        Raises
        ------
        AudioError
            `unwritable`: a full disk.
        """
        self.entries[str(path)] = entry
        with wrap(self.path):
            _write(self._fd, f"\n{_line(str(path), entry)}\n")

    def forget(self, path: str) -> None:
        """Forget an item that is not there any more."""
        self.entries.pop(path, None)
        with wrap(self.path):
            _write(self._fd, f"\n{json.dumps({'path': path, 'gone': True})}\n")

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)
        os.close(self._lock)

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _line(path: str, entry: Entry) -> str:
    found = {"path": path, "sign": entry.sign, "outputs": entry.outputs}
    return json.dumps(found | {"problem": entry.problem})


def _write(fd: int, text: str) -> None:
    """Append all of it; each line begins with its own, should one be cut short."""
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(fd, data) :]
    os.fsync(fd)
