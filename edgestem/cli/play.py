"""`edgestem play`: words and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestem.cli.hardware import add_network_options, add_options
from edgestem.cli.usage import UsageError
from edgestem.cli.values import filled, level, real, whole
from edgestem.stems import MAX_DB, SILENT_DB

if TYPE_CHECKING:
    from edgestem.play.items import Item
    from edgestem.play.show import Door, Show, ShowSettings, Sink

_PLAY = """\
Plays songs without their singer, at once, and separates them ahead of what is heard.
Behind the separated front you hear what edgestem separate writes, to the bit.  What
was separated is kept in a store, by content, for the next time.

A set list is a .toml file (docs/play.md) or an .m3u8: it waits for the foot.  Songs
that are named here begin to play.

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
    add("--ahead-ms", type=real(20, 2000), default=200, metavar="MS",
        help="rendered ahead of what is heard (default: 200)")  # fmt: skip
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
    add("--socket", type=Path, metavar="PATH",
        help="take commands on a socket, in the daemon's framing")  # fmt: skip
    add("--midi", action="append", type=Path, default=[], metavar="PATH",
        help="take commands from a raw MIDI device: /dev/snd/midiC1D0")  # fmt: skip


def _route(text: str) -> tuple[str, tuple[int, ...]]:
    from edgestem.play.routes import parse_route

    try:
        return parse_route(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(
    args: argparse.Namespace,
    say: Callable[[str], None],
    answer: Callable[[str], None],
) -> int:
    """Play; return the exit status."""
    from edgestem.play.show import Show, first_rate

    items, loudness, is_set = _items(args, say)
    settings = _settings(args, loudness)
    if args.check:
        return _check(items, settings, answer)
    settings.is_started = args.go or not is_set or bool(args.to or args.null)
    settings.ends = not is_set or bool(args.to or args.null == "fast")
    client = _jack_client() if args.jack else None
    rate = client.samplerate if client is not None else args.rate or first_rate(items)
    show = Show(items, rate, settings, say)
    if args.test:
        return _test(_sink(args, show, client), answer)
    show.run(_sink(args, show, client), _doors(args, show, say, answer))
    return 1 if all(track.error for track in show.player.tracks) else 0


def _check(
    items: list[Item], settings: ShowSettings, answer: Callable[[str], None]
) -> int:
    from edgestem.play.rehearsal import rehearse

    is_good = True
    for is_fine, sentence in rehearse(items, settings.compute, settings.store):
        answer(f"{'good' if is_fine else 'BAD '}  {sentence}")
        is_good &= is_fine
    return 0 if is_good else 1


def _test(sink: Any, answer: Callable[[str], None]) -> int:
    """Play zeros on a card; other outputs need no test."""
    from edgestem.play.card import CardSink

    if not isinstance(sink, CardSink):
        raise UsageError("--test is for sound cards: name one with --card")
    n_calls = sink.play_zeros(1.0)
    sink.close()
    answer(f"the card called {n_calls} times in a second")
    return 0 if n_calls else 1


def _items(
    args: argparse.Namespace, say: Callable[[str], None]
) -> tuple[list[Item], float | None, bool]:
    """Read the set, or make one of the songs that are named."""
    from edgestem.play.items import Item
    from edgestem.play.setlist import is_set_list, read_set_list
    from edgestem.play.show import check_paths

    paths = [Path(path) for path in args.paths]
    is_set, loudness = is_set_list(paths[0]), None
    if is_set and len(paths) > 1:
        raise UsageError("one set list, or songs")
    if is_set:
        found = read_set_list(paths[0])
        items, loudness, missing = found.items, found.loudness, found.missing
    else:
        items, missing = [Item(path) for path in paths], check_paths(paths)
    for sentence in missing:
        say(sentence)
    for item in items:
        _apply(args, item, is_followed=not is_set)
    return items, args.loudness if args.loudness is not None else loudness, is_set


def _apply(args: argparse.Namespace, item: Item, *, is_followed: bool) -> None:
    """Have the command line's word stand above the set list's."""
    if args.key is not None:
        item.settings.key = args.key
    if args.tempo is not None:
        item.settings.tempo = args.tempo / 100
    is_unattended = args.to or args.null == "fast"
    item.is_followed |= bool(args.follow or is_followed or is_unattended)
    if args.vocals_db is not None:
        item.vocals_db = max(args.vocals_db, SILENT_DB)


def _settings(args: argparse.Namespace, loudness: float | None) -> ShowSettings:
    from edgestem.network.model import DEFAULT
    from edgestem.play.ahead import Compute
    from edgestem.play.show import ShowSettings
    from edgestem.store.store import Store, default_folder

    store = None
    if args.store != "none":
        folder = Path(args.store) if args.store else default_folder()
        store = Store(folder, args.store_mb << 20)
    compute = Compute(
        args.model or DEFAULT, args.threads, args.runtime, args.device,
        tuple(args.delegate_options), args.fallback,
    )  # fmt: skip
    return ShowSettings(
        compute, store, ahead_s=args.ahead_ms / 1000, engine=args.stretch,
        loudness=loudness, guide_db=max(args.guide_db, SILENT_DB),
        is_locked=not args.unlocked, priority=args.realtime,
    )  # fmt: skip


def _jack_client() -> Any:
    from edgestem.live.jack_door import open_client
    from edgestem.play.jack_sink import CLIENT

    return open_client(CLIENT)


def _sink(args: argparse.Namespace, show: Show, client: Any) -> Sink:
    from edgestem.play.card import CardSink
    from edgestem.play.routes import Routes
    from edgestem.play.sinks import FileSink, NullSink

    routes = Routes(dict(args.route))
    desk = show.player.desk
    is_resuming = args.on_loss == "resume"
    if client is not None:
        from edgestem.play.jack_sink import JackSink, Memory, default_memory

        return JackSink(
            client, show.player, is_connecting=args.connect, is_resuming=is_resuming,
            memory=Memory(default_memory()),
        )  # fmt: skip
    if args.to:
        return FileSink(desk, routes, Path(args.to))
    if args.null:
        return NullSink(desk, routes, is_timed=args.null != "fast")
    card = CardSink(
        show.player, routes, args.card or "default", block=args.block,
        is_resuming=is_resuming,
    )  # fmt: skip
    card.open()
    return card


def _doors(
    args: argparse.Namespace,
    show: Show,
    say: Callable[[str], None],
    answer: Callable[[str], None],
) -> list[Door]:
    from edgestem.play.doors.terminal import Terminal

    console, doors = show.console, list[Any]()
    if args.to or args.null == "fast":
        return doors
    doors.append(Terminal(console, say, answer))
    if args.pedal != "none":
        from edgestem.play.doors.pedals import Pedals

        paths = tuple(args.pedal_device)
        doors.append(Pedals(console, say, mode=args.pedal, paths=paths))
    if args.page is not None:
        from edgestem.play.doors.page import PORT, Page

        is_lan, port = _page(args.page, PORT)
        doors.append(Page(console, say, is_lan=is_lan, port=port))
    if args.socket is not None:
        from edgestem.play.doors.wire_door import WireDoor

        doors.append(WireDoor(console, say, args.socket))
    for path in args.midi:
        from edgestem.play.doors.midi import Midi

        doors.append(Midi(console, say, path))
    return doors


def _page(text: str, usual: int) -> tuple[bool, int]:
    """Read `PORT`, `lan` or `lan:PORT`."""
    who, _, number = text.rpartition(":") if ":" in text else ("", "", text)
    if text == "lan":
        who, number = "lan", ""
    is_port = not number or (number.isdigit() and int(number) < 1 << 16)
    if who not in ("", "lan") or not is_port:
        raise UsageError(f"--page: expected PORT, lan or lan:PORT, got {text[:40]}")
    return who == "lan", int(number) if number else usual
