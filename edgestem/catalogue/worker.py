"""The process that separates songs: `python -m edgestem.catalogue.worker`.

Lines of JSON come in on stdin and go out on stdout.  The first one says what is asked
for, the answer what that means on this machine; each line after that is a song, and
its answer says what became of it.  The process ends when stdin does, also in the
middle of a song: whoever started it has ended, and may have been killed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from edgestem.catalogue.claim import LOST, Claims, myself
from edgestem.catalogue.failure import Failure
from edgestem.catalogue.identity import Recipe, described, identity
from edgestem.catalogue.publish import BUSY, Outcome, Publisher
from edgestem.errors import EdgestemError
from edgestem.files.coworker import Answer, Message, serve


def main() -> int:
    """Serve until stdin ends."""
    return serve(_work)


def _work(request: Callable[[], Message | None], answer: Answer) -> None:
    first = request()
    publisher = None if first is None else _greet(first, answer)
    while publisher is not None and (song := request()) is not None:
        answer(_do(publisher, song))


def _greet(first: Message, answer: Answer) -> Publisher | None:
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
        answer({"failed": _words(Failure.of(cause))})
        return None
    answer({"ready": described(known), **myself()})
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


if __name__ == "__main__":
    sys.exit(main())
