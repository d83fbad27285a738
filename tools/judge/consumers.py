"""Other programs on what `edgestem export` wrote.

    python tools/judge/consumers.py pikaraoke FOLDER
    python tools/judge/consumers.py stempeg FOLDER
    python tools/judge/consumers.py ffprobe FOLDER...
    python tools/judge/consumers.py mixxx SETTINGS FOLDER...

The first two want virtual environments of their own (`pip install pikaraoke numpy`,
`pip install stempeg`).  PiKaraoke's FileResolver opens each sibling of a folder that
was exported in place, and its build_ffmpeg_cmd is run to a file, plain, normalised and
transposed: the sound that comes out is compared with our instrumental by
cross-correlation.  ffprobe reads every file.  Mixxx's library, after its scanner has
been there (`mixxx --settingsPath SETTINGS`), says which files it lists.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np

RATE = 44100
SOUNDS = frozenset("mp3 m4a flac ogg opus wav mp4 mkv mka webm".split())  # noqa: SIM905


def decode(path: Path, stream: str = "0:a:0") -> np.ndarray:
    line = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", stream]
    line += ["-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"]
    done = subprocess.run(line, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)


def correlation(x: np.ndarray, y: np.ndarray) -> tuple[float, int]:
    """Greatest normalised correlation, and the samples by which y comes later."""
    n = 1 << int(np.ceil(np.log2(len(x) + len(y))))
    found = np.fft.irfft(np.conj(np.fft.rfft(x, n)) * np.fft.rfft(y, n))
    at = int(np.argmax(np.abs(found)))
    share = float(found[at] / np.sqrt(np.sum(x**2.0) * np.sum(y**2.0)))
    return share, at if at < n // 2 else at - n


def pikaraoke(folder: Path) -> None:
    from pikaraoke.lib.ffmpeg import build_ffmpeg_cmd
    from pikaraoke.lib.file_resolver import FileResolver
    from pikaraoke.lib.song_list import SongList

    songs = SongList()
    for path in sorted(folder.rglob("*.*")):
        if not songs.add_if_valid(str(path)):
            continue
        try:
            ours = decode(Path(FileResolver(str(path), "mp4").file_path or ""))
        except Exception as cause:  # a plain mp3 has no .cdg
            print(f"{path.name}: listed, and cannot be opened: {cause}"[:120])
            continue
        for name, options in (
            ("plain", {"normalize_audio": False}),
            ("normalised", {"normalize_audio": True}),
            ("transposed", {"normalize_audio": False, "semitones": 2}),
        ):
            resolver = FileResolver(str(path), "mp4")  # a name of its own
            command = build_ffmpeg_cmd(resolver, force_mp4_encoding=True, **options)
            line = [*command.compile()]
            done = subprocess.run(line, capture_output=True, check=False)
            if done.returncode:
                print(f"{path.name}: {name}: {done.stderr.decode()[-200:]}")
                continue
            share, late = correlation(ours, decode(Path(resolver.output_file)))
            print(
                f"{path.name}: {name}: correlation {share:.3f}, {late} samples late, "
                f"duration {resolver.duration} s"
            )


def stempeg(folder: Path) -> None:
    import stempeg as library

    for path in sorted(folder.rglob("*.stem.mp4")):
        stems, rate = library.read_stems(str(path))
        error = np.sum(stems[1:], axis=0) - stems[0]
        level = 10 * np.log10(np.mean(error**2) / np.mean(stems[0] ** 2))
        print(f"{path.name}: stempeg {stems.shape} at {rate} Hz, sum {level:.1f} dB")


def ffprobe(folders: list[Path]) -> None:
    """Count kinds of files, and name those that ffprobe says something about."""
    line = ("ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json")
    for folder in folders:
        kinds: Counter[str] = Counter()
        for path in sorted(folder.rglob("*")):
            if path.suffix[1:] not in SOUNDS or not path.is_file():
                continue
            done = subprocess.run([*line, f"file:{path}"], capture_output=True)
            found = json.loads(done.stdout or "{}").get("streams", [])
            kinds[_kind(path, found)] += 1
            if done.returncode or done.stderr:
                print(f"{path}: {done.stderr.decode()[:200]}")
        for kind, n in sorted(kinds.items()):
            print(f"{folder.name}: {n} x {kind}")


def _kind(path: Path, streams: list[dict]) -> str:
    """Say what a file is made of: codecs, titles, which one is the default."""
    words = []
    for stream in streams:
        tags, said = stream.get("tags", {}), stream["disposition"]
        title = tags.get("title") or tags.get("handler_name", "")
        name = stream["codec_name"] + (" cover" if said["attached_pic"] else "")
        name += f" {title!r}" if title and "Handler" not in title else ""
        words.append(name + "*" * said["default"])
    return f"{path.suffix}: {', '.join(words)}"


def mixxx(settings: Path, folders: list[Path]) -> None:
    """Count what Mixxx's library holds of some folders."""
    with sqlite3.connect(settings / "mixxxdb.sqlite") as database:
        rows = database.execute(
            "select track_locations.location, duration, title, filetype "
            "from track_locations join library on library.location = track_locations.id"
        )
        listed = {Path(path): (s, title, kind) for path, s, title, kind in rows}
    for folder in folders:
        paths = folder.resolve().rglob("*")
        files = [p for p in paths if p.suffix[1:] in SOUNDS and p.is_file()]
        here = {path: listed[path] for path in files if path in listed}
        counts = Counter(path.suffix for path in files)
        found = Counter(path.suffix for path in here)
        said = ", ".join(f"{found[k]} of {n} {k}" for k, n in sorted(counts.items()))
        n_silent = sum(not seconds for seconds, _, _ in here.values())
        print(f"{folder.name}: listed {said}; {n_silent} without a length")


SHOWS = {"pikaraoke": pikaraoke, "stempeg": stempeg}

if __name__ == "__main__":
    what, *names = sys.argv[1:]
    paths = [Path(name) for name in names]
    if what == "mixxx":
        mixxx(paths[0], paths[1:])
    elif what == "ffprobe":
        ffprobe(paths)
    else:
        SHOWS[what](*paths)
