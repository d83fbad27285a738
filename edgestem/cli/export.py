"""`edgestem export`: a library into the layout that a karaoke program reads."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgestem.cli import interrupts
from edgestem.cli.console import complain, put, say
from edgestem.cli.library import add_library_options, make_layout, make_maker
from edgestem.cli.progress import Progress
from edgestem.cli.usage import UsageError
from edgestem.cli.values import filled, whole
from edgestem.cli.world import as_error
from edgestem.errors import AudioError, EdgestemError

if TYPE_CHECKING:
    from edgestem.karaoke.export import Export, Job
    from edgestem.karaoke.items import Library

Parser = argparse.ArgumentParser
MAX_JOBS = 512
_TAKES = {
    "ultrastar": "UltraStar texts (.txt) and their songs",
    "pikaraoke": "videos, MP3+G pairs and zips",
}
_EXPORT = """\
Separates what it finds and writes what a program reads:

  folders     DIR/<folders>/<song>/instrumental.mp3 and vocals.mp3
  flat        DIR/<song> (instrumental).mp3 and (vocals).mp3
  ultrastar   beside each text: [INSTR] and [VOC], and two lines in the text
  openhome    nonvocal/<file>.m4a and vocal/<file>.m4a, in the songs' folder
  pikaraoke   beside each video, MP3+G pair or zip: "<song> (Instrumental)"
  performous  DIR/<song>/song.ogg and vocals.ogg, which sum to the song; also yarg
  tracks      one MKV, MP4 or MKA with instrumental and original as titled tracks
  stems       .stem.mp4 for Mixxx and Traktor

Files that are not older than their song are skipped, so a second run does nothing.
Only files that edgestem made are replaced.  Pictures are copied, never encoded anew.
docs/karaoke.md says which layout fits which program.
"""
_EXAMPLES = """\
examples:
  edgestem export Songs --layout pikaraoke
  edgestem export Songs -o Stems --layout folders --format m4a
  edgestem export Songs --layout ultrastar          --undo takes it back
"""


def add_parser(command: Callable[..., Parser]) -> None:
    """Add the command."""
    text = "write a library as a karaoke program reads it"
    parser = command("export", text, _EXPORT, _EXAMPLES)
    parser.add_argument("paths", nargs="+", type=filled, metavar="FILE",
        help="songs, videos, zips, UltraStar texts, or folders of them")  # fmt: skip
    add_library_options(parser)
    add = parser.add_argument
    add("--force", action="store_true", help="make everything anew, replace all")
    add("--jobs", type=whole(1, MAX_JOBS), default=1, metavar="N",
        help="songs at once, each in a process of one thread (default: 1)")  # fmt: skip
    add("--undo", action="store_true",
        help="ultrastar: take out the lines and the files again")  # fmt: skip
    add("--json", action="store_true", help="print one JSON object an item to stdout")


def run(args: argparse.Namespace) -> int:
    """Do the command; return the exit status.

    Raises
    ------
    UsageError
        The options contradict each other.
    """
    from edgestem.karaoke.export import Export
    from edgestem.karaoke.items import find_items

    layout = make_layout(args)
    if args.jobs > 1 and args.socket is not None:
        raise UsageError("--jobs is for processes of this command, not for --socket")
    library = find_items(args.paths, Path(args.out or os.devnull))
    if args.undo:
        return _undo(args, library)
    export = Export(layout, make_maker(args), is_forced=args.force)
    return _Run(args, export, library).run()


class _Run:
    """Items one after the other, and what became of them."""

    def __init__(
        self, args: argparse.Namespace, export: Export, library: Library
    ) -> None:
        self._args, self._export, self._library = args, export, library
        self._counts: Counter[str] = Counter()

    def run(self) -> int:
        """Do all that can be done; return the exit status."""
        for problem in self._library.problems:
            self._fail(problem.path, problem)
        jobs = list(self._export.plan(self._library.items))
        n_jobs = len(jobs)
        waiting = [job for job in jobs if not job.is_done and job.problem is None]
        if self._args.jobs > 1 and len(waiting) > 1:
            self._share(waiting)
            jobs = [job for job in jobs if job.is_done or job.problem is not None]
        sizes = [job.item.path.stat().st_size for job in waiting]
        progress = Progress(sizes, is_quiet=self._args.quiet)
        for job in jobs:
            self._counts[self._do(job, progress)] += 1
        self._sum_up(n_jobs)
        return 1 if self._counts["failed"] else 0

    def _do(self, job: Job, progress: Progress) -> str:
        interrupts.check()
        path = str(job.item.path)
        if job.problem is not None:
            return self._fail(path, job.problem)
        if job.is_done:
            return self._tell(job, "skipped")
        progress.begin(job.item.path.name)
        error: EdgestemError | None = None
        warnings: list[str] = []
        try:
            warnings = self._export.write(job, progress.update)
        except Exception as cause:  # the others are still to be done
            interrupts.check()
            error = _as_error(cause, is_debug=self._args.debug)
        finally:
            progress.end(is_done=error is None)
        return self._end(job, warnings, error)

    def _share(self, jobs: list[Job]) -> None:
        """Let processes do it; each is told what became of it as it is ready."""
        from edgestem.cli.export_worker import export_all

        for job, warnings, error in export_all(self._args, jobs):
            interrupts.check()
            self._counts[self._end(job, warnings, error)] += 1

    def _end(self, job: Job, warnings: list[str], error: EdgestemError | None) -> str:
        if error is not None:
            return self._fail(str(job.item.path), error)
        return self._tell(job, "written", warnings)

    def _tell(self, job: Job, word: str, warnings: Sequence[str] = ()) -> str:
        for sentence in warnings:
            complain("warning", sentence)
        outputs = {label: str(path) for label, path in job.targets.items()}
        if self._args.json:
            found = {"input": str(job.item.path), word: True, "outputs": outputs}
            put(json.dumps(found | ({"warnings": warnings} if warnings else {})))
        if self._args.verbose or (word == "written" and not self._args.quiet):
            say(f"{job.item.path} -> {', '.join(outputs.values())} ({word})")
        return word

    def _fail(self, path: str, error: EdgestemError) -> str:
        complain("error", str(error), error.code)
        if self._args.json:
            found = {"code": error.code, "text": str(error)}
            put(json.dumps({"input": path, "error": found}))
        return "failed"

    def _sum_up(self, n_jobs: int) -> None:
        found = self._library
        self._counts["failed"] += len(found.problems)
        if n_jobs == 0 and not found.problems:
            layout = self._args.layout
            text = _nothing_for(layout)
            self._fail(self._args.paths[0], AudioError(text, code="no_audio"))
            self._counts["failed"] += 1
        counts = {word: self._counts[word] for word in ("written", "skipped", "failed")}
        said = [f"{n} {word}" for word, n in counts.items() if n]
        said += [f"{found.n_own} made by edgestem"] if found.n_own else []
        others = len(found.items) - n_jobs + found.n_left_out
        said += [f"{others} not for this layout"] if others else []
        if self._args.json:
            more = {"own": found.n_own, "others": others}
            put(json.dumps({"summary": counts | more}))
        if not self._args.quiet:
            say(", ".join(said))


def _nothing_for(layout: str) -> str:
    """Say what a layout takes, where it found nothing of that."""
    takes = _TAKES.get(layout, "songs and videos")
    way = "; for plain songs choose --layout flat" if layout in _TAKES else ""
    return f"nothing here is for --layout {layout}, which takes {takes}{way}"


def _as_error(cause: Exception, *, is_debug: bool) -> EdgestemError:
    from edgestem.cli.world import bug

    if is_debug:
        raise cause
    return as_error(cause) or bug(cause)


def _undo(args: argparse.Namespace, library: Library) -> int:
    """Take `ultrastar` back."""
    from edgestem.karaoke.items import TEXT
    from edgestem.karaoke.layouts.ultrastar import undo

    if args.layout != "ultrastar":
        raise UsageError(
            f"--undo is for ultrastar: what {args.layout} wrote can just be removed"
        )
    n_undone = n_failed = 0
    for item in library.items:
        if item.kind != TEXT:
            continue
        try:
            n_undone += undo(item.path)
        except Exception as cause:  # the others are still to be done
            interrupts.check()
            error = _as_error(cause, is_debug=args.debug)
            complain("error", str(error), error.code)
            n_failed += 1
    if args.json:
        put(json.dumps({"summary": {"undone": n_undone, "failed": n_failed}}))
    if not args.quiet:
        say(f"{n_undone} texts are as they were")
    return 1 if n_failed else 0
