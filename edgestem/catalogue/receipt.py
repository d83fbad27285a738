"""Receipts: `edgestem.json` beside the stems, written last.

A song is done when its receipt can be read, agrees with what is asked for and with
the song, and the outputs that it names have their sizes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "edgestem.json"
PART = ".edgestem.part"  # one that is being written; whoever comes next replaces it
FORM = 1  # of the receipt; another number is not ours to read
MAX_BYTES = 1 << 16  # a receipt has about 1,500
_READ = 1 << 18  # bytes at a time: what stays in a core's cache
Receipt = dict[str, Any]


def read(folder: str, name: str = NAME) -> Receipt | None:
    """Read a folder's receipt; None: there is none, or none that can be used.

    Raises
    ------
    OSError
        The disk refuses: nobody knows whether there is one.
    """
    try:
        fd = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        data = os.read(fd, MAX_BYTES)
    finally:
        os.close(fd)
    return parse(data)


def parse(data: bytes) -> Receipt | None:
    """Read a receipt's text; None: it is cut, or of another form."""
    try:
        found = json.loads(data)
        is_ours = found["receipt"] == FORM
        parts = (found["source"], found["decoded"], found["outputs"])
        sizes = [out["size"] for out in found["outputs"].values()]
        is_ours &= all(isinstance(part, dict) for part in parts)
        is_ours &= all(isinstance(size, int) for size in sizes)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if is_ours else None


def is_whole(folder: str, receipt: Receipt) -> bool:
    """Tell whether the outputs have the sizes that the receipt says."""
    try:
        return all(
            os.stat(f"{folder}/{name}").st_size == out["size"]  # noqa: PTH116
            for name, out in receipt["outputs"].items()
        )
    except OSError:
        return False


def is_same_file(status: os.stat_result, receipt: Receipt) -> bool:
    """Tell whether a song has the size and the time that the receipt says."""
    source = receipt["source"]
    found = (status.st_size, status.st_mtime_ns)
    return found == (source.get("size"), source.get("mtime_ns"))


def write(folder: str, receipt: Mapping[str, Any], claim: str = "") -> None:
    """Write a receipt so that it is there whole, or not at all.

    Parameters
    ----------
    folder : str
        Of the song; nobody else writes there now.
    receipt : mapping
    claim : str
        A claim's file that becomes the receipt: one rename publishes the song and
        lets it go, so that nothing is left to be done after it.
    """
    part = Path(folder, PART)
    with part.open("wb") as file:
        file.write(json.dumps(receipt, separators=(",", ":")).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if claim:
        part.replace(claim)
        part = Path(claim)
    part.replace(Path(folder, NAME))
    sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Make new names survive a power cut, where a folder can be opened."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def sha256(path: str | Path) -> str:
    """Digest of a file's bytes, as hex."""
    with Path(path).open("rb", buffering=0) as file:
        return sha256_of(file.fileno())


def sha256_of(descriptor: int) -> str:
    """Digest of an open file's bytes, as hex; its place stays."""
    digest, at = hashlib.sha256(), 0
    while data := os.pread(descriptor, _READ, at):
        digest.update(data)
        at += len(data)
    return digest.hexdigest()
