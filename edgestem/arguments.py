"""The words of the command line, and what they may not say together."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from edgestem import __version__
from edgestem.daemon_cli import add_parsers as add_daemon_parsers
from edgestem.encoding import FORMATS
from edgestem.hardware import add_options, add_parsers
from edgestem.job import KARAOKE, STEMS, SUBTYPES, Options
from edgestem.spectral import available_backends
from edgestem.stream_cli import add_parser as add_stream_parser

_SEPARATE = """\
DIR/<song>/vocals.wav and instrumental.wav have the song's length, sample rate,
channels and bit depth, and add up to it to the bit (floats: to the last place).
Lossy songs are decoded to 16 bits first.  Only wav and flac keep every bit: ogg
and mp3 stems do not add up exactly.

Reads what libsndfile reads (wav, flac, mp3, ogg, opus, aiff ...) and, where ffmpeg
is installed, m4a, mp4, webm and the rest; the first audio stream counts.  Folders
are searched with their sub-folders.  Mono and stereo, 8 to 384 kHz.

Stems that exist are not touched: such a song is reported, the others are done, and
the exit status is 1; --force replaces them.  Files appear under their names when
they are complete; an interrupted run leaves nothing behind.
"""
_EXAMPLES = """\
examples:
  edgestem separate song.mp3                       separated/song/vocals.wav, ...
  edgestem separate Albums -o Stems --format flac
  edgestem separate song.flac --vocals-db -12      also karaoke.wav: quiet vocals
  cat song.wav | edgestem separate - -o - --only instrumental | aplay
"""


class UsageError(Exception):
    """The command line makes no sense."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser; it raises UsageError."""
    common = _Parser(add_help=False)
    common.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show the traceback of an error",
    )
    parser = _Parser(
        prog="edgestem",
        description="Two stems of a song, vocals and instrumental, on small boards.",
    )
    version = f"edgestem {__version__}"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str, more: str = "", examples: str = "") -> _Parser:
        return commands.add_parser(
            name,
            parents=[common],
            help=text,
            description=more or text,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    text = "separate songs into vocals and instrumental"
    _add_separate(command("separate", text, _SEPARATE, _EXAMPLES))
    add_stream_parser(command)
    verify = command("verify", "check that the stems add up to the song")
    verify.add_argument("dir", metavar="DIR", help="what separate had as -o")
    verify.add_argument("song", metavar="SONG", help="the song that was separated")
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    info = command("info", "print versions, back ends, models and figures")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    add_parsers(command)
    add_daemon_parsers(command)
    return parser


def _add_separate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("paths", nargs="+", metavar="FILE", help="songs, folders, or - for stdin")
    add("-o", dest="out", default="separated", metavar="DIR",
        help="where to write (default: separated); - writes one stem as WAV to "
        "stdout, with --only or --vocals-db")  # fmt: skip
    add("--only", choices=(*STEMS, KARAOKE), help="write only this one")
    add("--vocals-db", type=float, metavar="DB",
        help="write karaoke.wav too: the instrumental with the vocals at DB decibels "
        "(-120 to 20; 0 is the song)")  # fmt: skip
    add("--format", choices=FORMATS, default="wav", help="default: wav")
    add("--subtype", choices=SUBTYPES, default="keep",
        help="sample format of wav and flac (default: keep the song's)")  # fmt: skip
    add("--force", action="store_true", help="replace stems that exist")
    add("--model", default="karaoke", help="name or .tflite file (default: karaoke)")
    add("--threads", type=_positive, help="threads of the network (default: 1)")
    add("--fft", choices=("auto", "native", "fftw", "numpy"), default="auto",
        help="who computes the spectrogram")  # fmt: skip
    add("--runtime", choices=("ai-edge-litert", "tflite-runtime"),
        help="TFLite runtime (default: the fastest installed)")  # fmt: skip
    add_options(parser)
    add("--socket", nargs="?", const="", metavar="PATH",
        help="let the daemon do the work (PATH: as edgestem serve has it)")  # fmt: skip
    add("--json", action="store_true", help="print one JSON object a song to stdout")
    add("--quiet", action="store_true", help="only errors and warnings on stderr")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return number


def make_options(args: argparse.Namespace) -> Options:
    """Turn arguments of `separate` into options.

    Raises
    ------
    UsageError
        They contradict each other, or name what is not installed.
    """
    has_karaoke = args.vocals_db is not None
    stems = STEMS + (KARAOKE,) * has_karaoke
    if args.only:
        stems = (args.only,)
    elif args.out == "-" and has_karaoke:
        stems = (KARAOKE,)
    if (KARAOKE in stems) != has_karaoke:
        raise UsageError("--only karaoke and --vocals-db DB belong together")
    if args.out == "-":
        _check_stdout(args, stems)
    if args.socket is not None and (
        args.threads or args.runtime or args.fft != "auto" or args.device != "auto"
    ):
        raise UsageError(
            "--threads, --runtime, --fft and --device are the daemon's to choose: "
            "leave them out with --socket"
        )
    if args.fft not in ("auto", *available_backends()):
        raise UsageError(f"--fft {args.fft} is not installed; edgestem info lists them")
    try:
        return Options(
            stems=stems,
            vocals_db=args.vocals_db,
            file_format=args.format,
            subtype=args.subtype,
            is_forced=args.force,
            model=args.model,
            threads=args.threads,
            fft=args.fft,
            runtime=args.runtime,
            device=args.device,
            device_options=dict(args.delegate_options),
            fallback=args.fallback,
        )
    except ValueError as cause:
        raise UsageError(str(cause)) from cause


def _check_stdout(args: argparse.Namespace, stems: tuple[str, ...]) -> None:
    if len(stems) > 1:
        raise UsageError("-o - writes one stem: choose --only or --vocals-db")
    if len(args.paths) > 1 or (args.paths != ["-"] and Path(args.paths[0]).is_dir()):
        raise UsageError("-o - writes one song: name one file")
    if args.format != "wav":
        raise UsageError("-o - writes WAV")
    if args.json:
        raise UsageError("--json and -o - both want stdout")
    if sys.stdout.isatty():
        raise UsageError("-o - writes samples: send stdout to a file or a program")
