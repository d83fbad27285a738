"""What a look at a watched library costs in which nothing is new.

python -m tools.bench.karaoke.looks FOLDER [--songs 20000]
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from edgestem.karaoke.export import Export
from edgestem.karaoke.items import find_items
from edgestem.karaoke.layouts.choice import make_layout
from edgestem.karaoke.layouts.layout import Settings
from edgestem.karaoke.makers import Separating
from edgestem.karaoke.state import Entry, State
from edgestem.karaoke.watch import Watch, sign_of
from edgestem.network.choices import DEFAULT
from edgestem.network.compute import ANY

_SONG = b"\xff\xfb\x90\x64" + bytes(3000)  # a look reads no further than the tags
_A_FOLDER = 200  # songs


def make_songs(folder: Path, n_songs: int) -> None:
    for number in range(n_songs):
        place = folder / f"{number // _A_FOLDER:03}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"Artist - Song {number}.mp3").write_bytes(_SONG)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--songs", type=int, default=20_000)
    args = parser.parse_args()
    songs, out = args.folder / "songs", args.folder / "out"
    if not songs.exists():
        make_songs(songs, args.songs)
    out.mkdir(exist_ok=True)
    export = Export(make_layout("flat", Settings(out)), Separating(DEFAULT, ANY))
    with State(out / "state") as state:
        for item in find_items([str(songs)], out).items:
            state.entries[str(item.path)] = Entry(sign_of(item))
        watch = Watch(export, songs, out, state, settle_s=5, tell=lambda _: None)
        for _ in range(3):
            cpu, clock = time.process_time(), time.monotonic()
            scan = watch.look()
            assert not scan.ready
            cpu, clock = time.process_time() - cpu, time.monotonic() - clock
            print(f"{scan.n_items} songs: {cpu:.2f} s of CPU, {clock:.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{peak} MiB at most")


if __name__ == "__main__":
    main()
