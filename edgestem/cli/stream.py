"""`edgestem stream`: words and what they mean."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestem.cli.console import check_stdout
from edgestem.cli.hardware import add_network_options, add_options
from edgestem.cli.usage import UsageError
from edgestem.cli.values import core, whole
from edgestem.limits import MAX_RATE, MIN_RATE
from edgestem.network.choices import DEFAULT, LIVE_DEFAULT
from edgestem.pcm.decibels import MAX_BLOCK, parse_db

if TYPE_CHECKING:
    from edgestem.live.session import Live, LiveSettings
    from edgestem.sound.wav import WavFormat

MAX_SLACK_MS = 10_000  # more is no live music any more
MAX_NAME = 63  # bytes; JACK's jack_client_name_size() is 64 with the final zero
MIDI_CC = (20, 21)  # of the faders: vocals, instrumental
_LATE_S = 0.2  # nobody sings along to what comes later
_STREAM = """\
Separates sound while it plays.  Without --jack or --alsa it is a filter: it reads WAV
on stdin (raw PCM with --format, --rate and --channels) and writes the same on stdout.
Two faders choose what comes out; by default it is the instrumental alone.  With
--jack and --alsa, where somebody plays along, the model is live.  In a pipe it is
karaoke, which is better but seconds late.

A pipe waits for the network, and its samples are those of edgestem separate.  With
--jack, --alsa or --slack nothing waits: where the network is late, the --fallback
plays instead, without a click and at its place, and a message says so.

The latency is exact: that of the model (edgestem info), plus the block, plus the
slack.  JACK's graph is told.

While it runs, it reads lines on stdin (--jack, --alsa) or on the FIFO of --control:
  vocals -12         a fader in decibels; -inf is silence
  instrumental 0
  status             one JSON object
  quit               --jack and --alsa
"""
_EXAMPLES = """\
examples:
  arecord -f dat | edgestem stream --model live | aplay
  ffmpeg -i song.mp3 -f wav - | edgestem stream --trim > instrumental.wav
  edgestem stream --jack --connect
  edgestem stream --alsa hw:1 hw:1 --vocals-db -12
  pw-jack edgestem stream --jack
"""


def add_parser(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command."""
    text = "separate a stream while it plays: a pipe, JACK, a sound card"
    parser = command("stream", text, _STREAM, _EXAMPLES)
    add = parser.add_argument
    door = parser.add_mutually_exclusive_group()
    door.add_argument("--jack", action="store_true", help="be a JACK client")
    door.add_argument("--alsa", nargs=2, metavar=("IN", "OUT"),
        help="sound devices: number or name (python -m sounddevice)")  # fmt: skip
    add("--format", choices=("wav", "s16", "s24", "s32", "f32"), default="wav",
        help="of the pipe; little-endian, s24 in 3 bytes (default: wav)")  # fmt: skip
    add("--rate", type=whole(MIN_RATE, MAX_RATE), metavar="HZ",
        help="of raw PCM, or of the sound card")  # fmt: skip
    add("--channels", type=int, choices=(1, 2), help="default: 2; a WAV stream's own")
    add("--vocals-db", type=_db, default="-inf", metavar="DB",
        help="the vocals' fader, up to 20 (default: -inf, silence)")  # fmt: skip
    add("--instrumental-db", type=_db, default="0", metavar="DB",
        help="the instrumental's fader (default: 0)")  # fmt: skip
    add("--control", type=Path, metavar="FIFO", help="read commands there")
    add("--trim", action="store_true",
        help="pipe: leave the latency out, every sample at its place")  # fmt: skip
    add("--block", type=int, default=256, metavar="N",
        help=f"samples of a block, to {MAX_BLOCK} (default: 256; JACK has its own)"
    )  # fmt: skip
    add("--slack", type=float, metavar="MS",
        help="time that the network has (default: a third of its call)")  # fmt: skip
    add("--fallback", "--when-late", dest="substitute", default="dry",
        choices=("dry", "centre-cancel", "mute"),
        help="what plays when vocals are late (default: dry, the mixture)")  # fmt: skip
    add("--name", type=_client_name, default="edgestem", help="of the JACK client")
    add("--connect", action="store_true", help="JACK: connect to the sound card")
    add("--midi-cc", nargs=2, type=whole(0, 127), metavar=("VOCALS", "INSTRUMENTAL"),
        help="JACK: MIDI controllers of the faders (default: 20 21)")  # fmt: skip
    add("--realtime", type=whole(1, 95), default=0, metavar="PRIORITY",
        help="lock memory, run the network at this SCHED_FIFO priority")  # fmt: skip
    add("--cpu", type=core, metavar="N", help="run the network on this core")
    add_network_options(
        parser, f"{LIVE_DEFAULT} with --jack and --alsa, {DEFAULT} in a pipe"
    )
    add_options(parser)


def _db(text: str) -> float:
    try:
        return parse_db(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _client_name(text: str) -> str:
    if not 0 < len(os.fsencode(text)) <= MAX_NAME or ":" in text:
        raise argparse.ArgumentTypeError(
            f"expected a name of 1 to {MAX_NAME} bytes without a colon"
        )
    return text


def run(args: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Do the command; `say` gets sentences for the user.

    Raises
    ------
    UsageError
        The options contradict each other.
    EdgestemError
        What was asked for is not there.
    """
    is_pipe = not (args.jack or args.alsa)
    _check(args, is_pipe)
    if is_pipe:
        check_stdout()
        _run_pipe(args, say)
    else:
        _run_live(args, say)


def _check(args: argparse.Namespace, is_pipe: bool) -> None:
    """Refuse options that make no sense together."""
    is_raw, has_slack = args.format != "wav", args.slack is not None
    rules = (
        (
            not 1 <= args.block <= MAX_BLOCK,
            f"--block is 1 or more, and {MAX_BLOCK} at most",
        ),
        (
            has_slack and not 0 <= args.slack <= MAX_SLACK_MS,  # NaN compares false
            f"--slack is 0 or more, and {MAX_SLACK_MS} ms at most",
        ),
        (not is_pipe and (args.trim or is_raw), "--trim and --format belong to a pipe"),
        (args.jack and args.rate, "JACK has its own sample rate: leave --rate out"),
        (args.connect and not args.jack, "--connect belongs to --jack"),
        (args.midi_cc and not args.jack, "--midi-cc belongs to --jack"),
        (args.trim and has_slack, "--slack has a latency to keep: leave --trim out"),
        (
            is_pipe and not is_raw and (args.rate or args.channels),
            "a WAV stream says its own rate and channels; raw PCM needs --format",
        ),
        (is_raw and not args.rate, "raw PCM needs --rate"),
        (
            is_pipe and (sys.stdin.isatty() or sys.stdout.isatty()),
            "stdin and stdout are samples: put edgestem stream into a pipe, or say "
            "--jack or --alsa",
        ),
    )
    for is_broken, text in rules:
        if is_broken:
            raise UsageError(text)


def _settings(args: argparse.Namespace) -> LiveSettings:
    from edgestem.live.session import LiveSettings

    return LiveSettings(
        model=args.model or (LIVE_DEFAULT if args.jack or args.alsa else DEFAULT),
        vocals_db=args.vocals_db,
        instrumental_db=args.instrumental_db,
        substitute=args.substitute,
        slack_ms=args.slack,
        realtime=args.realtime,
        cpu=args.cpu,
        device=args.device,
        device_options=dict(args.delegate_options),
        fallback=args.fallback,
        threads=args.threads,
        runtime=args.runtime,
    )


def _run_live(args: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Play through JACK or a sound card until somebody says quit."""
    from edgestem.live.session import Live

    n_channels = args.channels or 2
    with ExitStack() as ending:
        door = _door(args, n_channels)
        ending.callback(door.close)
        live = Live(_settings(args), door.sample_rate, n_channels, door.block, say)
        live.start()
        ending.callback(live.stop)
        # The door ends first: nobody calls a rig that is closed.
        ending.callback(door.close)
        _listen(args, live, say, ending, stdin=0)
        door.start(live)
        live.wait()


def _door(args: argparse.Namespace, n_channels: int) -> Any:
    if args.jack:
        from edgestem.live.jack_door import JackDoor

        faders = tuple(args.midi_cc or MIDI_CC)
        return JackDoor(args.name, n_channels, faders, args.connect)
    from edgestem.live.sound_card import SoundDoor

    return SoundDoor(tuple(args.alsa), args.rate, n_channels, args.block)


def _listen(
    args: argparse.Namespace,
    live: Live,
    say: Callable[[str], None],
    ending: ExitStack,
    stdin: int | None = None,
) -> None:
    from edgestem.live.control import Control

    control = Control(live.handle, say, stdin=stdin, fifo=args.control)
    control.start()
    ending.callback(control.close)


def _run_pipe(args: argparse.Namespace, say: Callable[[str], None]) -> None:
    from edgestem.live.pipe import open_pipe

    pipe = open_pipe(0, 1, _raw(args), args.block)
    if args.slack is None:
        _run_waiting(args, pipe, say)
        return
    from edgestem.live.pipe import through_rig
    from edgestem.live.session import Live

    wav = pipe.wav
    with ExitStack() as ending:
        live = Live(_settings(args), wav.sample_rate, wav.n_channels, args.block, say)
        ending.enter_context(pipe.begun())
        live.start()
        ending.callback(live.stop)
        _listen(args, live, say, ending)
        through_rig(pipe, live)


def _run_waiting(args: argparse.Namespace, pipe: Any, say: Any) -> None:
    """Be the filter that waits for the network."""
    from edgestem.live.control import Control, obey
    from edgestem.live.pipe import through_separator
    from edgestem.live.session import load
    from edgestem.pcm.faders import RAMP_MS, Levels

    wav = pipe.wav
    separator = load(_settings(args), wav.sample_rate, wav.n_channels)
    levels = Levels(args.vocals_db, args.instrumental_db)
    n_ramp = round(RAMP_MS * wav.sample_rate / 1000)
    late, rate = separator.latency_samples, wav.sample_rate
    hint = _hint(args, late / rate)
    say(f"latency {late} samples, {late / rate:.3f} s at {rate} Hz{hint}")

    def handle(line: str) -> str:
        return obey(levels, n_ramp, line) or f"{line[:40]!r} is no fader's line"

    with ExitStack() as ending:
        ending.enter_context(pipe.begun())
        if args.control:
            control = Control(handle, say, fifo=args.control)
            control.start()
            ending.callback(control.close)
        through_separator(pipe, separator, levels, is_trimmed=args.trim)


def _hint(args: argparse.Namespace, late_s: float) -> str:
    """Say what to do about a latency that a singer would not bear."""
    if args.trim:
        return ", left out"
    return f": to play along, say --model {LIVE_DEFAULT}" if late_s > _LATE_S else ""


def _raw(args: argparse.Namespace) -> WavFormat | None:
    from edgestem.live.pipe import PIPE_FORMATS
    from edgestem.sound.grid import GRIDS
    from edgestem.sound.wav import WavFormat

    if args.format == "wav":
        return None
    return WavFormat(GRIDS[PIPE_FORMATS[args.format]], args.rate, args.channels or 2)
