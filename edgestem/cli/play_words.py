"""The words of `edgestem play`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from edgestem.cli.hardware import add_network_options, add_options
from edgestem.cli.values import filled, level, real, whole
from edgestem.stems import MAX_DB

_PLAY = """\
Plays songs without their singer.  They start at once and are separated a little ahead
of what you hear.  At the song's own key, tempo and rate, and without jumps, you hear
what edgestem separate writes, to the bit.  Separated vocals are kept in a store for the
next time.

A set list is a .toml file (docs/play.md) or an .m3u8.  It waits for a press of the
pedal or of a key.  Songs that are named on the command line begin to play.

Keys: space play/pause, s stop, ! silence, n/p next and previous song, left/right
seek, up/down vocals, v vocals on/off, g guide, c click, +/- key, [/] tempo, l loop, q
quit.  Without a terminal, lines on stdin are commands: `help` lists them.

Buses: backing (the instrumental, and the vocals at their fader), guide (the vocals
alone, for your ear), click.  --route says by which outputs they leave.
"""
_EXAMPLES = """\
examples:
  edgestem play song.mp3
  edgestem play friday.toml --card U24 --route backing=1,2 --route click=3
  edgestem play friday.toml --jack --page
  edgestem play friday.toml --check
  edgestem play song.flac --key 2 --tempo 90 --to rehearsal.wav
"""


def add_parser(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command."""
    text = "play backing tracks on stage: songs without their singer, at once"
    parser = command("play", text, _PLAY, _EXAMPLES)
    add = parser.add_argument
    add("paths", nargs="+", type=filled, metavar="SONG", help="songs, or one set list")
    _add_outputs(parser)
    add("--vocals-db", type=level(-120, MAX_DB), metavar="DB",
        help="the vocals' fader on the backing bus (default: -inf)")  # fmt: skip
    add("--guide-db", type=level(-120, MAX_DB), default=0.0, metavar="DB",
        help="the fader of the guide bus (default: 0)")  # fmt: skip
    add("--key", type=real(-12, 12), metavar="SEMITONES", help="of every song")
    add("--tempo", type=real(50, 200), metavar="PERCENT", help="of every song")
    add("--stretch", choices=("kernel", "rubberband"), default="kernel",
        help="who changes key and tempo (default: kernel)")  # fmt: skip
    add("--follow", action="store_true",
        help="each song begins where the one before ends")  # fmt: skip
    add("--loudness", type=real(-40, -5), metavar="LUFS",
        help="even the songs' loudness; -18 is usual (default: no)")  # fmt: skip
    add("--store", type=filled, metavar="DIR",
        help="where separated vocals are kept; none: nowhere "
        "(default: ~/.local/share/edgestem/store)")  # fmt: skip
    add("--store-mb", type=whole(1, 1 << 30), default=4096, metavar="MB",
        help="size of the store (default: 4096)")  # fmt: skip
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true",
        help="rehearse silently: songs, keys, devices, store")  # fmt: skip
    only.add_argument("--test", action="store_true",
        help="open the card as the show does and play zeros")  # fmt: skip
    add("--realtime", type=whole(1, 95), default=0, metavar="PRIORITY",
        help="render and play at this SCHED_FIFO priority")  # fmt: skip
    add("--go", action="store_true", help="a set list begins to play, too")
    add("--ahead-ms", type=real(20, 2000), default=400, metavar="MS",
        help="rendered ahead of what is heard: what a stall of the machine may last, "
        "and how much later another key is heard (default: 400)")  # fmt: skip
    _add_doors(parser)
    add_network_options(parser)
    add_options(parser)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--jack", action="store_true",
        help="be the JACK client edgestem-play")  # fmt: skip
    output.add_argument("--card", type=filled, metavar="CARD",
        help="a sound card: its ALSA id (cat /proc/asound/cards) or a part of its "
        "name; without any output, `default`")  # fmt: skip
    output.add_argument("--to", type=filled, metavar="FILE",
        help="write a WAV file, as fast as it goes")  # fmt: skip
    output.add_argument("--null", choices=("timed", "fast"),
        help="play to nobody, in time or as fast as it goes")  # fmt: skip
    add = parser.add_argument
    add("--route", action="append", type=_route, default=[], metavar="BUS=N[,M]",
        help="outputs of backing, guide or click (default: backing=1,2)")  # fmt: skip
    add("--force", action="store_true", help="replace the FILE of --to")
    add("--block", type=whole(16, 4096), default=256, metavar="N",
        help="frames of the card's callback (default: 256)")  # fmt: skip
    add("--connect", action="store_true",
        help="JACK: connect to the sound card, if nothing is remembered")  # fmt: skip
    add("--on-loss", choices=("stop", "resume"), default="stop",
        help="when the card is back: wait for a press, or go on by itself after less "
        "than 2 s (default: stop)")  # fmt: skip
    add("--rate", type=whole(8000, 192000), metavar="HZ",
        help="of the output (default: the card's, or the first song's)")  # fmt: skip


def _add_doors(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--page", nargs="?", const="", metavar="[lan:]PORT",
        help="a page for a phone; `lan` lets other machines in, with the token of the "
        "address that is shown (default: this machine only, port 8766)")  # fmt: skip
    add("--unlocked", action="store_true",
        help="the page and the socket may change key and tempo")  # fmt: skip
    add("--pedal", choices=("two", "one", "learn", "none"), default="two",
        help="switches; learn says the code of each press (default: two)")  # fmt: skip
    add("--pedal-device", action="append", type=Path, default=[], metavar="PATH",
        help="read this input device, whatever it is")  # fmt: skip
    add("--tick", action="store_true",
        help="answer each press of a pedal by a tick on the click bus")  # fmt: skip
    add("--socket", type=Path, metavar="PATH",
        help="take commands on a socket, in the daemon's framing")  # fmt: skip
    add("--midi", action="append", type=Path, default=[], metavar="PATH",
        help="commands from a raw MIDI device: /dev/snd/midiC1D0; with --jack "
        "the port midi_in does it, too")  # fmt: skip
    add("--midi-map", choices=("usual", "mtrack"), default="usual",
        help="what MIDI means; mtrack: only what mtrack has by default, channel 16, "
        "CC 100, 0 play, 1 previous, 2 next, 3 stop (default: usual)")  # fmt: skip
    add("--midi-out", action="append", type=Path, default=[], metavar="PATH",
        help="send the set list's MIDI to a raw device; with --jack the port midi_out "
        "does it, too")  # fmt: skip


def _route(text: str) -> tuple[str, tuple[int, ...]]:
    from edgestem.play.routes import parse_route

    try:
        return parse_route(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
