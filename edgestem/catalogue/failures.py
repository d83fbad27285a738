"""The list of songs that failed: `failed.jsonl`, one object a line.

Each run on each machine writes a file of its own, as appending to one file from two
machines loses lines; all are read.  A line that a killed process has cut is passed
over.  At its end a run leaves what is still true.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_FILES = re.compile(r"failed(\.[^/]*)?\.jsonl")
Line = dict[str, Any]


def file_name(word: str = "") -> str:
    """Name the file of a run; `word` tells it from those of other machines."""
    clean = re.sub(r"[^\w-]", "_", word)
    return f"failed.{clean}.jsonl" if clean else "failed.jsonl"


def read(out: Path) -> dict[str, Line]:
    """Read all lists of a catalogue: song's name -> its latest line."""
    found: dict[str, Line] = {}
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(out.iterdir()):
            if _FILES.fullmatch(path.name):
                for line in _lines(path):
                    if line["time"] >= found.get(line["song"], line)["time"]:
                        found[line["song"]] = line
    return found


def _lines(path: Path) -> Iterator[Line]:
    for text in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and isinstance(line.get("song"), str):
                yield {"time": 0, "code": "error", "kind": "song", **line}


def _is_song(line: Line) -> bool:
    """Tell a song from what could not be listed, which each run finds anew."""
    return bool(line.get("is_listed", True))


class Failures:
    """The list of one run.

    Parameters
    ----------
    out : Path
        Folder of the catalogue.
    word : str
        See `file_name`.
    """

    def __init__(self, out: Path, word: str = "") -> None:
        self.path = out / file_name(word)
        self._was = {line["song"]: line for line in self._old() if _is_song(line)}

    def _old(self) -> list[Line]:
        try:
            return list(_lines(self.path))
        except FileNotFoundError:
            return []

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a song, with one write."""
        whole = {**line, "time": round(time.time(), 3)}
        self._was[whole["song"]] = whole
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self.path, flags, 0o666)
        try:
            os.write(fd, json.dumps(whole).encode() + b"\n")
        finally:
            os.close(fd)

    def forget(self, song: str) -> None:
        """Take a song off the list: it is done."""
        self._was.pop(song, None)

    def settle(self) -> None:
        """Leave the songs that are still failed, or no file."""
        if not self._was:
            self.path.unlink(missing_ok=True)
            return
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        with part.open("w") as file:
            file.writelines(json.dumps(line) + "\n" for line in self._was.values())
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)
