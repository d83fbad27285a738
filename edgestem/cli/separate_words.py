"""The words of `edgestem separate`, and what they may not say together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgestem.cli.hardware import add_network_options, add_options
from edgestem.cli.usage import Parser, UsageError
from edgestem.cli.values import filled, level, whole
from edgestem.sound.formats import (
    ALL_CONTAINERS,
    BY_FFMPEG,
    LOSSY,
    MAX_BITRATE,
    MIN_BITRATE,
    SUBTYPES,
)
from edgestem.stems import MAX_DB, MIN_DB, MIX, STEMS

if TYPE_CHECKING:
    from edgestem.files.batch import Naming
    from edgestem.files.output import Output

_ABOUT = """\
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


def add_parser(command: Callable[..., Parser]) -> None:
    """Add the command."""
    text = "separate songs into vocals and instrumental"
    parser = command("separate", text, _ABOUT, _EXAMPLES)
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
    _check_fft(args)
    from edgestem.files.output import Output

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


def _check_fft(args: argparse.Namespace) -> None:
    if args.fft == "auto":
        return
    from edgestem.spectrum.spectral import available_backends

    if args.fft not in available_backends():
        raise UsageError(f"--fft {args.fft} is not installed; edgestem info lists them")


def make_naming(args: argparse.Namespace, output: Output) -> Naming | None:
    """Turn `--name` into what names stems; None: folders as they always were.

    Raises
    ------
    UsageError
        The template makes no sense.
    """
    if args.name is None:
        return None
    from edgestem.files.batch import Naming
    from edgestem.files.names import NameTemplate

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
