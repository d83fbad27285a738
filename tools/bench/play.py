"""The player on the null sink: first sound, seek to sound, cost, long sets.

python -m tools.bench.play first SONG...     p50 and p95 of 20 starts, stored and cold,
                                             and mpv's, where it is installed
python -m tools.bench.play press SONG        from a press to the sound, in a set
python -m tools.bench.play cost SONG         share of a core, plain and transposed
python -m tools.bench.play long HOURS SONG   as fast as it goes; gaps and memory
python -m tools.bench.play timed SECONDS SONG
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from edgestem.engine.separator import Separator
from edgestem.live.realtime import SWITCH_S
from edgestem.network.choices import DEFAULT
from edgestem.network.compute import ANY
from edgestem.play.ahead import Ahead
from edgestem.play.chain import SongSettings
from edgestem.play.items import Item
from edgestem.play.player import Player
from edgestem.play.routes import Routes
from edgestem.play.show import first_rate
from edgestem.play.sinks import NullSink
from edgestem.play.sources import Sources
from edgestem.store.store import Store
from tools.bench.mpv import Mpv, has_mpv


class Listener:
    """A player on a null sink, and when something was heard."""

    def __init__(
        self, items: list[Item], store: Store | None, is_timed: bool, rate: int = 0
    ) -> None:
        ahead = Ahead(Sources(DEFAULT, ANY, store, print), print)
        self.player = Player(items, ahead, rate or first_rate(items), say=print)
        self.heard_at = 0.0
        self.is_over = False
        sink = NullSink(
            self.player.desk, Routes(), block=256, is_timed=is_timed, listen=self.hear
        )
        self.thread = threading.Thread(target=sink.run, args=(lambda: self.is_over,))
        self.player.start()
        self.thread.start()

    def hear(self, out: np.ndarray) -> None:
        if not self.heard_at and np.any(out):
            self.heard_at = time.monotonic()

    def wait_for_sound(self, since: float, *, seek: float | None = None) -> float:
        while self.heard_at == 0:
            time.sleep(0.0005)
        return self.heard_at - since

    def close(self) -> None:
        self.is_over = True
        self.player.desk.is_open_ended = True
        self.thread.join()
        self.player.close()


def warm() -> None:
    """Load the network once: what a show has done before the first song."""
    Separator(44100, 2)


def first(songs: list[Path], n_starts: int) -> None:
    """Time starts in turns, so that all meet the same machine."""
    warm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(folder / "store")
        for song in songs:
            fill(song, store)
        with Mpv(folder) if has_mpv() else nullcontext() as mpv:
            print("song: ms to the first sound, p50 p95")
            for song in songs:
                print(f"{song.name:12} {_turns(song, store, mpv, n_starts)}")


def _turns(song: Path, store: Store, mpv: Mpv | None, n_starts: int) -> str:
    rate = first_rate([Item(song)])
    found: dict[str, list[float]] = {}
    for _ in range(n_starts):
        for word, kept in (("stored", store), ("cold", None)):
            play, seek = start(song, kept, rate)
            found.setdefault(word, []).append(play)
            found.setdefault(f"{word}, seek", []).append(seek)
        if mpv is not None:
            found.setdefault("mpv", []).append(mpv.first_sound(song))
    return "; ".join(f"{word} {both(times)}" for word, times in found.items())


def start(song: Path, store: Store | None, rate: int) -> tuple[float, float]:
    """Play a song, then jump; seconds to the first sound of each."""
    started = time.monotonic()
    one = Listener([Item(song)], store, True, rate)
    one.player.play()
    play = one.wait_for_sound(started)
    length = max(one.player.track.length / one.player.sample_rate, 1)
    one.heard_at = 0.0
    one.player.panic()
    while not one.player.desk.is_silent:
        time.sleep(0.001)
    one.heard_at = 0.0
    started = time.monotonic()
    one.player.seek(length * 0.8)
    one.player.play()
    seek = one.wait_for_sound(started)
    one.close()
    return play, seek


def press(song: Path) -> None:
    """From a press to the sound of 20 songs of a set, cued and never seen."""
    n = 20
    one = Listener([Item(song)] * (1 + 6 * n), None, True)  # the next two are prepared
    player, found = one.player, dict[str, list[float]]()
    while not player.tracks[0].front:  # a show waits, cued, for the first press
        time.sleep(0.01)
    time.sleep(1)
    for i in range(2 * n):
        word = "cued" if i % 2 else "never seen"
        player.panic()
        while not player.desk.is_silent:
            time.sleep(0.001)
        if word == "cued":
            player.select(1 + 3 * i, is_played=False)
            while not (player.tracks[1 + 3 * i].front and player.desk.ring.n_waiting):
                time.sleep(0.001)
            time.sleep(0.1)
        one.heard_at, began = 0.0, time.monotonic()
        if word != "cued":
            player.select(1 + 3 * i, is_played=True)
        player.play()
        found.setdefault(word, []).append(one.wait_for_sound(began))
    one.close()
    print("; ".join(f"{word} {both(times)}" for word, times in found.items()))


def both(times: list[float]) -> str:
    return "{:.0f} {:.0f}".format(*(1000 * np.percentile(times, (50, 95))))


def fill(song: Path, store: Store) -> None:
    one, n_before = Listener([Item(song)], store, False), len(store.receipts())
    while len(store.receipts()) == n_before:
        time.sleep(0.05)
    one.close()


def cost(song: Path) -> None:
    warm()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        fill(song, store)
        for key, tempo in ((0, 1.0), (3, 1.0), (0, 0.8), (3, 0.8)):
            one = Listener(
                [Item(song, SongSettings(key=key, tempo=tempo))], store, True
            )
            one.player.play()
            while one.player.state != "playing" or not one.player.track.is_complete:
                time.sleep(0.05)
            time.sleep(1)
            before, began = time.process_time(), time.monotonic()
            time.sleep(8)
            share = (time.process_time() - before) / (time.monotonic() - began)
            late = one.player.desk.n_late
            one.close()
            print(f"key {key:+} tempo {tempo:.0%}: {share:.1%} of a core, {late} late")


def long(hours: float, song: Path) -> None:
    n = max(round(hours * 3600 / 24), 1)
    settings = [SongSettings(), SongSettings(key=2), SongSettings(tempo=0.9)]
    items = [Item(song, settings[i % 3], is_followed=True) for i in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        one = Listener(items, Store(Path(folder)), False)
        one.player.play()
        began, told = time.monotonic(), 0.0
        while one.player.state != "ended":
            time.sleep(0.05)
            if time.monotonic() - told > 5:
                told = time.monotonic()
                status = one.player.status()
                print(f"song {status['index'] + 1}/{n}, RSS {rss()} MB")
        played = one.player.desk.ring.played / one.player.sample_rate
        late = one.player.desk.n_late
        print(f"{played:.0f} s in {time.monotonic() - began:.0f} s, {late} late")
        one.close()


def timed(seconds: float, song: Path) -> None:
    n = max(round(seconds / 24), 1) + 1
    one = Listener([Item(song, is_followed=True) for _ in range(n)], None, True)
    one.player.play()
    end = time.monotonic() + seconds
    before, began = time.process_time(), time.monotonic()
    while time.monotonic() < end:
        time.sleep(30)
        status = one.player.status()
        dry, late = status["dry_s"], status["n_late"]
        print(f"song {status['index'] + 1}, {late} late, {dry} s dry, RSS {rss()} MB")
    share = (time.process_time() - before) / (time.monotonic() - began)
    print(f"{share:.1%} of a core")
    one.close()


def rss() -> int:
    text = Path("/proc/self/statm").read_text().split()[1]
    return int(text) * resource.getpagesize() >> 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_subparsers(dest="what", required=True).add_parser
    starts = add("first")
    starts.add_argument("songs", type=Path, nargs="+")
    starts.add_argument("--starts", type=int, default=20)
    add("cost").add_argument("song", type=Path)
    add("press").add_argument("song", type=Path)
    for name, unit in (("long", "hours"), ("timed", "seconds")):
        one = add(name)
        one.add_argument("length", type=float, metavar=unit.upper())
        one.add_argument("song", type=Path)
    args = parser.parse_args()
    sys.setswitchinterval(SWITCH_S)
    if args.what == "first":
        first(args.songs, args.starts)
    elif args.what == "press":
        press(args.song)
    elif args.what == "cost":
        cost(args.song)
    elif args.what == "long":
        long(args.length, args.song)
    else:
        timed(args.length, args.song)


if __name__ == "__main__":
    main()
