"""`edgestem watch`: a folder that is kept in a karaoke program's layout."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestem.cli import interrupts
from edgestem.cli.console import complain, put, say
from edgestem.cli.library import add_library_options, make_layout, make_maker
from edgestem.cli.usage import UsageError
from edgestem.cli.values import filled, real
from edgestem.cli.world import as_error
from edgestem.errors import EdgestemError

if TYPE_CHECKING:
    from edgestem.karaoke.items import Item
    from edgestem.karaoke.queued import Queue
    from edgestem.karaoke.state import Sign
    from edgestem.karaoke.watch import Scan, Watch

Parser = argparse.ArgumentParser
STATE = ".edgestem-watch.jsonl"
_WATCH = """\
Does what edgestem export does, again and again: files that are new or have changed
are separated when they have not changed for --settle seconds.  A disk of this machine
tells of changes at once.  Network disks do not: there it looks at the folder every
--interval seconds, less often where there is very much to look at.  Nothing is ever
deleted.  When more than half of the songs that were done are gone, a disk is probably
missing: nothing is done until they are back.

The file .edgestem-watch.jsonl in the -o folder, else in the watched one, lists what
was done, so a new start goes on where the last one ended.  Songs that cannot be read
are named once, and tried again when they change.

--queue asks the karaoke program before each song what is sung next.  URL is needed
where it listens elsewhere than at its usual port on this machine.

--once handles the files that are there and ends.  Its exit status is 0 when all is
done, 1 when something failed, 3 when a disk seems to be missing.
"""
_EXAMPLES = """\
examples:
  edgestem watch Songs --layout pikaraoke
  edgestem watch Songs --layout pikaraoke --queue http://pi.local:5555
  edgestem watch /mnt/nas/Music -o /mnt/nas/Stems --layout folders --socket
  edgestem watch Songs --layout openhome --once     in cron, or by hand
"""
_RETRY_S = 60.0  # after trouble that is not a song's: a full disk, no daemon
_FULL_S = 600.0  # between two looks, whatever the disk told: events may get lost
_SETTLE_S = {True: 5.0, False: 15.0}  # by whether the disk tells of changes
_BEAT_S = 5.0  # between two signs of life
_HELD = 3
_REST = 9  # times as long as a look took: nine tenths of the time at least are rest


def add_parser(command: Callable[..., Parser]) -> None:
    """Add the command."""
    text = "keep a folder in a karaoke program's layout"
    parser = command("watch", text, _WATCH, _EXAMPLES)
    parser.add_argument("dir", type=filled, metavar="DIR", help="the folder of songs")
    add_library_options(parser)
    add = parser.add_argument
    add("--once", action="store_true", help="do what there is, then end")
    add("--interval", type=real(0.1, 86400), default=10.0, metavar="S",
        help="between two looks at a network disk (default: 10)")  # fmt: skip
    add("--settle", type=real(0, 86400), metavar="S",
        help="how long a file has to rest (default: 5; network disks 15)")  # fmt: skip
    add("--queue", nargs="?", const="", metavar="URL",
        help="do first what is queued in PiKaraoke or OpenHomeKaraoke")  # fmt: skip
    add("--state", type=filled, metavar="FILE", help="where to remember what was done")
    add("--json", action="store_true", help="print one JSON object an event to stdout")


def run(args: argparse.Namespace) -> int:
    """Do the command; return the exit status.

    Raises
    ------
    UsageError
        The options contradict each other.
    EdgestemError
        `watched`, or the state cannot be kept.
    """
    from edgestem.karaoke.export import Export
    from edgestem.karaoke.state import State
    from edgestem.karaoke.watch import Watch

    root = Path(args.dir)
    if not root.is_dir():
        raise UsageError(f"{root} is no folder: watch a folder of songs")
    layout, queue = make_layout(args), _make_queue(args)
    path = Path(args.state or Path(args.out or root) / STATE)
    with State(path) as state:
        watcher = _Watcher(args, queue)
        watch = Watch(
            Export(layout, make_maker(args)),
            root,
            Path(args.out or os.devnull),
            state,
            settle_s=_SETTLE_S[False] if args.settle is None else args.settle,
            tell=watcher.tell,
        )
        return watcher.run(watch)


def _make_queue(args: argparse.Namespace) -> Queue | None:
    """Turn arguments into the queue that is asked.

    Raises
    ------
    UsageError
        There is no usual address, or the one given is none.
    """
    from edgestem.karaoke.queued import USUAL, Queue

    if args.queue is None:
        return None
    if not (url := args.queue or USUAL.get(args.layout)):
        raise UsageError(
            f"--queue needs an address with --layout {args.layout}: "
            "--queue http://localhost:5555 is PiKaraoke's"
        )
    try:
        return Queue(url, args.layout)
    except ValueError as cause:
        raise UsageError(f"--queue: {cause}") from cause


def _bug(cause: Exception) -> EdgestemError:
    from edgestem.cli.world import bug

    return bug(cause)


class _Watcher:
    """The loop, and what is said of it: to people, programs and systemd."""

    def __init__(self, args: argparse.Namespace, queue: Queue | None = None) -> None:
        from edgestem.karaoke.changes import Changes

        self._args, self._queue, self._queue_problem = args, queue, ""
        self._counts: Counter[str] = Counter()
        self._last: dict[str, Any] = {}
        self._changes = Changes()
        self._look_s = 0.0

    def run(self, watch: Watch) -> int:
        """Look and do until somebody ends it; return the exit status."""
        self._notify("READY=1")
        if not (self._args.once or self._args.quiet):
            say(f"watching {self._args.dir}; Ctrl-C ends it")
        while True:
            interrupts.check()
            self._changes.drain()
            started = time.monotonic()
            scan = watch.look()
            self._look_s = time.monotonic() - started
            is_troubled = False
            waiting = list(scan.ready)
            while waiting:
                item, sign = waiting.pop(self._next(waiting))
                number = len(scan.ready) - len(waiting)
                self._notify(f"STATUS=song {number} of {len(scan.ready)}: {item.path}")
                is_troubled = not self._do(watch, item, sign)
                if is_troubled:
                    break
            self._notify(f"STATUS={self._words()}")
            if self._args.once and (scan.is_held or not scan.n_settling):
                if is_troubled or not scan.ready or scan.is_held:
                    return self._end(is_held=scan.is_held, is_troubled=is_troubled)
                continue  # what became of it, and what came meanwhile
            self._rest(watch, scan, is_troubled=is_troubled)

    def _next(self, waiting: list[tuple[Item, Sign]]) -> int:
        """Find what is sung first; the folder's order, where nobody knows."""
        from edgestem.karaoke.queued import first

        if self._queue is None:
            return 0
        queued = self._queue.ask()
        problem, self._queue_problem = self._queue_problem, self._queue.problem
        if self._queue_problem not in ("", problem):
            self.tell({"event": "no_queue", "text": self._queue_problem})
        return first([item.path for item, _ in waiting], queued)

    def _do(self, watch: Watch, item: Item, sign: Sign) -> bool:
        """Do an item; say whether the next one may be tried."""
        try:
            word = watch.do(item, sign, lambda *_: self._beat())
        except EdgestemError:
            raise  # the state cannot be kept
        except Exception as cause:  # the others are still to be done
            interrupts.check()
            if self._args.debug:
                raise
            watch.give_up(item, sign, as_error(cause) or _bug(cause))
            word = "failed"
        self._counts[word] += 1
        return self._last.get("event") != "trouble"

    def _beat(self) -> None:
        interrupts.check()
        self._notify("WATCHDOG=1")

    def _rest(self, watch: Watch, scan: Scan, *, is_troubled: bool) -> None:
        """Wait until it is worth looking again."""
        from edgestem.karaoke.changes import Told

        told = self._changes.follow([] if scan.is_held else scan.folders)
        settle_s, every_s = self._args.settle, self._args.interval
        if settle_s is None:
            settle_s = watch.settle_s = _SETTLE_S[told is not Told.NOTHING]
        if is_troubled:
            self._sleep(_RETRY_S)
        elif told is Told.NOTHING:
            self._sleep(max(every_s, _REST * self._look_s))
        elif scan.n_settling:
            self._sleep(min(every_s, settle_s or every_s))
        elif told is Told.ALL:
            self._sleep(_FULL_S, until_told=True)

    def _sleep(self, seconds: float, *, until_told: bool = False) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._beat()
            if not until_told:
                time.sleep(min(left, _BEAT_S))
            elif self._changes.wait(min(left, _BEAT_S)):
                return

    def _end(self, *, is_held: bool, is_troubled: bool) -> int:
        if not self._args.quiet:
            say(self._words())
        if is_held:
            return _HELD
        return 1 if is_troubled or self._counts["failed"] else 0

    def _words(self) -> str:
        names = ("written", "there", "failed")
        said = [f"{self._counts[n]} {n}" for n in names if self._counts[n]]
        return ", ".join(said) or "nothing to do"

    def tell(self, event: dict[str, Any]) -> None:
        """Say what happened; looks that show nothing new are not worth a word."""
        is_news = event != self._last
        self._last = event
        if self._args.json and (is_news or event["event"] not in ("scan", "hold")):
            put(json.dumps(event))
        kind = event["event"]
        if kind in ("failed", "trouble"):
            complain("error", event["text"], event["code"])
        elif kind == "hold" and is_news:
            gone = f"{event['gone']} of the songs that were done are gone"
            complain("warning", f"{gone}: is a disk missing? nothing is done till then")
        elif kind == "no_queue":
            complain("warning", f"{event['text']}: songs go in the folder's order")
        for sentence in event.get("warnings", ()):
            complain("warning", sentence)
        if kind == "written" and not self._args.quiet:
            say(f"{event['input']} -> {', '.join(event['outputs'])}")

    def _notify(self, line: str) -> None:
        from edgestem.daemon.system.listener import notify

        if "NOTIFY_SOCKET" in os.environ:
            notify(line)
