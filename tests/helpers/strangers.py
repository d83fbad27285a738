"""Other local users, as the kernel sees them: a test's clients that are not root."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forks
import pytest

ALICE, MAL = 64_101, 64_102  # numbers that nobody has
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users")
HELD: list[Any] = []  # what a stranger's process keeps until its end


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that every user may enter; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="edgestem-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def open_place() -> Iterator[Path]:
    """Make such a folder with `in` and `out`, where every user may write."""
    with open_folder() as folder:
        for name in ("in", "out"):
            (folder / name).mkdir()
            (folder / name).chmod(0o777)
        yield folder


@contextlib.contextmanager
def as_user(uid: int, function: Callable[..., Any], *args: Any) -> Iterator[Any]:
    """Run a function as a user in a process that lives until the end; yield its result.

    What it puts into `HELD` stays open meanwhile.
    """
    result, said = os.pipe()
    until, end = os.pipe()
    pid = forks.fork(3600)  # sieges take long
    if pid == 0:
        try:
            os.close(end)
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(said, json.dumps(function(*args)).encode())
            os.close(said)
            signal.alarm(0)  # from here on it lives as long as its test
            os.read(until, 1)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(said)
    os.close(until)
    try:
        with os.fdopen(result, "rb") as file:
            text = file.read()
        assert text, "the stranger failed"
        yield json.loads(text)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(end)
        os.waitpid(pid, 0)


def ask(uid: int, function: Callable[..., Any], *args: Any) -> Any:
    """Run a function as a user and return its result."""
    with as_user(uid, function, *args) as found:
        return found
