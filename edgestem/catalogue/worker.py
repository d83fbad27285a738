"""The process that separates songs: `python -m edgestem.catalogue.worker`.

Lines of JSON come in on stdin and go out on stdout.  The first one says what is asked
for, the answer what that means on this machine; each line after that is a song, and
its answer says what became of it.  The process ends when stdin does, also in the
middle of a song: whoever started it has ended, and may have been killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from typing import Any, BinaryIO

from edgestem.catalogue.claim import LOST, Claims, myself
from edgestem.catalogue.failure import Failure
from edgestem.catalogue.identity import Recipe, described, identity
from edgestem.catalogue.publish import BUSY, Outcome, Publisher
from edgestem.errors import EdgestemError

PATIENCE_S = 4.0  # for tidying up; then the process is gone
Message = dict[str, Any]


def main() -> int:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints must not talk into the answers
    signal.signal(signal.SIGTERM, _leave)
    requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    try:
        with contextlib.suppress(BrokenPipeError):  # whoever asked has ended
            _serve(requests, answers)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it has been obeyed
    return 0


def _serve(requests: queue.SimpleQueue[Message | None], answers: BinaryIO) -> None:
    first = requests.get()
    publisher = None if first is None else _greet(first, answers)
    while publisher is not None and (song := requests.get()) is not None:
        _put(answers, _do(publisher, song))


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


def _greet(first: Message, answers: BinaryIO) -> Publisher | None:
    """Get ready, and say what for; or say why not."""
    try:
        recipe = Recipe.from_json(first["recipe"])
        known = identity(recipe)
        claims = Claims(
            first["store"],
            first["token"],
            lease_s=first["lease_s"],
            is_alone=first["is_alone"],
        )
        publisher = Publisher(
            *(first["out"], recipe, known, claims),
            host=first["host"],
        )
    except (EdgestemError, OSError, ValueError) as cause:
        _put(answers, {"failed": _words(Failure.of(cause))})
        return None
    _put(answers, {"ready": described(known), **myself()})
    return publisher


def _do(publisher: Publisher, song: Message) -> Message:
    try:
        outcome = publisher.publish(
            song["source"], song["name"], song["folder"], redo=song["redo"]
        )
    except Exception as cause:  # the roof: the other songs are still to be done
        if getattr(cause, "code", "") == LOST:
            outcome = Outcome(BUSY, {})
        else:
            return {"failed": _words(Failure.of(cause))}
    return {"state": outcome.state, **_short(outcome.receipt)}


def _short(receipt: Message) -> Message:
    """Keep of a receipt what a run sums up."""
    if not receipt:
        return {}
    decoded = receipt["decoded"]
    return {
        "audio_s": decoded["samples"] / decoded["sample_rate"],
        "seconds": receipt["seconds"],
        "host": receipt["host"],
        "warnings": receipt["warnings"],
    }


def _words(failure: Failure) -> Message:
    return {"code": failure.code, "text": failure.text, "kind": failure.kind}


def _put(answers: BinaryIO, message: Message) -> None:
    answers.write(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
