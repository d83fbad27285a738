"""Giving a set of finished files their names: all of them, or none.

A set is named under a lock of its folder while signals wait, so that two runs never
mix and an interrupt comes before or after.  What fails in between is undone.  A
process that is killed in between leaves a journal, `.stems.<pid>.journal`: its files
were complete, so the next run in that folder names the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

WAIT_S = 5.0  # for another process that names its set; it takes milliseconds
_JOURNAL = re.compile(r"\.stems\.\d+\.journal")
_PART = re.compile(r"\.([^/\0]+)\.\d+\.part", re.DOTALL)  # of the target named in it
_HELD = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM),
    *(signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2),
)
Pairs = Sequence[tuple[Path, Path]]


def commit(folder: Path, pairs: Pairs, *, is_forced: bool) -> None:
    """Rename finished files, (part, target) each, all in one folder.

    Raises
    ------
    OSError
        Everything is as it was; FileExistsError where a target exists and
        `is_forced` is false, with its name as `filename`.
    """
    with _locked(folder), held_signals():
        for _, target in pairs:
            if not is_forced and is_there(target):
                raise FileExistsError(17, os.strerror(17), str(target))
        journal = _begin_journal(folder, pairs, is_forced)
        done: list[tuple[Path, Path]] = []
        try:
            for part, target in pairs:
                _place(part, target, is_forced)
                done.append((part, target))
        except BaseException:
            for part, target in reversed(done):
                _take_back(part, target)
            raise
        finally:
            for part, _ in pairs if len(done) == len(pairs) else ():
                part.unlink(missing_ok=True)
                _old(part).unlink(missing_ok=True)
            journal.unlink(missing_ok=True)


def repair(folder: Path) -> None:
    """Finish what a killed process had begun to name, if there is anything."""
    with contextlib.suppress(OSError):
        if any(_JOURNAL.fullmatch(path.name) for path in folder.iterdir()):
            with _locked(folder) as is_locked:
                for path in list(folder.iterdir()) if is_locked else ():
                    if _JOURNAL.fullmatch(path.name):
                        _complete(path)


def is_there(target: Path) -> bool:
    """Say whether a name is taken, also by a link that leads nowhere.

    Raises
    ------
    OSError
        Nobody can tell: permissions, a name that is too long.
    """
    try:
        target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@contextlib.contextmanager
def held_signals() -> Iterator[None]:
    """Let signals wait until the end of the block; only the main thread hears any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def remember(number: int, _: object) -> None:
        came.append(number)

    found = {number: signal.getsignal(number) for number in _HELD}
    before: dict[int, Any] = {
        n: h for n, h in found.items() if h not in (None, signal.SIG_IGN)
    }
    try:
        for number in before:
            signal.signal(number, remember)
        yield
    finally:
        _put_back(before)
        for signum in came:
            signal.raise_signal(signum)


def _put_back(before: Mapping[int, Any]) -> None:
    """Put handlers back, all of them, even when one that is back raises."""
    raised: BaseException | None = None
    for number, handler in before.items():
        while signal.getsignal(number) != handler:
            try:
                signal.signal(number, handler)
            except BaseException as error:  # noqa: PERF203 - it is raised below
                raised = error
    if raised is not None:
        raise raised


def _place(part: Path, target: Path, is_forced: bool) -> None:
    if not is_forced:
        _add(part, target)
        return
    has_old = _keep_old(part, target)
    try:
        part.replace(target)
    except BaseException:
        if has_old:
            _take_back(part, target)
        raise


def _add(part: Path, target: Path) -> None:
    """Give a file a name that nobody has."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: the lock has to do
        if is_there(target):
            raise FileExistsError(17, os.strerror(17), str(target)) from None
        part.rename(target)


def _keep_old(part: Path, target: Path) -> bool:
    """Keep what is to be replaced until all is done; say whether there is any."""
    if not is_there(target):
        return False
    if stat.S_ISDIR(target.lstat().st_mode):
        raise IsADirectoryError(21, os.strerror(21), str(target))
    old = _old(part)
    old.unlink(missing_ok=True)
    try:
        os.link(target, old, follow_symlinks=False)
    except OSError:  # no links here, or not to somebody else's file
        target.rename(old)
    return True


def _take_back(part: Path, target: Path) -> None:
    """Undo one name: what was there before comes back."""
    old = _old(part)
    with contextlib.suppress(OSError):
        if is_there(old):
            old.replace(target)
            old.unlink(missing_ok=True)  # it was the same file: nothing moved
        else:
            target.unlink()


def _old(part: Path) -> Path:
    return part.with_suffix(".old")


def _begin_journal(folder: Path, pairs: Pairs, is_forced: bool) -> Path:
    """Note what is about to happen; on a full disk it happens without."""
    journal = folder / f".stems.{os.getpid()}.journal"
    names = {part.name: target.name for part, target in pairs}
    if len(pairs) > 1 or is_forced:
        with contextlib.suppress(OSError):
            journal.write_text(json.dumps({"is_forced": is_forced, "names": names}))
    return journal


def _complete(journal: Path) -> None:
    """Name the rest of a set whose process was killed."""
    found = _read_journal(journal)
    for part_name, target_name in found.get("names", {}).items():
        match = _PART.fullmatch(part_name)
        if not match or match[1] != target_name or target_name in (".", ".."):
            continue
        part, target = journal.with_name(part_name), journal.with_name(target_name)
        with contextlib.suppress(OSError):
            if is_there(part) and (found.get("is_forced") or not is_there(target)):
                part.replace(target)
        if is_there(target):
            part.unlink(missing_ok=True)
            _old(part).unlink(missing_ok=True)
    journal.unlink(missing_ok=True)


def _read_journal(journal: Path) -> dict[str, Any]:
    fd = os.open(journal, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        try:
            found = json.loads(file.read(1 << 16))
        except ValueError:  # it was not written to its end: nothing had begun
            return {}
    names = found.get("names") if isinstance(found, dict) else None
    return found if isinstance(names, dict) else {}


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock a folder; False where that is not possible, or takes too long."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # a folder that may only be written to
        yield False
        return
    try:
        yield _wait_for(fd)
    finally:
        os.close(fd)


def _wait_for(fd: int) -> bool:
    deadline = time.monotonic() + WAIT_S
    while (is_locked := _try_lock(fd)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(is_locked)


def _try_lock(fd: int) -> bool | None:
    """Lock, or say False where there are no locks, None while somebody has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError:
        return False
    return True
