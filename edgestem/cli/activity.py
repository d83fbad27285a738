"""`edgestem activity`: where vocals are in a song."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgestem.cli.console import complain, put
from edgestem.cli.hardware import add_network_options, add_options, make_compute
from edgestem.cli.progress import Progress
from edgestem.cli.usage import UsageError
from edgestem.cli.values import filled, real
from edgestem.network.choices import DEFAULT as DEFAULT_MODEL

if TYPE_CHECKING:
    from edgestem.karaoke.activity import Activity
    from edgestem.sound.singing import Thresholds

Parser = argparse.ArgumentParser
FORMATS = ("spans", "json", "labels", "lrc", "vtt", "svg", "png")
_ACTIVITY = """\
Prints where somebody sings.  The level of the separated vocals is measured every
0.1 s, against the song's own loud singing (half of the vocals' energy is above it):

  --on DB      a span begins where the vocals come within DB of it (default: -17)
  --off DB     and ends where they fall below DB of it (default: -26)
  --heard DB   vocals below DB of the mixture do not count (default: -32)
  --pause S    shorter pauses are filled (default: 0.3)

--as spans (seconds, for people), json (samples and levels), labels (Audacity), lrc,
vtt (WebVTT), svg and png (a picture of both stems with the spans behind).
"""
_EXAMPLES = """\
examples:
  edgestem activity song.mp3
  edgestem activity song.mp3 --as labels > song.txt     Audacity: File, Import, Labels
  edgestem activity song.mp3 --as png > song.png
"""


def add_parser(command: Callable[..., Parser]) -> None:
    """Add the command."""
    parser = command("activity", "tell where the vocals are", _ACTIVITY, _EXAMPLES)
    add = parser.add_argument
    add("song", type=filled, metavar="SONG", help="a song, or - for stdin")
    add("--as", dest="shape", choices=FORMATS, default="spans", help="see above")
    for name in ("on", "off", "heard"):
        add(f"--{name}", type=real(-120, 20), metavar="DB", help="see above")
    add("--pause", type=real(0, 60), metavar="S", help="see above")
    add("--stems", type=filled, metavar="DIR",
        help="use the stems of an earlier separate -o DIR")  # fmt: skip
    add("--json", action="store_true", help="the same as --as json")
    add_network_options(parser)
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Do the command; return the exit status.

    Raises
    ------
    UsageError
        The thresholds contradict each other.
    EdgestemError
        The song cannot be read or separated.
    """
    from dataclasses import replace

    from edgestem.sound.singing import DEFAULT

    said = {
        "on_db": args.on,
        "off_db": args.off,
        "heard_db": args.heard,
        "pause_s": args.pause,
    }
    try:
        given = {name: value for name, value in said.items() if value is not None}
        thresholds = replace(DEFAULT, **given)
    except ValueError as cause:
        raise UsageError(f"--on and --off: {cause}") from cause
    shape = "json" if args.json else args.shape
    if shape == "png" and sys.stdout.isatty():
        raise UsageError("--as png is no text: send it to a file, > song.png")
    activity = _measure(args)
    for sentence in activity.warnings:
        complain("warning", sentence)
    _put(args, shape, activity, thresholds)
    return 0


def _put(
    args: argparse.Namespace, shape: str, activity: Activity, thresholds: Thresholds
) -> None:
    """Write what was measured, in this shape."""
    from edgestem.karaoke.markers import FORMATS as WRITERS
    from edgestem.karaoke.picture import png, svg

    if shape == "json":
        put(json.dumps({"input": args.song, **activity.to_json(thresholds)}))
    elif shape == "spans":
        for a, b in activity.spans(thresholds):
            put(f"{a / activity.rate:9.1f} {b / activity.rate:9.1f}")
    elif shape == "svg":
        put(svg(activity, thresholds, Path(args.song).name).rstrip("\n"))
    elif shape == "png":
        put(png(activity, thresholds))
    else:
        put(WRITERS[shape](activity, thresholds).rstrip("\n"))


def _measure(args: argparse.Namespace) -> Activity:
    from edgestem.errors import AudioError
    from edgestem.files.recode import find_stems
    from edgestem.karaoke.activity import of_song, of_stems

    if args.stems:
        stems = find_stems(Path(args.stems), Path(args.song), Path())
        if not stems:
            raise AudioError(
                f"no vocals and instrumental of {args.song} in {args.stems}; "
                "edgestem separate writes them",
                code="no_stems",
                path=args.stems,
            )
        return of_stems(stems)
    progress = Progress([0], is_quiet=args.quiet)
    progress.begin(Path(args.song).name)
    try:
        return of_song(
            args.song,
            progress.update,
            model=args.model or DEFAULT_MODEL,
            **make_compute(args).keywords(),
        )
    finally:
        progress.end(is_done=True)
