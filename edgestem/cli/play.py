"""`edgestem play`: what its words mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestem.cli.hardware import make_compute
from edgestem.cli.usage import UsageError
from edgestem.errors import AudioError, EdgestemError
from edgestem.stems import SILENT_DB

if TYPE_CHECKING:
    from edgestem.play.items import Item
    from edgestem.play.show import Door, Show, ShowSettings, Sink
    from edgestem.store.store import Store


def run(
    args: argparse.Namespace,
    say: Callable[[str], None],
    answer: Callable[[str], None],
) -> int:
    """Play; return the exit status."""
    from edgestem.play.show import Show, first_rate

    _check_doors(args)
    missing: list[str] = []
    items, loudness, is_set = _items(args, missing.append if args.check else say)
    settings = _settings(args, loudness, say)
    if args.check:
        return _check(args, items, missing, settings, answer)
    is_hasty = bool(args.to or args.null == "fast")
    settings.is_started = args.go or not is_set or is_hasty
    settings.ends = not is_set or is_hasty
    client = _jack_client() if args.jack else None
    rate = client.samplerate if client is not None else args.rate or first_rate(items)
    show = Show(items, rate, settings, say)
    if args.test:
        return _test(_sink(args, show, client), answer)
    if is_set:
        from edgestem.play.set_file import SetFile

        show.console.set_file = SetFile(Path(args.paths[0]))
    sink = _sink(args, show, client)
    doors = _doors(args, show, say, answer)
    show.run(sink, [*doors, *_midi(args, show, say, sink)])
    if all(track.error for track in show.player.tracks):
        return 1
    if args.to:
        say(f"{args.to} is written")
    return 0


def _check_doors(args: argparse.Namespace) -> None:
    """Refuse doors that would never be opened."""
    is_hasty = args.to or args.null == "fast"
    if is_hasty and (args.page is not None or args.socket or args.midi):
        raise UsageError(
            "--page, --socket and --midi are for a show that plays in time: leave them "
            "out with --to and --null fast"
        )


def _check(
    args: argparse.Namespace,
    items: list[Item],
    missing: list[str],
    settings: ShowSettings,
    answer: Callable[[str], None],
) -> int:
    from edgestem.play.rehearsal import rehearse

    needs_card = not (args.jack or args.to or args.null)
    card = (args.card or "default") if needs_card else None
    s = settings
    found = rehearse(items, s.model, s.compute, s.store, card)
    is_good = True
    for is_fine, sentence in [*((False, text) for text in missing), *found]:
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
    if len(paths) > 1 and any(is_set_list(path) for path in paths):
        raise UsageError("name one set list alone, or songs without a set list")
    if is_set:
        found = read_set_list(paths[0])
        items, loudness, missing = found.items, found.loudness, found.missing
    else:
        items, missing = [Item(path) for path in paths], check_paths(paths)
    for sentence in missing:
        say(sentence)
    for item in items:
        _apply(args, item, is_followed=not is_set)
        _spare(args.to, item.path)
    _keep_other(args)
    return items, args.loudness if args.loudness is not None else loudness, is_set


def _spare(to: str | None, song: Path) -> None:
    """Refuse to write over a song that is to be played."""
    if to and song.exists() and Path(to).exists() and song.samefile(to):
        raise UsageError(f"--to {to} is a song of this set: choose another name")


def _keep_other(args: argparse.Namespace) -> None:
    """Refuse to write over another file, unless --force says so.

    Raises
    ------
    AudioError
        `exists`.
    """
    if args.to and Path(args.to).is_file() and not args.force:
        raise AudioError(
            f"{args.to} exists: use --force to replace it", code="exists", path=args.to
        )


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


def _store(args: argparse.Namespace, say: Callable[[str], None]) -> Store | None:
    """Open the store; a show goes on without the usual one, and says so."""
    from edgestem.store.store import Store, default_folder

    if args.store == "none":
        return None
    try:
        folder = Path(args.store) if args.store else default_folder()
        return Store(folder, args.store_mb << 20)
    except EdgestemError as error:
        if args.store or args.check:
            raise
        say(f"{error}; nothing is kept")
        return None


def _settings(
    args: argparse.Namespace, loudness: float | None, say: Callable[[str], None]
) -> ShowSettings:
    from edgestem.network.choices import DEFAULT
    from edgestem.play.show import ShowSettings

    return ShowSettings(
        args.model or DEFAULT, make_compute(args), _store(args, say),
        ahead_s=args.ahead_ms / 1000, engine=args.stretch,
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
        on_press = _on_press(args, show)
        doors.append(
            Pedals(console, say, mode=args.pedal, paths=paths, on_press=on_press)
        )
    if args.page is not None:
        from edgestem.play.doors.page import PORT, Page
        from edgestem.play.doors.token import kept_token

        is_lan, port = _page(args.page, PORT)
        token = kept_token()
        doors.append(Page(console, say, is_lan=is_lan, port=port, token=token))
    if args.socket is not None:
        from edgestem.play.doors.wire_door import WireDoor

        doors.append(WireDoor(console, say, args.socket))
    return doors


def _on_press(args: argparse.Namespace, show: Show) -> Callable[[], None]:
    """Tell what else a press does."""
    return show.player.desk.tick if args.tick else lambda: None


def _midi(
    args: argparse.Namespace, show: Show, say: Callable[[str], None], sink: Any
) -> list[Door]:
    """Make MIDI's doors, in and out: raw devices, and JACK's ports."""
    from edgestem.play.doors.midi import Midi
    from edgestem.play.doors.midi_out import MidiOut

    sources = [*args.midi, *([sink.midi_fd] if args.jack else [])]
    more: dict[str, Any] = {"midi_map": args.midi_map}
    more["on_press"] = _on_press(args, show)
    ins = [Midi(show.console, say, source, **more) for source in sources]
    outs = [MidiOut(path, say) for path in args.midi_out]
    senders = [out.send for out in outs] + ([sink.send] if args.jack else [])

    def send(item: Item) -> None:
        for sender in senders if item.midi else ():
            sender(item.midi)

    show.player.on_select = send
    return [*ins, *outs]


def _page(text: str, usual: int) -> tuple[bool, int]:
    """Read `PORT`, `lan` or `lan:PORT`."""
    who, _, number = text.rpartition(":") if ":" in text else ("", "", text)
    if text == "lan":
        who, number = "lan", ""
    is_port = not number or (number.isdigit() and int(number) < 1 << 16)
    if who not in ("", "lan") or not is_port:
        raise UsageError(f"--page: expected PORT, lan or lan:PORT, got {text[:40]}")
    return who == "lan", int(number) if number else usual
