"""The command line; the only place that prints.

Results go to stdout (`--json`, `-o -`), everything else to stderr.  Exit status:
0 all done, 1 something failed, 2 the command line makes no sense, 130 Ctrl-C,
143 terminated, 141 the reader of a pipe has gone.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgestem.arguments import UsageError, make_options, make_parser
from edgestem.errors import AudioError, EdgestemError

if TYPE_CHECKING:
    from edgestem.audio import FileSeparator
    from edgestem.batch import Task
    from edgestem.job import FileReport
    from edgestem.progress import ProgressBar
    from edgestem.remote import RemoteSeparator


class _Stop(BaseException):
    """A signal asks to end."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    _prepare_streams()
    with _signals(), _warnings():
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    is_debug = "--debug" in (sys.argv if argv is None else argv)
    try:
        args = make_parser().parse_args(argv)
        status = _COMMANDS[args.command](args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        _complain("error", "interrupted", "interrupted")
        return 130
    except _Stop as stop:
        return 128 + int(stop.args[0])
    except BrokenPipeError:
        # Python would complain when it flushes stdout at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except Exception as error:
        if is_debug:
            raise
        return _fail(error)


def _fail(error: Exception) -> int:
    """Report what ended the run."""
    if isinstance(error, UsageError):
        _complain("error", str(error), "usage")
        return 2
    if isinstance(error, EdgestemError):
        _complain("error", str(error), error.code)
    else:
        what = f"{type(error).__name__}: {error}"
        _complain("error", f"a bug, {what}; --debug shows where", "internal")
    return 1


def _complain(kind: str, text: str, code: str = "") -> None:
    tail = f" [{code}]" if code else ""
    start = "\r\033[K" if sys.stderr.isatty() else ""  # over a progress bar
    line = f"{start}edgestem: {kind}: {_one_line(text)}{tail}"
    print(line, file=sys.stderr, flush=True)


def _one_line(text: str) -> str:
    """Escape what would break a line or a terminal: file names hold anything."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _prepare_streams() -> None:
    """Let file names be any bytes; replace streams that the parent closed.

    Otherwise the next open file, a stem perhaps, would be "stderr".
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """End tidily; what the parent chose to ignore (nohup) stays ignored.

    A program that calls `main` gets its handlers back, also those that the
    daemon replaced; in another thread than its main one they stay untouched.
    """

    def stop(number: int, _: object) -> None:
        raise _Stop(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if before[number] == signal.SIG_DFL:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # not Python's: it cannot be put back
                signal.signal(number, handler)


@contextlib.contextmanager
def _warnings() -> Iterator[None]:
    """Write warnings as every other message; afterwards as the caller had it."""
    before = warnings.showwarning
    warnings.showwarning = lambda message, *_: _complain("warning", str(message))
    try:
        yield
    finally:
        warnings.showwarning = before


def _separate(args: argparse.Namespace) -> int:
    from edgestem.batch import plan

    separator = _separator(args)
    if args.out == "-":
        return _separate_to_stdout(args, separator)
    tasks, problems = plan(args.paths, Path(args.out))
    for problem in problems:
        _report_error(args, problem.path, problem)
    n_failed = len(problems)
    for number, task in enumerate(tasks, 1):
        count = f"{number}/{len(tasks)} " if len(tasks) > 1 else ""
        n_failed += not _separate_one(args, separator, task, count)
    n_all = len(tasks) + len(problems)
    if n_failed and n_all > 1:
        _say(args, f"{n_failed} of {n_all} were not separated")
    return 1 if n_failed else 0


def _separator(args: argparse.Namespace) -> FileSeparator | RemoteSeparator:
    """Separate here, or let the daemon do it."""
    options = make_options(args)
    if args.socket is None:
        from edgestem.audio import FileSeparator

        return FileSeparator(options)
    from edgestem.remote import RemoteSeparator

    # The default of --model is a local run's; the daemon has its own.
    model = args.model if args.model != "karaoke" else ""
    return RemoteSeparator(options, args.socket, model)


def _separate_to_stdout(
    args: argparse.Namespace, separator: FileSeparator | RemoteSeparator
) -> int:
    path = args.paths[0]
    bar = _progress(args, Path(path).name)
    try:
        update = bar.update if bar else None
        report = separator.to_stream(path, sys.stdout.buffer, update)
    finally:
        if bar:
            bar.clear()
    _report(args, report)
    return 0


def _separate_one(
    args: argparse.Namespace,
    separator: FileSeparator | RemoteSeparator,
    task: Task,
    count: str,
) -> bool:
    """Do one song of a batch; its failure does not end the others."""
    bar = _progress(args, count + Path(task.path).name)
    try:
        update = bar.update if bar else None
        report = separator.to_folder(task.path, task.folder, update)
    except EdgestemError as error:
        if args.debug:
            raise
        if bar:
            bar.clear()
        _report_error(args, task.path, error)
        return False
    finally:
        if bar:
            bar.clear()
    _report(args, report)
    return True


def _progress(args: argparse.Namespace, label: str) -> ProgressBar | None:
    if args.quiet or not sys.stderr.isatty():
        return None
    from edgestem.progress import ProgressBar

    return ProgressBar(sys.stderr, _one_line(label))


def _report(args: argparse.Namespace, report: FileReport) -> None:
    for sentence in report.warnings:
        _complain("warning", sentence)
    if args.json:
        print(json.dumps(report.to_json()), flush=True)
    from edgestem.progress import clock

    speed = f", {1 / report.rtf:.1f} x real time" if report.rtf else ""
    where = ", ".join(report.outputs.values())
    done = f"{clock(report.seconds)} in {report.elapsed:.1f} s{speed}"
    _say(args, f"{report.input} -> {where} ({done})")


def _report_error(args: argparse.Namespace, path: str, error: EdgestemError) -> None:
    _complain("error", str(error), error.code)
    if args.json:
        found = {"code": error.code, "text": str(error)}
        print(json.dumps({"input": path, "error": found}), flush=True)


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        print(_one_line(text), file=sys.stderr, flush=True)


def _verify(args: argparse.Namespace) -> int:
    from edgestem.verify import NOTHING_COMPARED, verify

    try:
        found = verify(args.dir, args.song)
    except AudioError as error:
        if error.code == "stems_differ":
            raise
        _complain("error", str(error), error.code)
        return NOTHING_COMPARED
    if args.json:
        print(json.dumps(found.to_json()))
    else:
        print(_one_line(str(found)))
    return 0 if found.is_exact else 1


def _info(args: argparse.Namespace) -> int:
    from edgestem.info import collect, to_lines

    found = collect()
    print(json.dumps(found) if args.json else "\n".join(to_lines(found)))
    return 0


def _hardware(args: argparse.Namespace) -> int:
    from edgestem.hardware import run

    text, status = run(args)
    print(text)
    return status


def _stream(args: argparse.Namespace) -> int:
    from edgestem.stream_cli import StreamUsage, run

    try:
        run(args, lambda text: _say(args, text))
    except StreamUsage as error:
        raise UsageError(str(error)) from error
    return 0


def _serve(args: argparse.Namespace) -> int:
    from edgestem.daemon_cli import serve

    if text := serve(args):
        print(text)
    return 0


def _client(args: argparse.Namespace) -> int:
    from edgestem.daemon_cli import client

    for line in client(args):
        print(_one_line(line), flush=True)
    return 0


_COMMANDS = {"separate": _separate, "verify": _verify, "info": _info}
_COMMANDS |= {"stream": _stream, "serve": _serve, "client": _client}
_COMMANDS |= dict.fromkeys(("devices", "doctor", "bench", "lint"), _hardware)
