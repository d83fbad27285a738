"""Claims: who works on a song, among processes and boards that share only a folder.

A claim is a file in the song's folder, `.edgestem.claim.0`, made with O_EXCL, that
holds its owner's token.  Its owner touches it; one that was not touched for a lease
is dead.  A dead claim is never removed or replaced, as two thieves would both
believe to have done it: a thief makes the file of the next number, with O_EXCL, and
the greatest number is the owner.  Clocks of two machines are never compared: what
time it is says a file that was just touched in the same place, and so the server.

Doing a song twice is allowed, for it gives the same bits; losing one is not.  Who
has won a claim looks for the receipt again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestem.errors import EdgestemError

LEASE_S = 600.0  # ten touches: network drives show times up to a minute late
TOUCHES = 10  # in a lease
_WRITTEN_S = 5.0  # after which a claim without an owner is a killed process's
_CLAIM = re.compile(r"\.edgestem\.claim\.(\d{1,9})")
LOST = "claim_lost"
_HEAD = ".edgestem.claim."


@dataclass(frozen=True, slots=True)
class Claim:
    """A song's folder that is ours for now."""

    folder: str
    number: int
    was_begun: bool
    """Somebody had begun: stems without a receipt are his, or our own."""

    @property
    def path(self) -> str:
        """The file that says so."""
        return f"{self.folder}/{_HEAD}{self.number}"


class Claims:
    """Makes claims for one run, which may have many processes.

    Parameters
    ----------
    store : str
        Folder on the same drive for the file that tells the time; made here.
    token : str
        Of the run: what one of its processes had, another one may take over.
    lease_s : float
        Claims of others are dead when they were not touched for so long.
    is_alone : bool
        Nobody on another machine works in this folder: its claims are dead.
    """

    def __init__(
        self, store: str, token: str, *, lease_s: float = LEASE_S, is_alone: bool = True
    ) -> None:
        self._store, self._token = store, token
        self._lease_s, self._is_alone = lease_s, is_alone
        self._me = myself()

    def take(self, folder: str) -> Claim | None:
        """Claim a folder that is there; None: somebody else works on it.

        Raises
        ------
        OSError
            The drive refuses.
        """
        number = _greatest(folder)
        if number >= 0:
            mine = Claim(folder, number, was_begun=True)
            held = self._read(mine)
            if held.get("token") == self._token:
                self.touch(mine)
                return mine
            if not self._is_dead(mine, held):
                return None
        claim = Claim(folder, number + 1, was_begun=number >= 0)
        return claim if self._make(claim) else None

    def touch(self, claim: Claim) -> bool:
        """Say that we are alive; False: the claim was lost to a thief."""
        try:
            os.utime(claim.path)
        except FileNotFoundError:
            return False
        return _greatest(claim.folder) == claim.number

    def release(self, claim: Claim) -> None:
        """Let go: the dead ones go first, then the own one, never a thief's."""
        self.clear(claim)
        with contextlib.suppress(OSError):
            Path(claim.path).unlink()

    def clear(self, claim: Claim) -> None:
        """Remove the dead claims below one's own."""
        for number in range(claim.number):
            with contextlib.suppress(OSError):
                Path(f"{claim.folder}/{_HEAD}{number}").unlink()

    @contextlib.contextmanager
    def kept_alive(self, claim: Claim) -> Iterator[Callable[[], None]]:
        """Touch a claim during a block; what it gives raises once that is lost.

        Raises
        ------
        EdgestemError
            `claim_lost`, from the callable.
        """
        over, is_lost = threading.Event(), threading.Event()

        def touch() -> None:
            while not over.wait(self._lease_s / TOUCHES):
                with contextlib.suppress(OSError):  # a drive that stumbles
                    if not self.touch(claim):
                        is_lost.set()

        def check() -> None:
            if is_lost.is_set():
                raise lost(claim.folder)

        thread = threading.Thread(target=touch, daemon=True)
        thread.start()
        try:
            yield check
        finally:
            over.set()
            thread.join()

    def _make(self, claim: Claim) -> bool:
        """Make the file; where the answer was lost, see whose it is."""
        text = json.dumps({"token": self._token, **self._me}).encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            fd = os.open(claim.path, flags, 0o666)
        except FileExistsError:
            return self._read(claim).get("token") == self._token
        try:
            os.write(fd, text)
        finally:
            os.close(fd)
        is_mine = self._read(claim).get("token") == self._token
        return is_mine and _greatest(claim.folder) == claim.number

    def _read(self, claim: Claim) -> dict[str, Any]:
        """Read a claim; nothing of one that has gone, or was not written yet."""
        try:
            found = json.loads(Path(claim.path).read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _is_dead(self, claim: Claim, held: dict[str, Any]) -> bool:
        """Tell whether its owner has ended, as far as anybody can know."""
        if held.get("place") == self._me["place"]:
            return not _is_alive(int(held["pid"]), held["started"])
        if self._is_alone:
            return bool(held) or self._age_s(claim) > _WRITTEN_S
        return self._age_s(claim) > self._lease_s

    def _age_s(self, claim: Claim) -> float:
        """Time since a claim was touched, by the server's clock."""
        clock = f"{self._store}/.clock.{self._token}.{os.getpid()}"
        try:
            with open(claim.path, "rb") as file:  # noqa: PTH123 - asks the server
                touched = os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return 0.0  # released just now: whoever comes next will see
        Path(self._store).mkdir(parents=True, exist_ok=True)
        with open(clock, "wb") as file:  # noqa: PTH123
            file.write(b"now")
            file.flush()
            os.utime(file.fileno())
            now = os.fstat(file.fileno()).st_mtime
        Path(clock).unlink(missing_ok=True)
        return now - touched


def lost(what: str) -> EdgestemError:
    """Make the error of a claim that a thief has."""
    return EdgestemError(f"{what}: another machine has taken this song over", code=LOST)


def is_claimed(folder: str) -> bool:
    """Tell whether anybody has a folder, or had it when he was killed."""
    return _greatest(folder) >= 0


def new_token() -> str:
    """Name a run."""
    return uuid.uuid4().hex


def myself() -> dict[str, Any]:
    """Say which process this is, so that others on this machine can look for it.

    Containers have pids of their own, often the same ones: the place names theirs.
    """
    boot = _text("/proc/sys/kernel/random/boot_id")
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    place = f"{socket.gethostname()} {boot} {space}"
    return {"place": place, "pid": os.getpid(), "started": _started(os.getpid())}


def _is_alive(pid: int, started: str) -> bool:
    """Tell whether a process lives and is no other one of the same number."""
    return _started(pid) == started


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; nothing: it has ended."""
    words = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    is_there = len(words) > 19 and words[0] not in "ZX"
    return words[19] if is_there else ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _greatest(folder: str) -> int:
    """Return the number of the claim that counts; -1: there is none."""
    found = (_CLAIM.fullmatch(name) for name in os.listdir(folder))  # noqa: PTH208
    return max((int(match[1]) for match in found if match), default=-1)
