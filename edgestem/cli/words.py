"""The words of the command line, and what they may not say together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgestem.cli.activity import add_parser as add_activity_parser
from edgestem.cli.batch import add_parser as add_batch_parser
from edgestem.cli.completion import add_parser as add_completion_parser
from edgestem.cli.export import add_parser as add_export_parser
from edgestem.cli.hardware import add_network_options, add_options, add_parsers
from edgestem.cli.play_words import add_parser as add_play_parser
from edgestem.cli.restore import add_parser as add_restore_parser
from edgestem.cli.serve import add_parsers as add_daemon_parsers
from edgestem.cli.service import add_parser as add_service_parser
from edgestem.cli.stream import add_parser as add_stream_parser
from edgestem.cli.usage import Parser, UsageError
from edgestem.cli.values import filled, level, whole
from edgestem.cli.watch import add_parser as add_watch_parser
from edgestem.files.batch import Naming
from edgestem.files.names import NameTemplate
from edgestem.files.output import SUBTYPES, Output
from edgestem.sound.containers import (
    ALL_CONTAINERS,
    BY_FFMPEG,
    LOSSY,
    MAX_BITRATE,
    MIN_BITRATE,
)
from edgestem.spectrum.spectral import available_backends
from edgestem.stems import MAX_DB, MIN_DB, MIX, STEMS
from edgestem.version import __version__

_SEPARATE = """\
DIR/<song>/vocals.wav and instrumental.wav have the song's length, sample rate,
channels and bit depth, and add up to it to the bit (floats: to the last place).
Lossy songs are decoded to 16 bits first.  Only wav, flac and alac keep every bit:
stems of the lossy formats do not add up exactly.  Stems keep the song's tags and cover.

Reads what libsndfile reads (wav, flac, mp3, ogg, opus, aiff ...) and, where ffmpeg
is installed, m4a, mp4, webm and the rest; the first audio stream counts.  Mono and
stereo, 8 to 384 kHz.

A folder is searched with its sub-folders.  Other files, hidden ones and stems of an
earlier run are left out, and counted at the end.  The folders of two songs of one
name keep the extensions: s.wav/ and s.flac/.

Stems that exist are not touched.  Such a song is reported, the others are done, and
the exit status is 1.  --force replaces the stems, --skip-existing skips the song.
Files appear under their names when they are complete; an interrupted run leaves
nothing behind.  --json writes one object a song, {"input": ..., "error": ...} or
"skipped" for those that were not done, and after a folder {"summary": ...} with the
counts.
"""
_EXAMPLES = """\
examples:
  edgestem separate song.mp3                       separated/song/vocals.wav, ...
  edgestem separate Albums -o Stems --format flac
  edgestem separate Albums -o Stems --name "{folder}/{song} ({stem}).{ext}"
  edgestem separate song.flac --vocals-db -12      also karaoke.wav: quiet vocals
  cat song.wav | edgestem separate - -o - --only instrumental | aplay
"""


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

    text = "separate songs into vocals and instrumental"
    _add_separate(command("separate", text, _SEPARATE, _EXAMPLES))
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


def _add_separate(parser: Parser) -> None:
    add = parser.add_argument
    add("paths", nargs="+", type=filled, metavar="FILE",
        help="songs, folders, or - for stdin")  # fmt: skip
    add("-o", "--output", dest="out", type=filled, default="separated", metavar="DIR",
        help="where to write (default: separated); - writes one stem as WAV to "
        "stdout, with --only or --vocals-db")  # fmt: skip
    add("--only", choices=(*STEMS, MIX), help="write only this one")
    add("--vocals-db", type=level(MIN_DB, MAX_DB), metavar="DB",
        help="write karaoke.wav too: the instrumental with the vocals at DB decibels "
        "(-120 to 20, or -inf; 0 is the song)")  # fmt: skip
    add("--format", choices=ALL_CONTAINERS, default="wav",
        help="default: wav; ffmpeg writes m4a (AAC), alac and opus")  # fmt: skip
    add("--name", metavar="TEMPLATE",
        help='names below DIR, as "{artist}/{song} ({stem}).{ext}"; fields: song stem '
        "ext artist title album track folder")  # fmt: skip
    add("--subtype", choices=SUBTYPES, default="keep",
        help="sample format of wav and flac (default: keep the song's)")  # fmt: skip
    add("--bitrate", type=whole(MIN_BITRATE, MAX_BITRATE), metavar="KBITS",
        help=f"of mp3, and about that of ogg, {MIN_BITRATE} to {MAX_BITRATE} kbit/s "
        f"(default: {MAX_BITRATE})")  # fmt: skip
    present = parser.add_mutually_exclusive_group()
    present.add_argument("--force", action="store_true",
        help="replace stems that exist")  # fmt: skip
    present.add_argument("--skip-existing", action="store_true",
        help="pass over songs whose stems exist: that is no failure")  # fmt: skip
    add("--fft", choices=("auto", "native", "fftw", "numpy"), default="auto",
        help="who computes the spectrogram")  # fmt: skip
    add_network_options(
        parser, threads_default="one for each network, if there are cores"
    )
    add_options(parser)
    add("--socket", nargs="?", const="", metavar="PATH",
        help="let the daemon do the work (PATH: as edgestem serve has it)")  # fmt: skip
    add("--json", action="store_true", help="print one JSON object a song to stdout")


def make_output(args: argparse.Namespace) -> Output:
    """Turn arguments of `separate` into what a song becomes.

    Raises
    ------
    UsageError
        They contradict each other, or name what is not installed.
    """
    has_karaoke = args.vocals_db is not None
    stems = STEMS + (MIX,) * has_karaoke
    if args.only:
        stems = (args.only,)
    elif args.out == "-" and has_karaoke:
        stems = (MIX,)
    if (MIX in stems) != has_karaoke:
        raise UsageError("--only karaoke and --vocals-db DB belong together")
    if args.out == "-":
        _check_stdout(args, stems)
    _check_socket(args)
    _check_format(args)
    if args.fft not in ("auto", *available_backends()):
        raise UsageError(f"--fft {args.fft} is not installed; edgestem info lists them")
    try:
        return Output(
            stems=stems,
            vocals_db=args.vocals_db,
            file_format=args.format,
            subtype=args.subtype,
            bitrate=args.bitrate,
            is_forced=args.force,
        )
    except ValueError as cause:
        raise UsageError(str(cause)) from cause


def _check_socket(args: argparse.Namespace) -> None:
    """Refuse beside --socket what the daemon chooses, or does not know."""
    if args.socket is None:
        return
    if args.threads or args.runtime or args.fft != "auto" or args.device != "auto":
        raise UsageError(
            "--threads, --runtime, --fft and --device are the daemon's to choose: "
            "leave them out with --socket"
        )
    if args.format in BY_FFMPEG:
        raise UsageError(
            f"--format {args.format} is not written by a daemon: choose flac, or leave "
            "out --socket"
        )


def _check_format(args: argparse.Namespace) -> None:
    if args.subtype != "keep" and args.format in LOSSY:
        raise UsageError(
            f"--subtype is for stems that keep every bit: leave it out with --format "
            f"{args.format}, or choose wav or flac"
        )
    if args.bitrate is not None and args.format not in LOSSY:
        raise UsageError(
            f"--bitrate is for lossy stems: say --format {' or '.join(LOSSY)} too, "
            f"or leave it out, for {args.format} keeps every bit"
        )


def make_naming(args: argparse.Namespace, output: Output) -> Naming | None:
    """Turn `--name` into what names stems; None: folders as they always were.

    Raises
    ------
    UsageError
        The template makes no sense.
    """
    if args.name is None:
        return None
    try:
        template = NameTemplate(args.name)
        template.check(output.stems)
    except ValueError as cause:
        raise UsageError(str(cause)) from cause
    return Naming(template, output.stems, output.file_format)


def _check_stdout(args: argparse.Namespace, stems: tuple[str, ...]) -> None:
    if len(stems) > 1:
        raise UsageError("-o - writes one stem: choose --only or --vocals-db")
    if len(args.paths) > 1 or (args.paths != ["-"] and Path(args.paths[0]).is_dir()):
        raise UsageError("-o - writes one song: name one file")
    if args.format != "wav" or args.name is not None:
        raise UsageError("-o - writes WAV, without a name")
    if args.json:
        raise UsageError("--json and -o - both want stdout")
    if sys.stdout.isatty():
        raise UsageError("-o - writes samples: send stdout to a file or a program")
