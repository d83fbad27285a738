"""`edgestem stream`: words and what they mean."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestem.faders import parse_db
from edgestem.hardware import add_options

if TYPE_CHECKING:
    from edgestem.live import Live, Settings
    from edgestem.wav import WavFormat

_STREAM = """\
Separates while it plays.  Without --jack or --alsa it is a filter: WAV on stdin
(raw PCM with --format, --rate and --channels), the same on stdout.  What comes out
is chosen by two faders; by default the instrumental alone.

A pipe waits for the network, and its samples are those of edgestem separate.  With
--jack, --alsa or --slack nothing waits: what the network has not finished in time
is replaced by the --fallback, without a click and at its place, and is reported.

Latency is stated to the sample: that of the model (edgestem info), plus the block,
plus the slack.  JACK's graph is told.

While it runs, lines on stdin (--jack, --alsa) or on the FIFO of --control:
  vocals -12         a fader in decibels; -inf is silence
  instrumental 0
  status             one JSON object
  quit               --jack and --alsa
"""
_EXAMPLES = """\
examples:
  arecord -f dat | edgestem stream --model live | aplay
  ffmpeg -i song.mp3 -f wav - | edgestem stream --trim > instrumental.wav
  edgestem stream --jack --model live --connect
  edgestem stream --alsa hw:1 hw:1 --model live --vocals-db -12
  pw-jack edgestem stream --jack --model live
"""


class StreamUsage(ValueError):
    """Options that contradict each other."""


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
    add("--rate", type=int, metavar="HZ", help="of raw PCM, or of the sound card")
    add("--channels", type=int, choices=(1, 2), help="default: 2; a WAV stream's own")
    add("--vocals-db", type=_db, default="-inf", metavar="DB",
        help="the vocals' fader (default: -inf; write --vocals-db=-inf)")  # fmt: skip
    add("--instrumental-db", type=_db, default="0", metavar="DB",
        help="the instrumental's fader (default: 0)")  # fmt: skip
    add("--control", type=Path, metavar="FIFO", help="read commands there")
    add("--trim", action="store_true",
        help="pipe: leave the latency out, every sample at its place")  # fmt: skip
    add("--block", type=int, default=256, metavar="N",
        help="samples of a block (default: 256; JACK has its own)")  # fmt: skip
    add("--slack", type=float, metavar="MS",
        help="time that the network has (default: a third of its call)")  # fmt: skip
    add("--fallback", dest="substitute", default="dry",
        choices=("dry", "centre-cancel", "mute"),
        help="what plays when vocals are late (default: dry, the mixture)")  # fmt: skip
    add("--name", default="edgestem", help="of the JACK client")
    add("--connect", action="store_true", help="JACK: connect to the sound card")
    add("--midi-cc", nargs=2, type=_controller, default=(20, 21),
        metavar=("VOCALS", "INSTRUMENTAL"),
        help="JACK: MIDI controllers of the faders (default: 20 21)")  # fmt: skip
    add("--realtime", type=_priority, default=0, metavar="PRIORITY",
        help="lock memory, run the network at this SCHED_FIFO priority")  # fmt: skip
    add("--cpu", type=int, metavar="N", help="run the network on this core")
    add("--model", default="karaoke", help="name or .tflite file (default: karaoke)")
    add("--threads", type=int, metavar="N", help="threads of the network (default: 1)")
    add("--runtime", choices=("ai-edge-litert", "tflite-runtime"),
        help="TFLite runtime (default: the fastest installed)")  # fmt: skip
    add_options(parser)
    add("--quiet", action="store_true", help="only errors on stderr")


def _db(text: str) -> float:
    try:
        return parse_db(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _controller(text: str) -> int:
    return _within(text, 0, 127)


def _priority(text: str) -> int:
    return _within(text, 1, 95)


def _within(text: str, low: int, high: int) -> int:
    if not text.isdigit() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"expected {low} to {high}, got {text}")
    return int(text)


def run(args: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Do the command; `say` gets sentences for the user.

    Raises
    ------
    StreamUsage
        The options contradict each other.
    EdgestemError
        What was asked for is not there.
    """
    is_pipe = not (args.jack or args.alsa)
    _check(args, is_pipe)
    if is_pipe:
        _run_pipe(args, say)
    else:
        _run_live(args, say)


def _check(args: argparse.Namespace, is_pipe: bool) -> None:
    """Refuse options that make no sense together."""
    is_raw, has_slack = args.format != "wav", args.slack is not None
    rules = (
        (args.block < 1, "--block is 1 or more"),
        (has_slack and args.slack < 0, "--slack is 0 or more"),
        (not is_pipe and (args.trim or is_raw), "--trim and --format belong to a pipe"),
        (args.jack and args.rate, "JACK has its own sample rate: leave --rate out"),
        (args.connect and not args.jack, "--connect belongs to --jack"),
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
            raise StreamUsage(text)


def _settings(args: argparse.Namespace) -> Settings:
    from edgestem.live import Settings

    return Settings(
        model=args.model,
        vocals_db=args.vocals_db,
        instrumental_db=args.instrumental_db,
        fallback=args.substitute,
        slack_ms=args.slack,
        realtime=args.realtime,
        cpu=args.cpu,
        device=args.device,
        device_options=dict(args.delegate_options),
        may_fall_back=args.fallback,
        threads=args.threads,
        runtime=args.runtime,
    )


def _run_live(args: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Play through JACK or a sound card until somebody says quit."""
    from edgestem.live import Live

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
        from edgestem.live_jack import JackDoor

        return JackDoor(args.name, n_channels, tuple(args.midi_cc), args.connect)
    from edgestem.live_sound import SoundDoor

    return SoundDoor(tuple(args.alsa), args.rate, n_channels, args.block)


def _listen(
    args: argparse.Namespace,
    live: Live,
    say: Callable[[str], None],
    ending: ExitStack,
    stdin: int | None = None,
) -> None:
    from edgestem.control import Control

    control = Control(live.handle, say, stdin=stdin, fifo=args.control)
    control.start()
    ending.callback(control.close)


def _run_pipe(args: argparse.Namespace, say: Callable[[str], None]) -> None:
    from edgestem.live_pipe import open_pipe

    pipe = open_pipe(0, 1, _raw(args), args.block)
    if args.slack is None:
        _run_waiting(args, pipe, say)
    else:
        _run_hasty(args, pipe, say)
    for sentence in pipe.losses:  # --quiet too: the output is not the whole song
        sys.stderr.write(f"edgestem: warning: {sentence}\n")


def _run_hasty(args: argparse.Namespace, pipe: Any, say: Any) -> None:
    """Play against the clock of whoever writes."""
    from edgestem.live import Live
    from edgestem.live_pipe import through_rig

    wav = pipe.wav
    with ExitStack() as ending:
        live = Live(_settings(args), wav.sample_rate, wav.n_channels, args.block, say)
        live.start()
        ending.callback(live.stop)
        _listen(args, live, say, ending)
        through_rig(pipe, live)


def _run_waiting(args: argparse.Namespace, pipe: Any, say: Any) -> None:
    """Be the filter that waits for the network."""
    from edgestem.control import Control, obey
    from edgestem.faders import RAMP_MS, Levels
    from edgestem.live import load
    from edgestem.live_pipe import through_separator

    wav = pipe.wav
    separator = load(_settings(args), wav.sample_rate, wav.n_channels)
    levels = Levels(args.vocals_db, args.instrumental_db)
    n_ramp = round(RAMP_MS * wav.sample_rate / 1000)
    late, rate = separator.latency_samples, wav.sample_rate
    end = ", left out" if args.trim else ""
    say(f"latency {late} samples, {1000 * late / rate:.1f} ms at {rate} Hz{end}")

    def handle(line: str) -> str:
        return obey(levels, n_ramp, line) or f"{line[:40]!r} is no fader's line"

    with ExitStack() as ending:
        if args.control:
            control = Control(handle, say, fifo=args.control)
            control.start()
            ending.callback(control.close)
        through_separator(pipe, separator, levels, is_trimmed=args.trim)


def _raw(args: argparse.Namespace) -> WavFormat | None:
    from edgestem.grid import GRIDS
    from edgestem.live_pipe import FORMATS
    from edgestem.wav import WavFormat

    if args.format == "wav":
        return None
    return WavFormat(GRIDS[FORMATS[args.format]], args.rate, args.channels or 2)
