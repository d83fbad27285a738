"""By how many samples what `tools.bench.karaoke` wrote is off its originals.

    python -m tools.bench.karaoke.offsets FOLDER

FOLDER is that of the bench, with library, pikaraoke, tracks and ultrastar in it.  Each
sound is decoded as ffmpeg plays it, held against its picture where it has one, and
compared with the original's by cross-correlation.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tools.judge.consumers import RATE, correlation, decode

Row = tuple[str, int, int]  # what, offset, samples that it is longer
_WORD = " (Instrumental)"
_TIMED = ("-af", "aresample=async=1:first_pts=0")  # silence until the first sample


def picture_starts(path: Path) -> float:
    """Seconds from the file's own start, from which ffmpeg counts, to its picture."""
    line = ("ffprobe", "-v", "error", "-select_streams", "v", "-of", "csv=p=0")
    line += ("-show_entries", "frame=pts_time:format=start_time")
    done = subprocess.run(
        [*line, "-read_intervals", "%+#1", str(path)],
        capture_output=True,
        check=True,
        text=True,
    )
    picture, file = (float(x.strip(",")) for x in done.stdout.split())
    return picture - file


def compare(what: str, old: Path, new: Path, stream: str = "0:a:0") -> Row:
    is_film = new.suffix in (".mp4", ".mkv")
    words = _TIMED if is_film else ()
    x, y = decode(old, words=words), decode(new, stream, words)
    shift = picture_starts(new) - picture_starts(old) if is_film else 0.0
    return what, correlation(x, y)[1] - round(shift * RATE), len(y) - len(x)


def pairs(folder: Path) -> Iterator[Row]:
    """MP3+G as pairs and in zips: sound, and the same picture."""
    for new in sorted((folder / "pikaraoke" / "MP3+G").glob(f"*{_WORD}.mp3")):
        old = new.with_name(new.name.replace(_WORD, ""))
        same = (
            new.with_suffix(".cdg").read_bytes() == old.with_suffix(".cdg").read_bytes()
        )
        assert same, new
        yield compare("MP3+G", old, new)
    for new in sorted((folder / "pikaraoke" / "Zips").glob(f"*{_WORD}.zip")):
        old = new.with_name(new.name.replace(_WORD, ""))
        with tempfile.TemporaryDirectory() as name:
            songs = [
                _unzip(path, Path(name) / str(n)) for n, path in enumerate((old, new))
            ]
            yield compare("MP3+G in a zip", *songs)


def _unzip(path: Path, target: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(target)
    (song,) = target.glob("*.mp3")
    return song


def films(folder: Path) -> Iterator[Row]:
    """Films of both layouts, every track of them."""
    for old in sorted((folder / "library").glob("*.m[pk][4v]")):
        stem, _, tail = old.stem.partition("---")
        name = f"{stem}{_WORD}{'---' * bool(tail)}{tail}{old.suffix}"
        kind = old.suffix[1:].upper()
        yield compare(f"{kind}, pikaraoke", old, folder / "pikaraoke" / name)
        for n, track in enumerate(("Instrumental", "With vocals")):
            new = folder / "tracks" / old.name
            yield compare(f"{kind}, tracks, {track}", old, new, f"0:a:{n}")


def texts(folder: Path) -> Iterator[Row]:
    """UltraStar's songs and instrumentals."""
    for text in sorted((folder / "ultrastar" / "UltraStar").rglob("*.txt")):
        songs = [p for p in text.parent.iterdir() if p.suffix in (".mp3", ".ogg")]
        (old,) = (p for p in songs if p.stem == text.stem)
        for word in ("INSTR", "VOC"):
            new = old.with_name(f"{text.stem} [{word}]{old.suffix}")
            yield compare(f"UltraStar {old.suffix[1:]}, {word}", old, new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    found: dict[str, list[tuple[int, int]]] = {}
    for what, offset, longer in (*pairs(folder), *films(folder), *texts(folder)):
        found.setdefault(what, []).append((offset, longer))
    print("| what | files | offset, samples | longer by, samples |\n|---|---|---|---|")
    for what, rows in found.items():
        offsets, lengths = (np.array(rows)[:, n] for n in range(2))
        print(f"| {what} | {len(rows)} | {_range(offsets)} | {_range(lengths)} |")


def _range(x: np.ndarray) -> str:
    return str(x[0]) if np.all(x == x[0]) else f"{x.min()} to {x.max()}"


if __name__ == "__main__":
    main()
