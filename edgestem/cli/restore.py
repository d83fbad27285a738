"""`edgestem restore`: the stems that a catalogue did not keep."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable

from edgestem.cli import interrupts
from edgestem.cli.console import complain, put, say
from edgestem.cli.values import filled

_RESTORE = """\
Writes the stem that `edgestem batch --keep` left out: the song minus the kept stem,
to the bit.  A song is refused if its file, or what the decoder makes of it, has
changed, and if the kept stem is lossy.
"""
_EXAMPLES = """\
examples:
  edgestem restore Stems/Album/Song
  edgestem restore Stems --source /mnt/songs

exit status of restore: 0 all done; 3 some songs failed, and another run may mend at
least one; 4 the disk is full; 5 another run would end the same way
"""
Parser = argparse.ArgumentParser


def add_parser(command: Callable[..., Parser]) -> None:
    """Add the command to the command line."""
    text = "make the stem that a catalogue did not keep"
    parser = command("restore", text, _RESTORE, _EXAMPLES)
    add = parser.add_argument
    add("folders", nargs="+", type=filled, metavar="DIR",
        help="a song's folder in a catalogue, or many below it")  # fmt: skip
    add("--source", type=filled, metavar="SRC",
        help="the folder of the songs, as batch had it (default: where they "
        "were)")  # fmt: skip
    add("--json", action="store_true", help="print one JSON object a song")


def run(args: argparse.Namespace) -> int:
    """Do the command; return the exit status."""
    from edgestem.catalogue.failure import AGAIN, FULL
    from edgestem.catalogue.restore import folders
    from edgestem.catalogue.run import ALL_DONE, DISK_FULL, SOME_FAILED, USELESS

    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for root in args.folders:
        found = list(folders(root))
        for folder in found or [root]:
            interrupts.check()
            state, kind = _restore(args, folder)
            counts[state] += 1
            kinds[kind] += 1
            if kind == FULL:
                return DISK_FULL
    said = ", ".join(f"{n} {word}" for word, n in counts.items())
    if not args.quiet:
        say(said)
    if kinds[AGAIN]:
        return SOME_FAILED
    return USELESS if counts["failed"] else ALL_DONE


def _restore(args: argparse.Namespace, folder: str) -> tuple[str, str]:
    """Do one song; return what became of it, and the kind of its failure."""
    from edgestem.catalogue.failure import Failure
    from edgestem.catalogue.restore import restore

    try:
        state, kind = restore(folder, args.source), ""
    except Exception as cause:  # the others are still to be done
        interrupts.check()
        if args.debug:
            raise
        failure = Failure.of(cause)
        state, kind = "failed", failure.kind
        complain("error", failure.text, failure.code)
        if args.json:
            error = {"code": failure.code, "text": failure.text}
            put(json.dumps({"folder": folder, "state": state, "error": error}))
    else:
        if args.json:
            put(json.dumps({"folder": folder, "state": state}))
    return state, kind
