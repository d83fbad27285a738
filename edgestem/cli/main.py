"""The command line: what a command is, and what its end means.

Results go to stdout (`--json`, `-o -`), everything else to stderr.  Exit status:
0 all done, 1 something failed, 2 the command line makes no sense, 130 Ctrl-C,
143 terminated, 129 hung up, 141 the reader of stdout has gone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence

from edgestem.cli import console, interrupts
from edgestem.cli.console import complain, put, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    console.prepare()
    words = list(sys.argv[1:] if argv is None else argv)
    with interrupts.handled(), _warnings():
        return console.finish(_run(words))


def _run(argv: Sequence[str]) -> int:
    try:
        from edgestem.cli.words import parse

        args = parse(argv)
        status = _COMMANDS[args.command](args)
        interrupts.check()
        return status
    except BaseException as error:  # the roof: every end has its status
        status_or_none = _ending(error)
        if status_or_none is not None:
            return status_or_none
        if not isinstance(error, Exception) or "--debug" in argv:
            raise
        return _fail(error)


def _ending(error: BaseException) -> int | None:
    """Exit status of an end that is no failure; None: it is one."""
    number = interrupts.asked()
    if isinstance(error, KeyboardInterrupt):
        number = signal.SIGINT
    if number:  # whatever a signal became on its way here
        if number == signal.SIGINT:
            complain("error", interrupts.SENTENCE, "interrupted")
        return 128 + number
    if isinstance(error, SystemExit):  # --help, --version
        return int(error.code or 0)
    if isinstance(error, BrokenPipeError) and console.stdout_reader_is_gone():
        return 128 + signal.SIGPIPE
    return None


def _fail(error: Exception) -> int:
    """Report what ended the run."""
    from edgestem.cli.usage import UsageError
    from edgestem.cli.world import as_error, bug

    if isinstance(error, UsageError):
        complain("error", str(error), "usage")
        return 2
    found = as_error(error) or bug(error)
    complain("error", str(found), found.code)
    return 1


@contextlib.contextmanager
def _warnings() -> Iterator[None]:
    """Write warnings as every other message; afterwards as the caller had it."""
    before = warnings.showwarning
    warnings.showwarning = lambda message, *_: complain("warning", str(message))
    try:
        yield
    finally:
        warnings.showwarning = before


def _separate(args: argparse.Namespace) -> int:
    from edgestem.cli.separate import run

    return run(args)


def _batch(args: argparse.Namespace) -> int:
    from edgestem.cli.batch import run

    return run(args)


def _restore(args: argparse.Namespace) -> int:
    from edgestem.cli.restore import run

    return run(args)


def _verify(args: argparse.Namespace) -> int:
    from edgestem.errors import AudioError
    from edgestem.files.verify import verify

    try:
        found = verify(args.dir, args.song)
    except AudioError as error:
        complain("error", str(error), error.code)
        return 1 if error.code == "stems_differ" else 3
    for sentence in found.warnings:
        complain("warning", sentence)
    put(json.dumps(found.to_json()) if args.json else console.one_line(str(found)))
    return 0 if found.is_exact else 1


def _info(args: argparse.Namespace) -> int:
    from edgestem.diagnose.info import collect, to_lines

    found = collect()
    lines = to_lines(found, is_verbose=args.verbose)
    put(json.dumps(found) if args.json else "\n".join(lines))
    return 0


def _hardware(args: argparse.Namespace) -> int:
    from edgestem.cli.hardware import run

    text, status = run(args)
    put(text)
    return status


def _stream(args: argparse.Namespace) -> int:
    from edgestem.cli.stream import run

    run(args, lambda text: None if args.quiet else say(text))
    return 0


def _play(args: argparse.Namespace) -> int:
    from edgestem.cli.play import run

    return run(args, lambda text: None if args.quiet else say(text), put)


def _serve(args: argparse.Namespace) -> int:
    from edgestem.cli.serve import serve

    if text := serve(args):
        put(text)
    return 0


def _client(args: argparse.Namespace) -> int:
    from edgestem.cli.serve import client

    for line in client(args):
        put(console.one_line(line))
    return 0


def _completion(args: argparse.Namespace) -> int:
    from edgestem.cli.completion import script
    from edgestem.cli.words import make_parser

    put(script(make_parser(), args.shell))
    return 0


def _export(args: argparse.Namespace) -> int:
    from edgestem.cli.export import run

    return run(args)


def _watch(args: argparse.Namespace) -> int:
    from edgestem.cli.watch import run

    return run(args)


def _activity(args: argparse.Namespace) -> int:
    from edgestem.cli.activity import run

    return run(args)


def _service(args: argparse.Namespace) -> int:
    from edgestem.cli.service import run

    for line in run(args, set(_COMMANDS)):
        put(line)
    return 0


_COMMANDS = {"separate": _separate, "verify": _verify, "info": _info}
_COMMANDS |= {"batch": _batch, "restore": _restore}
_COMMANDS |= {"stream": _stream, "serve": _serve, "client": _client}
_COMMANDS |= {"play": _play}
_COMMANDS |= {"completion": _completion, "export": _export, "watch": _watch}
_COMMANDS |= {"activity": _activity, "service": _service}
_COMMANDS |= dict.fromkeys(("devices", "doctor", "bench", "lint"), _hardware)
