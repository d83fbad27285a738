"""An evening of the player beside what a stage brings: a foot, phones, a busy core.

usage: python -m tools.siege.stage SONG... [--minutes 30] [--phones 20] [--set 130]

The player runs in real time on the null sink, with karaoke's network and no store.  A
pedal (a FIFO of input events) starts songs that nothing was prepared of, and songs that
wait; then the set plays on.  Phones listen to the page and one loads it each second; in
the middle the page's server ends and comes again.  Another program separates songs all
the while, on one core.  Printed is how long each press took from the time in its event
to the first sample that is not zero, late blocks, the phones' longest time without
news, and memory.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edgestem.live.realtime import SWITCH_S
from edgestem.play.chain import SongSettings
from edgestem.play.commands import Console
from edgestem.play.doors.gestures import SWITCHES
from edgestem.play.doors.page import Page
from edgestem.play.doors.pedals import Pedals
from edgestem.play.items import Item
from tools.bench.play import Listener, both, rss, warm
from tools.siege.phones import Phones

from feet import Foot  # isort: skip - the siege's __init__

N_PRESSES = 20  # of each kind
SETTINGS = (SongSettings(), SongSettings(key=2), SongSettings(tempo=0.9))
GO, STOP = SWITCHES["A"][0], SWITCHES["B"][0]


def separate_for_ever(songs: list[Path], folder: Path) -> None:
    """Keep one core busy with the same network, in programs of their own."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])
    for song in itertools.cycle(songs):
        words = [sys.executable, "-m", "edgestem", "separate", str(song)]
        words += ["-o", str(folder), "--force"]
        subprocess.run(words, check=True, capture_output=True)


@contextlib.contextmanager
def others(what: str, *work: multiprocessing.Process) -> Iterator[None]:
    """Let processes run meanwhile."""
    for process in work:
        process.start()
    try:
        yield
    finally:
        for process in work:
            if process.exitcode not in (None, 0):
                print(f"{what}: a process ended with {process.exitcode}")
            process.kill()
            process.join()


def press(one: Listener, foot: Foot) -> float:
    """Press the pedal's A; seconds from its event to the first sound."""
    one.heard_at = 0.0
    pressed = time.monotonic()
    foot.send(GO, 1)
    time.sleep(0.03)
    foot.send(GO, 0)
    return one.wait_for_sound(pressed)


def stop(one: Listener, foot: Foot) -> None:
    foot.tap(STOP)
    while one.player.state != "ready" or not one.player.desk.is_silent:
        time.sleep(0.002)


def presses(one: Listener, foot: Foot) -> None:
    """Start songs by foot: never seen, and cued."""
    player, found = one.player, dict[str, list[float]]()
    for i in range(2 * N_PRESSES):
        place, is_cued = 1 + 3 * i, i % 2 == 1  # the next two are prepared
        player.select(place, is_played=False)
        if is_cued:
            while not (player.tracks[place].front and player.desk.ring.n_waiting):
                time.sleep(0.001)
            time.sleep(0.1)
        word = "cued" if is_cued else "never seen"
        found.setdefault(word, []).append(press(one, foot))
        time.sleep(1)
        stop(one, foot)
    for word, times in found.items():
        most = 1000 * max(times)
        print(f"press, {word}: ms to the sound, p50 p95 {both(times)}, most {most:.0f}")


def show(one: Listener, foot: Foot, page: Page, seconds: float) -> Page:
    """Play on; end the page in the middle and start it again."""
    player = one.player
    player.select(0, is_played=True)
    began, told, n_pages = time.monotonic(), 0.0, 1
    while (passed := time.monotonic() - began) < seconds:
        time.sleep(0.2)
        if n_pages == 1 and passed > seconds / 2:
            page.close()
            page = Page(page.console, print, port=page.port, token=page.token)
            page.start()
            n_pages = 2
        if passed - told > 60:
            told = passed
            status = player.status()
            print(
                f"{passed / 60:.0f} min: song {status['index'] + 1}, "
                f"{status['n_late']} late, {status['dry_s']} s dry, "
                f"{page.n_listeners} phones, {rss()} MB",
                flush=True,
            )
    return page


def evening(args: argparse.Namespace, folder: Path) -> None:
    items = [
        Item(song, SETTINGS[i % 3], is_followed=True)
        for i, song in zip(
            range(args.n_songs), itertools.cycle(args.songs), strict=False
        )
    ]
    one, foot = Listener(items, None, True), Foot(folder / "event0")
    page = Page(Console(one.player), print, port=0)
    pedals = Pedals(page.console, print, paths=(foot.path,))
    spawn = multiprocessing.get_context("spawn")
    longest = spawn.Value("d", 0.0)
    phones = Phones(page.port, page.token, args.phones, longest)
    seconds = 60 * args.minutes
    busy = spawn.Process(target=separate_for_ever, args=(args.songs, folder / "stems"))
    for door in (page, pedals):
        door.start()
    with others("stage", busy, spawn.Process(target=phones.run, args=(10 * seconds,))):
        time.sleep(3)
        presses(one, foot)
        page = show(one, foot, page, seconds)
        late = one.player.status()["n_late"]
    print(
        f"{late} late blocks, {args.phones} phones at most {longest.value:.1f} s "
        f"without news, {rss()} MB"
    )
    one.close()
    pedals.close()
    page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("songs", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--phones", type=int, default=20)
    parser.add_argument(
        "--set", dest="n_songs", type=int, default=130, help="songs in the set"
    )
    args = parser.parse_args()
    args.songs = [song.resolve() for song in args.songs]
    sys.setswitchinterval(SWITCH_S)
    warm()
    with tempfile.TemporaryDirectory() as folder:
        evening(args, Path(folder))


if __name__ == "__main__":
    main()
