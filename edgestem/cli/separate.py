"""`edgestem separate`: one song, or a batch that goes on whatever a song does."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestem.cli import interrupts
from edgestem.cli.console import check_stdout, complain, put, say
from edgestem.cli.hardware import make_compute
from edgestem.cli.progress import Progress, clock
from edgestem.cli.separate_words import make_naming, make_output
from edgestem.cli.world import as_error, bug
from edgestem.errors import AudioError, EdgestemError
from edgestem.files.batch import Plan, Task, check_song, plan
from edgestem.network.choices import DEFAULT
from edgestem.sound.formats import target_paths

if TYPE_CHECKING:
    from edgestem.client.files import RemoteSeparator
    from edgestem.files.output import FileReport, Output
    from edgestem.files.separate import FileSeparator

    Separator = FileSeparator | RemoteSeparator


def run(args: argparse.Namespace) -> int:
    """Do the command; return the exit status.

    Raises
    ------
    UsageError
        The options contradict each other.
    EdgestemError
        Nothing can be done at all.
    """
    output = make_output(args)
    if args.out == "-":
        check_stdout()
        _to_stdout(args, output)
        return 0
    naming = make_naming(args, output)
    return Batch(args, output, plan(args.paths, Path(args.out), naming)).run()


def _to_stdout(args: argparse.Namespace, output: Output) -> None:
    path = args.paths[0]
    check_song(path)
    progress = Progress([0], is_quiet=args.quiet)
    progress.begin(Path(path).name)
    try:
        separator = _separator(args, output)
        report = separator.to_stream(path, sys.stdout.buffer, progress.update)
    finally:
        progress.end(is_done=True)
    _tell(args, report)


class Batch:
    """Songs one after the other, and what became of them."""

    def __init__(self, args: argparse.Namespace, output: Output, made: Plan) -> None:
        self._args, self._output, self._plan = args, output, made
        self._separator: Separator | None = None
        self._counts: Counter[str] = Counter(failed=len(made.problems))
        self._progress = Progress([t.size for t in made.tasks], is_quiet=args.quiet)

    def run(self) -> int:
        """Do all that can be done; return the exit status."""
        for note in self._plan.notes:
            complain("warning", note)
        for problem in self._plan.problems:
            self._fail(problem.path, problem)
        if any(_is_song(task) for task in self._plan.tasks):  # else nothing is loaded
            self._separator = _separator(self._args, self._output)
        for task in self._plan.tasks:
            self._progress.begin(Path(task.path).name)
            self._counts[self._do(task)] += 1
        self._sum_up()
        return 1 if self._counts["failed"] else 0

    def _do(self, task: Task) -> str:
        """Do one song; return "separated", "skipped" or "failed"."""
        report: FileReport | None = None
        error: EdgestemError | None = None
        try:
            check_song(task.path)
            if not (self._args.skip_existing and self._is_there(task)):
                report = self._separate(task)
        except Exception as cause:  # whatever it is: the others are still to be done
            interrupts.check()
            if self._args.debug:
                raise
            error = as_error(cause) or bug(cause)
            if not isinstance(cause, AudioError):
                self._separator = None  # it may be broken, and so may its daemon
        finally:
            self._progress.end(is_done=report is not None)
        if error is not None:
            self._fail(task.path, error)
            return "failed"
        if report is None:
            self._skip(task)
            return "skipped"
        _tell(self._args, report)
        return "separated"

    def _separate(self, task: Task) -> FileReport:
        if self._separator is None:
            self._separator = _separator(self._args, self._output)
        update = self._progress.update
        return self._separator.to_files(task.path, self._targets(task), update)

    def _targets(self, task: Task) -> dict[str, Path]:
        o = self._output
        return task.targets or target_paths(task.folder, o.stems, o.file_format)

    def _is_there(self, task: Task) -> bool:
        return all(target.is_file() for target in self._targets(task).values())

    def _skip(self, task: Task) -> None:
        if self._args.json:
            outputs = {name: str(path) for name, path in self._targets(task).items()}
            put(json.dumps({"input": task.path, "skipped": True, "outputs": outputs}))
        if self._args.verbose:
            _say(self._args, f"{task.path}: skipped, {task.folder} has its stems")

    def _fail(self, path: str, error: EdgestemError) -> None:
        complain("error", str(error), error.code)
        if self._args.json:
            found = {"code": error.code, "text": str(error)}
            put(json.dumps({"input": path, "error": found}))

    def _sum_up(self) -> None:
        """Count at the end what became of all songs."""
        words = ("separated", "skipped", "failed")
        counts = {word: self._counts[word] for word in words}
        found = self._plan.found
        if found is not None:
            self._list_left_out()
            if self._args.json:
                summary: dict[str, Any] = counts | {"left_out": found.counts()}
                put(json.dumps({"summary": summary}))
        said = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
        parts = [said] if sum(counts.values()) > 1 or counts["skipped"] else []
        parts += [found.sentence()] if found is not None else []
        if text := "; ".join(part for part in parts if part):
            _say(self._args, text)

    def _list_left_out(self) -> None:
        """Warn of what may be a song; with --verbose name the rest."""
        assert self._plan.found is not None
        for reason, path in self._plan.found.left_out:
            if reason == "no_file":
                complain("warning", f"{path} is a pipe or a device: it was left out")
            elif reason == "link":
                complain("warning", f"{path} is a link that leads nowhere or back")
            elif self._args.verbose:
                _say(self._args, f"{path}: not looked at ({reason})")


def _is_song(task: Task) -> bool:
    with contextlib.suppress(AudioError):
        check_song(task.path)
        return True
    return False


def _separator(args: argparse.Namespace, output: Output) -> Separator:
    """Separate here, or let the daemon do it."""
    if args.socket is None:
        from edgestem.files.separate import FileSeparator

        return FileSeparator(output, args.model or DEFAULT, make_compute(args))
    from edgestem.client.files import RemoteSeparator

    return RemoteSeparator(output, args.socket, args.model or "")


def _tell(args: argparse.Namespace, report: FileReport) -> None:
    for sentence in report.warnings:
        complain("warning", sentence)
    if args.json:
        put(json.dumps(report.to_json()))
    speed = f", {1 / report.rtf:.1f} x real time" if report.rtf else ""
    where = ", ".join(report.outputs.values())
    done = f"{clock(report.seconds)} in {report.elapsed:.1f} s{speed}"
    _say(args, f"{report.input} -> {where} ({done})")


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        say(text)
