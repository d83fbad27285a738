"""The words of the command line: every parser, and no work."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from edgestem.cli.activity import add_parser as add_activity_parser
from edgestem.cli.batch import add_parser as add_batch_parser
from edgestem.cli.completion import add_parser as add_completion_parser
from edgestem.cli.export import add_parser as add_export_parser
from edgestem.cli.hardware import add_parsers
from edgestem.cli.play_words import add_parser as add_play_parser
from edgestem.cli.restore import add_parser as add_restore_parser
from edgestem.cli.separate_words import add_parser as add_separate_parser
from edgestem.cli.serve import add_parsers as add_daemon_parsers
from edgestem.cli.service import add_parser as add_service_parser
from edgestem.cli.stream import add_parser as add_stream_parser
from edgestem.cli.usage import Parser
from edgestem.cli.values import filled
from edgestem.cli.watch import add_parser as add_watch_parser
from edgestem.version import __version__

STATUSES = """\
exit status: 0 all done; 1 something failed, and was said; 2 the command line makes
no sense; 130 Ctrl-C, 143 terminated, 129 hung up; 141 the reader of stdout has gone
"""
_Command = Callable[..., Parser]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line.

    Raises
    ------
    UsageError
        It makes no sense.
    SystemExit
        It asked for help or for the version, which was written.
    """
    args = make_parser().parse_args(argv)
    if args.command == "help":
        make_parser().parse_args([*args.words, "--help"])
    return args


def make_parser() -> Parser:
    """Make the parser; it raises UsageError."""
    parser = Parser(
        prog="edgestem",
        description="Two stems of a song, vocals and instrumental, on small boards.",
        epilog=STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # what is behind a command is the command's
    )
    version = f"edgestem {__version__}"
    parser.add_argument("-V", "--version", action="version", version=version)
    _add_common(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str, more: str = "", examples: str = "") -> Parser:
        made: Parser = commands.add_parser(
            name,
            help=text,
            description=more or text,
            epilog=f"{examples}\n{STATUSES}".lstrip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_common(made, argparse.SUPPRESS)
        return made

    add_separate_parser(command)
    add_batch_parser(command)
    add_restore_parser(command)
    add_export_parser(command)
    add_watch_parser(command)
    add_activity_parser(command)
    add_stream_parser(command)
    add_play_parser(command)
    _add_verify_and_info(command)
    add_parsers(command)
    add_daemon_parsers(command)
    add_service_parser(command)
    add_completion_parser(command)
    words = command("help", "explain a command").add_argument
    words("words", nargs="*", metavar="COMMAND", help="which one")
    return parser


def _add_common(parser: Parser, default: Any = False) -> None:
    """Add what may stand before the command and behind it."""
    add = parser.add_argument
    add("-q", "--quiet", action="store_true", default=default,
        help="only errors and warnings on stderr")  # fmt: skip
    add("-v", "--verbose", action="store_true", default=default, help="say more")
    add("--debug", action="store_true", default=default,
        help="show the traceback of an error")  # fmt: skip


_VERIFY = """\
Adds the stems of a song and compares the sum with it, to the bit; says what is damaged
in any of the files, and asks another decoder (ffmpeg) how long the song is.

Exit status: 0 it adds up, 1 it does not, 3 there is nothing to compare: stems are
missing, or a file cannot be read.
"""


def _add_verify_and_info(command: _Command) -> None:
    verify = command("verify", "check that the stems add up to the song", _VERIFY)
    verify.add_argument(
        "dir",
        type=filled,
        metavar="DIR",
        help="what separate had as -o, or the folder of the stems",
    )
    verify.add_argument(
        "song", type=filled, metavar="SONG", help="the song that was separated"
    )
    info = command("info", "print versions, back ends, models and figures")
    for parser in (verify, info):
        parser.add_argument("--json", action="store_true", help="print one JSON object")
