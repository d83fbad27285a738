"""A worker process as its owner sees it: a song goes in, an answer comes out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgestem import child
from edgestem.catalogue.failure import AGAIN, Failure
from edgestem.catalogue.identity import Recipe
from edgestem.catalogue.listing import Song

PATIENCE_S = 5.0  # for a process that was asked to end
_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Message = dict[str, Any]


def first_message(
    out: Path,
    recipe: Recipe,
    token: str,
    *,
    lease_s: float,
    is_alone: bool,
    host: str,
) -> Message:
    """Say to a worker what is asked for, before its first song."""
    if recipe.model.endswith(".tflite"):  # the worker starts in another folder
        path = str(Path(recipe.model).absolute())
        recipe = Recipe.from_json(asdict(recipe) | {"model": path})
    return {
        "out": str(out.absolute()),
        "store": str((out / ".edgestem").absolute()),
        "recipe": asdict(recipe),
        "token": token,
        "lease_s": lease_s,
        "is_alone": is_alone,
        "host": host,
    }


class Worker:
    """One process with one loaded model.

    Parameters
    ----------
    first : mapping
        What `first_message` gave.

    Attributes
    ----------
    song : Song or None
        What it works on.
    n_done : int
        Songs that it has answered.
    """

    def __init__(self, first: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgestem.catalogue.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=child.FOLDER,
            env=child.environment() | dict.fromkeys(_SETTINGS, "1"),
            start_new_session=True,  # Ctrl-C is for its owner, who tells it
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._heard = b""
        self.song: Song | None = None
        self.is_ready = False
        self.n_done = 0
        self._send(first)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def fileno(self) -> int:
        """Readable when `hear` has something."""
        return self._stdout.fileno()

    def give(self, song: Song, *, redo: bool) -> None:
        """Let it do a song."""
        self.song = song
        names = {"source": song.source, "name": song.name, "folder": song.folder}
        self._send({**names, "redo": redo})

    def hear(self) -> list[Message] | None:
        """Read what it says, waiting for something; None: it has ended."""
        data = os.read(self._stdout.fileno(), 1 << 16)
        if not data:
            return None
        *lines, self._heard = (self._heard + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def ask(self) -> Message | None:
        """Wait for one whole answer; None: it has ended."""
        while (found := self.hear()) is not None:
            if found:
                return found[0]
        return None

    def obituary(self) -> Failure:
        """Say how a process ended that should not have."""
        status = self._process.wait()
        how = f"ended with status {status}"
        if status < 0:
            how = f"was killed by {signal.Signals(-status).name}"
        text = f"the process that separated it {how}"
        if status == -signal.SIGKILL:
            text += ": if that was nobody, the machine has too little memory"
        return Failure("worker_died", text, AGAIN)

    def dismiss(self) -> None:
        """Ask it to end at once, tidily; `end` waits for that."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def end(self) -> None:
        """Let it end, and see to it."""
        self.dismiss()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        """Write a line; that it has ended, `hear` will find."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(json.dumps(message).encode() + b"\n")
            self._stdin.flush()
