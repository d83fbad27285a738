"""`edgestem batch`: a catalogue, each song published once; and how far it is."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestem.cli import interrupts
from edgestem.cli.console import complain, put, say, tell
from edgestem.cli.hardware import RUNTIMES, add_model_option
from edgestem.cli.progress import clock
from edgestem.cli.usage import UsageError
from edgestem.cli.values import filled, real, whole
from edgestem.network.choices import DEFAULT
from edgestem.sound.formats import CONTAINERS, SUBTYPES
from edgestem.stems import STEMS

if TYPE_CHECKING:
    from edgestem.catalogue.ledger import Result
    from edgestem.catalogue.run import Run, Settings

_BATCH = """\
Separates every song of a list once, even if a process dies in between.  A song is
done when its folder holds a receipt, edgestem.json, which is written last.  The
receipt names the digests of the song and of its decoded samples, the model, the
runtime, the options, and each output with its size and digest.  Run the same command
again to go on.

Failed songs are listed in OUT/failed.jsonl with code, sentence, host and attempts.
Failures that may pass (a disk that fails for a moment, a killed process) are tried
again.  Songs that were done with another model, runtime or options are counted and
stay as they are; --redo does them again.
"""
_EXAMPLES = """\
examples:
  edgestem batch Albums -o Stems --jobs 4 --format flac
  edgestem batch Albums -o Stems --keep instrumental
  edgestem batch Albums -o Stems --shard 3/10
  edgestem batch /mnt/songs -o /mnt/stems --claim
  edgestem batch Albums -o Stems --status
  edgestem batch Albums -o Stems --only-failed

"""
_STATUSES = """\
exit status of batch: 0 all done; 3 some songs failed, and another run may mend at
least one; 4 the disk is full; 5 another run would end the same way (damaged songs, no
model, songs that want --redo); 1, 2, 129, 130, 143 as for every command
"""
_MAX_JOBS = 512
_DRAW_S, _LINE_S = 0.2, 25.0  # between two lines on a terminal, and in a log
Parser = argparse.ArgumentParser


def add_parser(command: Callable[..., Parser]) -> None:
    """Add the command to the command line."""
    text = "separate a catalogue: each song once, with a receipt"
    parser = command("batch", text, _BATCH, _EXAMPLES + _STATUSES)
    add = parser.add_argument
    add("paths", nargs="+", type=filled, metavar="SRC", help="songs and folders")
    add("-o", "--output", dest="out", type=filled, required=True, metavar="OUT",
        help="folder of the catalogue")  # fmt: skip
    add("--jobs", type=whole(1, _MAX_JOBS), default=1, metavar="N",
        help="processes, each with one thread and the model (default: 1)")  # fmt: skip
    add("--keep", choices=STEMS,
        help="write only this stem; edgestem restore makes the other one")  # fmt: skip
    add("--format", choices=CONTAINERS, default="wav", help="default: wav")
    add("--subtype", choices=SUBTYPES, default="keep",
        help="sample format of wav and flac (default: keep the song's)")  # fmt: skip
    add("--retries", type=whole(0, 100), default=3, metavar="N",
        help="times that what may pass is tried again (default: 3)")  # fmt: skip
    add("--dask", metavar="ADDRESS",
        help="let the workers of a Dask scheduler do it: tcp://HOST:8786 (needs "
        "Dask's distributed, here and there)")  # fmt: skip
    _add_choices(parser)
    add_model_option(parser)
    add("--runtime", choices=RUNTIMES,
        help="TFLite runtime (default: the fastest installed)")  # fmt: skip
    add("--device", default="cpu",
        help="where the network runs (default: cpu, whose bits are the same "
        "everywhere)")  # fmt: skip
    add("--json", action="store_true",
        help="print one JSON object a song, and a summary")  # fmt: skip


def _add_choices(parser: Parser) -> None:
    """Add what a run may do instead of all that is to be done."""
    add = parser.add_argument
    add("--redo", action="store_true",
        help="replace what another model, runtime or options made")  # fmt: skip
    add("--only-failed", action="store_true",
        help="try the songs on the lists of failures, and no others")  # fmt: skip
    add("--shard", metavar="I/N",
        help="only the songs whose names fall to shard I (from 0) of N; array/N or "
        "array: I, or both, from Slurm, Kubernetes or AWS Batch")  # fmt: skip
    add("--claim", action="store_true",
        help="other machines work on the same list in the same folder")  # fmt: skip
    add("--lease", type=real(1, 86400), metavar="S",
        help="with --claim: take over what a machine has not touched for S seconds "
        "(default: 600)")  # fmt: skip
    add("--status", action="store_true", help="say how far it is, and do nothing")
    add("--verify", action="store_true",
        help="read published songs again and compare digests")  # fmt: skip
    add("--sample", type=whole(1, 1 << 30), metavar="N",
        help="with --verify: only N songs, by chance")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Do the command; return the exit status.

    Raises
    ------
    UsageError
        The options contradict each other.
    """
    from edgestem.catalogue.run import USELESS, Run
    from edgestem.cli.receipts import status, verify
    from edgestem.errors import ModelError

    _check(args)
    settings = make_settings(args)
    try:
        if args.status:
            return status(args, settings)
        if args.verify:
            return verify(args, settings)
        found = Run(settings, lambda text: complain("warning", text))
    except ModelError as error:
        complain("error", str(error), error.code)
        return USELESS
    return Batch(args, found).run()


def _check(args: argparse.Namespace) -> None:
    if args.sample and not args.verify:
        raise UsageError("--sample belongs to --verify")
    if args.verify and args.status:
        raise UsageError("--status and --verify: choose one")
    if args.dask and args.jobs > 1:
        raise UsageError("--jobs is for this machine: --dask has its own workers")
    if args.lease and not args.claim:
        raise UsageError("--lease belongs to --claim")


def make_settings(args: argparse.Namespace) -> Settings:
    """Turn arguments into settings.

    Raises
    ------
    UsageError
        They contradict each other.
    """
    from edgestem.catalogue.claim import LEASE_S
    from edgestem.catalogue.identity import Recipe
    from edgestem.catalogue.run import Settings

    shard = _shard(args.shard) if args.shard else None
    recipe = Recipe(
        stems=(args.keep,) if args.keep else STEMS,
        file_format=args.format,
        subtype=args.subtype,
        model=args.model or DEFAULT,
        runtime=args.runtime,
        device=args.device,
    )
    return Settings(
        paths=tuple(args.paths),
        out=Path(args.out),
        recipe=recipe,
        n_jobs=args.jobs,
        retries=args.retries,
        is_redone=args.redo,
        only_failed=args.only_failed,
        shard=shard,
        is_shared=args.claim,
        lease_s=args.lease or LEASE_S,
        scheduler=args.dask or "",
    )


def _shard(text: str) -> tuple[int, int]:
    from edgestem.catalogue.shard import shard

    try:
        return shard(text, os.environ)
    except ValueError as cause:
        raise UsageError(f"--shard: {cause}") from cause


class Batch:
    """A run as a person, or a program behind a pipe, sees it."""

    def __init__(self, args: argparse.Namespace, found: Run) -> None:
        self._args, self._run = args, found
        self._is_terminal = sys.stderr.isatty()
        self._started = time.monotonic()
        self._next = self._started
        self._n_ended = 0

    def run(self) -> int:
        """Do all that can be done; return the exit status."""
        self._say(self._run.plan())
        if stale := self._run.stale():
            complain("warning", stale)
        if other := self._run.other_count():
            complain("warning", f"this catalogue was begun with {other} shards")
        for problem in self._run.listing.problems:
            complain("error", str(problem), problem.code)
        for result in self._run.work():
            interrupts.check()
            self._n_ended += 1
            self._tell(result)
            self._draw()
        self._sum_up()
        return self._run.status

    def _tell(self, result: Result) -> None:
        """Say what became of a song."""
        failure = result.failure
        if failure is not None:
            tries = f" ({result.attempts} attempts)" if result.attempts > 1 else ""
            text = f"{result.song.name}: {failure.text}{tries}"
            complain("error", text, failure.code)
        for sentence in result.answer.get("warnings", ()) if failure is None else ():
            complain("warning", sentence)
        if self._args.json:
            put(json.dumps(_words(result)))
        if self._args.verbose and failure is None:
            self._say(f"{result.song.name}: {result.state}")

    def _draw(self) -> None:
        """Show, now and then, how far it is."""
        now = time.monotonic()
        if self._args.quiet or now < self._next:
            return
        is_first = self._next == self._started
        self._next = now + (_DRAW_S if self._is_terminal else _LINE_S)
        n, n_all = self._n_ended, self._run.n_to_do
        left = clock((now - self._started) / n * (n_all - n))
        text = f"edgestem: {n} of {n_all} songs, {self._run.counts['failed']} failed, "
        if self._is_terminal:
            tell(f"\r\033[K{text}{left} left")
        elif not is_first:
            say(f"{text}{left} left")

    def _sum_up(self) -> None:
        found = self._run.summary()
        if self._is_terminal and not self._args.quiet:
            tell("\r\033[K")
        if self._args.json:
            put(json.dumps({"summary": found}))
        stopped = self._run.stopped_by
        if stopped is not None:
            complain("error", f"stopped: {stopped.text}", stopped.code)
        words = ("done", "done_before", "stale", "failed", "not_tried")
        parts = [f"{found[w]} {w.replace('_', ' ')}" for w in words if found[w]]
        elapsed = time.monotonic() - self._started
        if found["done"]:
            parts.append(f"{clock(found['audio_s'])} of sound in {clock(elapsed)}")
        self._say("; ".join([", ".join(parts), *self._left_out()]))

    def _left_out(self) -> list[str]:
        return [self._run.listing.left_out] if self._run.listing.left_out else []

    def _say(self, text: str) -> None:
        if not self._args.quiet:
            say(text)


def _words(result: Result) -> dict[str, Any]:
    """Give what `--json` prints of a song."""
    words: dict[str, Any] = {"song": result.song.name, "folder": result.song.folder}
    words |= {"state": result.state, "attempts": result.attempts}
    if result.failure is not None:
        error = {"code": result.failure.code, "text": result.failure.text}
        return words | {"error": error, "kind": result.failure.kind}
    return words | dict(result.answer)
