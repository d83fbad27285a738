"""Another process of this package, which is told what to do in lines of JSON.

Both sides are here.  The owner has a `Coworker`: a request goes in, an answer comes
out.  The process calls `serve`.  It ends when its stdin does, also in the middle of a
request: whoever started it has ended, and may have been killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

from edgestem import child, heap

PATIENCE_S = 4.0  # of a process for tidying up; then it is gone
_OWNERS_PATIENCE_S = 5.0  # for a process that was asked to end
_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Message = dict[str, Any]
Answer = Callable[[Message], None]


class Coworker:
    """One process, with one thread for each library that would take more.

    Parameters
    ----------
    module : str
        Dotted: `python -m` runs it.
    first : mapping
        What it is told first.
    """

    def __init__(self, module: str, first: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=child.FOLDER,
            env=child.environment() | dict.fromkeys(_SETTINGS, "1"),
            start_new_session=True,  # Ctrl-C is for its owner, who tells it
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._heard = b""
        self.send(first)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def fileno(self) -> int:
        """Readable when `hear` has something."""
        return self._stdout.fileno()

    def send(self, message: Mapping[str, Any]) -> None:
        """Write a line; that it has ended, `hear` will find."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(json.dumps(message).encode() + b"\n")
            self._stdin.flush()

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

    def last_words(self) -> str:
        """Say how a process ended that should not have."""
        status = self._process.wait()
        how = f"ended with status {status}"
        if status < 0:
            how = f"was killed by {signal.Signals(-status).name}"
        text = f"the process that separated it {how}"
        if status == -signal.SIGKILL:
            text += ": if that was nobody, the machine has too little memory"
        return text

    def dismiss(self) -> None:
        """Ask it to end at once, tidily; `end` waits for that."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def end(self) -> None:
        """Let it end, and see to it."""
        self.dismiss()
        try:
            self._process.wait(_OWNERS_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()


def end_all(coworkers: Collection[Coworker]) -> None:
    """Ask all to end at once, then wait for each."""
    for one in coworkers:
        one.dismiss()
    for one in coworkers:
        one.end()


def serve(work: Callable[[Callable[[], Message | None], Answer], None]) -> int:
    """Be such a process: `work` gets what gives the next request, and what answers.

    The next request is None when there is none any more.
    """
    heap.keep_small()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints must not talk into the answers
    signal.signal(signal.SIGTERM, _leave)
    requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()

    def answer(message: Message) -> None:
        answers.write(json.dumps(message).encode() + b"\n")

    try:
        with contextlib.suppress(BrokenPipeError):  # whoever asked has ended
            work(requests.get, answer)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it has been obeyed
    return 0


def _leave(_: int, __: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _read(requests: queue.SimpleQueue[Message | None]) -> None:
    """Hand on what comes in; at its end see to it that this process ends."""
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    requests.put(None)
    threading.Event().wait(0.1)  # an idle process ends by itself
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(PATIENCE_S)
    os._exit(1)
