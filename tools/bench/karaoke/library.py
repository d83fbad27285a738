"""200 short songs of every kind that karaoke people have, made by ffmpeg.

Bursts of noise, each song its own, so that a delay is found by cross-correlation; names
with what names have; tags, covers, old code pages, subtitles.
"""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from edgestem.karaoke.picture import encode

RATE = 44100
SECONDS = 2
NAMES = (
    "Björk - Jóga", "AC_DC - T.N.T.", "P!nk - So What [Live]", "100% - Beat 'em",
    "Mötley (Crüe) - Dr. Feelgood", "宇多田ヒカル - First Love", 'The "Who" - Who',
    "Beyoncé - Halo", "a-ha - Take On Me", "Café Tacvba - Eres & Más",
)  # fmt: skip
_PICTURE = ("-f", "lavfi", "-i", f"testsrc=size=64x64:rate=25:duration={SECONDS}")
_VIDEO = ("-map", "0:v", "-map", "1:a", "-c:v", "mpeg4", "-g", "10")
_TEXT = (
    "#TITLE:{title}\n#ARTIST:Größe\n#MP3:{song}\n#BPM:300\n#GAP:100\n: 0 4 5 La\nE\n"
)
# Code page, end of line, head of the text: what editors have written in 25 years.
_TEXTS = (
    ("cp1252", "\r\n", ""),
    ("utf-8", "\n", ""),
    ("utf-8-sig", "\r\n", ""),
    ("utf-8", "\n", "#VERSION:1.1.0\n"),
    ("cp1252", "\n", "#ENCODING:CP1252\n"),
)


def ffmpeg(*words: object) -> None:
    line = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, words)]
    subprocess.run(line, check=True)


class Maker:
    """Makes songs into a folder; `scratch` is for what they are made of."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self._scratch = folder, scratch
        self._seed = 0
        for n in (1, 2):
            pixels = np.random.default_rng(n).integers(0, 256, (32, 32, 3), np.uint8)
            (scratch / f"cover {n}.png").write_bytes(encode(pixels))
        self.cdg = (
            np.random.default_rng(3).integers(0, 64, 7200 * SECONDS, np.uint8).tobytes()
        )

    def wav(self) -> Path:
        """Make the sound of the next song."""
        self._seed += 1
        n = RATE * SECONDS
        rng = np.random.default_rng(self._seed)
        bursts = (np.arange(n) // 2205 % 3 == 0)[:, None]
        x = rng.normal(0, 0.1, (n, 2)) * bursts
        soundfile.write(self._scratch / "song.wav", x, RATE, "PCM_16")
        return self._scratch / "song.wav"

    def covers(self, n: int) -> tuple[object, ...]:
        """Give the inputs and the words of so many covers."""
        inputs = [("-i", self._scratch / f"cover {i + 1}.png") for i in range(n)]
        maps = [("-map", str(i + 1)) for i in range(n)]
        words = [("-c:v", "copy", "-disposition:v", "attached_pic")] if n else []
        return tuple(
            w for group in (*inputs, ("-map", "0"), *maps, *words) for w in group
        )


def mp3(make: Maker, name: str, i: int) -> None:
    tags = ("-metadata", f"title={name}", "-metadata", "artist=A", "-id3v2_version", 3)
    ffmpeg("-i", make.wav(), *make.covers(i % 3), *tags, make.folder / f"{name}.mp3")


def m4a(make: Maker, name: str, i: int) -> None:
    tags = ("-metadata", f"title={name}", "-c:a", "alac" if i % 5 == 0 else "aac")
    ffmpeg("-i", make.wav(), *make.covers(i % 2), *tags, make.folder / f"{name}.m4a")


def flac(make: Maker, name: str, i: int) -> None:
    place = make.folder / f"Album {i % 4}"
    place.mkdir(exist_ok=True)
    ffmpeg("-i", make.wav(), *make.covers(i % 3), place / f"{name}.flac")


def video(make: Maker, name: str, i: int) -> None:
    both = (*_PICTURE, "-i", make.wav(), *_VIDEO)
    if i % 2 == 0:
        ffmpeg(*both, "-c:a", "aac", make.folder / f"{name}---dQw4w9WgX{i:02}.mp4")
        return
    lines = make.folder / "lines.srt"
    lines.write_text("1\n00:00:00,500 --> 00:00:01,500\nLa la\n")
    codec = ("-c:a", "libopus" if i % 4 == 1 else "flac")
    inputs = (*_PICTURE, "-i", make.wav(), "-i", lines, *_VIDEO, "-map", "2")
    ffmpeg(*inputs, *codec, make.folder / f"{name}.mkv")
    lines.unlink()


def ultrastar(make: Maker, name: str, i: int) -> None:
    place = make.folder / "UltraStar" / name
    place.mkdir(parents=True)
    song = f"{name}.{'mp3' if i % 2 else 'ogg'}"
    ffmpeg("-i", make.wav(), place / song)
    page, end, head = _TEXTS[i % len(_TEXTS)]
    if not name.isascii() and page == "cp1252":
        page = "utf-8" if any(ord(c) > 255 for c in name) else page
    text = (head + _TEXT.format(title=name, song=song)).replace("\n", end)
    (place / f"{name}.txt").write_bytes(text.encode(page))


def pair(make: Maker, name: str, _: int) -> None:
    place = make.folder / "MP3+G"
    place.mkdir(exist_ok=True)
    ffmpeg("-i", make.wav(), place / f"{name}.mp3")
    (place / f"{name}.cdg").write_bytes(make.cdg)


def packed(make: Maker, name: str, _: int) -> None:
    place = make.folder / "Zips"
    place.mkdir(exist_ok=True)
    ffmpeg("-i", make.wav(), place / "song.mp3")
    with zipfile.ZipFile(place / f"{name}.zip", "w") as archive:
        archive.write(place / "song.mp3", "AB - C.mp3")
        archive.writestr("AB - C.cdg", make.cdg)
    (place / "song.mp3").unlink()


# What is made, and how many of 200.
KINDS: dict[str, tuple[Callable[[Maker, str, int], None], int]] = {
    "mp3": (mp3, 60),
    "m4a": (m4a, 30),
    "flac": (flac, 30),
    "video": (video, 20),
    "UltraStar": (ultrastar, 20),
    "MP3+G": (pair, 20),
    "zip": (packed, 20),
}


def make_library(folder: Path, scratch: Path, n_songs: int) -> dict[str, int]:
    """Fill a folder; return how many songs of each kind it has."""
    folder.mkdir(parents=True)
    scratch.mkdir(parents=True, exist_ok=True)
    make = Maker(folder, scratch)
    counts = {}
    for kind, (function, share) in KINDS.items():
        counts[kind] = max(1, share * n_songs // 200)
        for i in range(counts[kind]):
            name = NAMES[i % len(NAMES)]
            function(make, f"{name} {kind} {i}", i)
    return counts
