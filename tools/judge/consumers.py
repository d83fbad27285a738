"""Other programs on what `edgestem export` wrote.

    python tools/judge/consumers.py pikaraoke FOLDER
    python tools/judge/consumers.py stempeg FOLDER
    python tools/judge/consumers.py ffprobe FOLDER...
    python tools/judge/consumers.py mixxx SETTINGS FOLDER...

The first two want virtual environments of their own (`pip install pikaraoke numpy`,
`pip install stempeg`).  PiKaraoke's FileResolver opens each song of a folder that was
exported, and its build_ffmpeg_cmd is run as it plays (HLS) and to one file, plain,
normalised and transposed: what comes out is compared by cross-correlation with all
sounds of the file.  It has to be the first, which is the instrumental in ours, and a
sibling may be no later than its original.  ffprobe reads every file.  Mixxx's library,
after its scanner has been there (`mixxx --settingsPath SETTINGS`), says which files it
lists.  The exit status tells whether all is as it should be.
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


def decode(
    path: Path, stream: str = "0:a:0", words: tuple[str, ...] = ()
) -> np.ndarray:
    line = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", stream]
    line += words
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


def pikaraoke(folder: Path) -> bool:
    from pikaraoke.lib.file_resolver import FileResolver
    from pikaraoke.lib.song_list import SongList

    songs, late, is_good = SongList(), {}, True
    paths = [p for p in sorted(folder.rglob("*.*")) if songs.add_if_valid(str(p))]
    for path in paths:
        try:
            own = Path(FileResolver(str(path), "hls").file_path or "")
        except Exception as cause:  # a plain mp3 has no .cdg
            print(f"{path.name}: listed, and cannot be opened: {cause}"[:120])
            continue
        for how in ("hls", "mp4"):
            for name, options in _PLAYED.items():
                share, late[path, how, name] = _played(path, own, how, options)
                is_good &= share > _ALIKE
                print(f"{path.name}: {how}, {name}: correlation {share:.3f}, "
                      f"{late[path, how, name]} samples late", flush=True)  # fmt: skip
    print(f"{len(paths)} listed, {len(late)} times played")
    for (path, *what), n in late.items():
        original = path.with_name(path.name.replace(" (Instrumental)", ""))
        if n > late.get((original, *what), n) + 1:
            print(f"{path.name}: {what}: later than {original.name}")
            is_good = False
    return is_good


_ALIKE = 0.5  # of a codec's copy of noise, which is hard on codecs; music has 0.9
_PLAYED: dict[str, dict[str, int | bool]] = {
    "plain": {"normalize_audio": False},
    "normalised": {"normalize_audio": True},
    "transposed": {"normalize_audio": False, "semitones": 2},
}


def _played(
    path: Path, own: Path, how: str, options: dict[str, int | bool]
) -> tuple[float, int]:
    """Let PiKaraoke encode a song; compare what comes with the file's first sound."""
    from pikaraoke.lib.ffmpeg import build_ffmpeg_cmd
    from pikaraoke.lib.file_resolver import FileResolver

    resolver = FileResolver(str(path), how)  # names of its own
    command = build_ffmpeg_cmd(resolver, force_mp4_encoding=how == "mp4", **options)
    done = subprocess.run([*command.compile(), "-y"], capture_output=True, check=False)
    if done.returncode:
        print(f"{path.name}: {done.stderr.decode()[-200:]}")
        return 0.0, 0
    pitch = 2 ** (int(options.get("semitones", 0)) / 12)
    words = ("-af", f"rubberband=pitch={pitch}") if pitch != 1 else ()
    heard = decode(Path(resolver.output_file))
    found = [
        correlation(decode(own, f"0:a:{n}", words), heard)
        for n in range(_n_sounds(own))
    ]
    share, late = found[0]
    return (share, late) if share == max(found)[0] else (0.0, late)


def _n_sounds(path: Path) -> int:
    line = ("ffprobe", "-v", "error", "-select_streams", "a", "-of", "csv")
    done = subprocess.run(
        [*line, "-show_entries", "stream=index", str(path)],
        capture_output=True,
        check=True,
    )
    return len(done.stdout.split())


def stempeg(folder: Path) -> bool:
    import stempeg as library

    is_good = True
    for path in sorted(folder.rglob("*.stem.mp4")):
        stems, rate = library.read_stems(str(path))
        error = np.sum(stems[1:], axis=0) - stems[0]
        level = 10 * np.log10(np.mean(error**2) / np.mean(stems[0] ** 2))
        is_good &= len(stems) == 5 and stems.shape[2] == 2
        print(f"{path.name}: stempeg {stems.shape} at {rate} Hz, sum {level:.1f} dB")
    return is_good


def ffprobe(folders: list[Path]) -> bool:
    """Count kinds of files, and name those that ffprobe says something about."""
    line = ("ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json")
    is_good = True
    for folder in folders:
        kinds: Counter[str] = Counter()
        for path in sorted(folder.rglob("*")):
            if path.suffix[1:] not in SOUNDS or not path.is_file():
                continue
            done = subprocess.run([*line, f"file:{path}"], capture_output=True)
            found = json.loads(done.stdout or "{}").get("streams", [])
            kinds[_kind(path, found)] += 1
            if done.returncode or done.stderr:
                is_good = False
                print(f"{path}: {done.stderr.decode()[:200]}")
        for kind, n in sorted(kinds.items()):
            print(f"{folder.name}: {n} x {kind}")
    return is_good


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
    else:
        is_good = ffprobe(paths) if what == "ffprobe" else SHOWS[what](*paths)
        sys.exit(not is_good)
