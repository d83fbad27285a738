"""Which tags of a song reach its stems, as mutagen reads them; beside it ffmpeg alone.

    python -m tools.judge.tags FOLDER

The song is an mp3 with 17 frames of ID3v2.4 and two pictures.  mutagen reads what
Picard and most players read.  What a stem must not say, as it names another recording
(ISRC, UFID), is told as "dropped".
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable
from pathlib import Path

import mutagen
import numpy as np
import soundfile
from mutagen import id3

import edgestem
from edgestem.karaoke.picture import encode

RATE = 44100
TARGETS = ("flac", "mp3", "m4a", "ogg", "opus")
TINY = Path(__file__).parents[2] / "tests" / "data" / "tiny.tflite"
# Field -> what it holds, and its names: ID3, vorbis comments, MP4.
FIELDS: dict[str, tuple[list[str], str, str, str]] = {
    "title": (["Größe"], "TIT2", "title", "\xa9nam"),
    "two artists": (["Erste", "Zweiter"], "TPE1", "artist", "\xa9ART"),
    "album": (["Album"], "TALB", "album", "\xa9alb"),
    "date": (["1999-05-04"], "TDRC", "date", "\xa9day"),
    "genre": (["Rock"], "TCON", "genre", "\xa9gen"),
    "track of all": (["3/12"], "TRCK", "tracknumber", "trkn"),
    "disc of all": (["1/2"], "TPOS", "discnumber", "disk"),
    "composer": (["Komponist"], "TCOM", "composer", "\xa9wrt"),
    "album artist": (["Alle"], "TPE2", "albumartist", "aART"),
    "tempo": (["128"], "TBPM", "bpm", "tmpo"),
    "key": (["F#m"], "TKEY", "initialkey", "----:com.apple.iTunes:initialkey"),
    "comment": (["note"], "COMM", "comment", "\xa9cmt"),
    "lyrics": (["la\nla"], "USLT", "lyrics", "\xa9lyr"),
    "ReplayGain": (
        ["-7.20 dB"], "TXXX:REPLAYGAIN_TRACK_GAIN", "replaygain_track_gain",
        "----:com.apple.iTunes:replaygain_track_gain",
    ),
    "own tag": (["happy"], "TXXX:MOOD", "mood", "----:com.apple.iTunes:MOOD"),
    "ISRC": (["DEABC1234567"], "TSRC", "isrc", "----:com.apple.iTunes:ISRC"),
    "UFID": (["0123"], "UFID:http://musicbrainz.org", "ufid", "ufid"),
}  # fmt: skip
DROPPED = ("ISRC", "UFID")


def pictures() -> list[bytes]:
    """Two small covers."""
    rng = np.random.default_rng(1)
    return [encode(rng.integers(0, 256, (16, 16, 3), np.uint8)) for _ in range(2)]


def make_song(folder: Path) -> Path:
    """Write the mp3 with all of it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "song.mp3"
    x = np.random.default_rng(2).normal(0, 0.1, (RATE, 2))
    soundfile.write(path, x, RATE)
    tags = id3.ID3()
    for texts, name, _, _ in FIELDS.values():
        tags.add(_frame(name, texts))
    for kind, data in zip((3, 4), pictures(), strict=True):
        tags.add(id3.APIC(0, "image/png", kind, str(kind), data))
    tags.save(path, v2_version=4)
    return path


def _frame(name: str, texts: list[str]) -> id3.Frame:
    kind, _, what = name.partition(":")
    if kind == "UFID":
        return id3.UFID(what, texts[0].encode())
    if kind in ("COMM", "USLT"):
        text = texts if kind == "COMM" else texts[0]
        return getattr(id3, kind)(3, "eng", "", text)
    frame = getattr(id3, kind)
    return frame(3, what, texts) if what else frame(3, texts)


def read(path: Path) -> dict[str, list[str]]:
    """Give what mutagen finds under the names that players look for."""
    file = mutagen.File(path)
    index = {"MP3": 1, "MP4": 3}.get(type(file).__name__, 2)
    return {name: _texts(file, row[index]) for name, row in FIELDS.items()}


def _texts(file: mutagen.FileType, name: str) -> list[str]:
    tags = file.tags or {}
    if isinstance(tags, id3.ID3):
        found = tags.getall(name) if name in ("COMM", "USLT") else [tags.get(name)]
        found = [frame for frame in found if frame is not None][:1]
        texts = [getattr(f, "text", getattr(f, "data", b"")) for f in found]
        flat = texts[0] if texts else []
        return [flat] if isinstance(flat, str) else [str(text) for text in flat]
    return [_text(value) for value in tags.get(name, [])]


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


def covers(path: Path) -> list[bytes]:
    """Give the pictures that mutagen finds."""
    from base64 import b64decode

    from mutagen.flac import Picture

    file = mutagen.File(path)
    if isinstance(file.tags, id3.ID3):
        return [frame.data for frame in file.tags.getall("APIC")]
    if hasattr(file, "pictures"):
        return [picture.data for picture in file.pictures]
    if "covr" in (file.tags or {}):
        return [bytes(cover) for cover in file["covr"]]
    found = (file.tags or {}).get("metadata_block_picture", [])
    return [Picture(b64decode(text)).data for text in found]


def by_edgestem(song: Path, folder: Path, target: str) -> Path:
    """Separate it."""
    report = edgestem.separate_file(song, folder, file_format=target, model=TINY)
    return Path(report.outputs["instrumental"])


def by_ffmpeg(song: Path, folder: Path, target: str) -> Path:
    """Encode it anew, with all that ffmpeg is known to want for covers."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["-map", "0", "-c:v", "copy", "-disposition:v", "attached_pic"]
    words = ["-map", "0:a"] if target in ("ogg", "opus") else words
    words += ["-id3v2_version", "3"] if target == "mp3" else []
    words += ["-c:a", "libvorbis"] if target == "ogg" else []
    path = folder / f"song.{target}"
    line = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(song), *words]
    done = subprocess.run([*line, str(path)], capture_output=True, check=False)
    if done.returncode:  # m4a takes one picture
        again = [w if w != "-disposition:v" else "-disposition:v:0" for w in words]
        line = [*line[:7], "-map", "0:a", "-map", "0:v:0", *again[2:], str(path)]
        subprocess.run(line, check=True)
    return path


def wanted(name: str) -> list[str]:
    """Say what a stem has to have in a field."""
    texts = FIELDS[name][0]
    if name == "title":
        return [f"{texts[0]} (Instrumental)"]
    return [] if name in DROPPED else texts


def _word(name: str, found: list[str]) -> str:
    if name in DROPPED:
        return "kept" if found else "dropped"
    if found in (FIELDS[name][0], wanted(name)):
        return "yes"
    return "; ".join(found).replace("\n", " ") or "lost"


def _table(song: Path, folder: Path, make: Callable[[Path, Path, str], Path]) -> None:
    print("| field | " + " | ".join(TARGETS) + " |\n|---|" + "---|" * len(TARGETS))
    paths = [make(song, folder / target, target) for target in TARGETS]
    found = [read(path) for path in paths]
    for name in FIELDS:
        print(f"| {name} | " + " | ".join(_word(name, one[name]) for one in found), "|")
    counts = [f"{len(covers(path))} of 2" for path in paths]
    print("| covers | " + " | ".join(counts), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    song = make_song(args.folder)
    print("by ffmpeg:\n")
    _table(song, args.folder / "ffmpeg", by_ffmpeg)
    print("\nby edgestem:\n")
    _table(song, args.folder / "edgestem", by_edgestem)


if __name__ == "__main__":
    main()
