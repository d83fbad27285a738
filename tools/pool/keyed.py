"""Songs around sung phrases: backing in the singer's key and tempo.

The packs `house-vocals` and `trance-phrases` say in `index.tsv` in which key and
tempo each phrase was sung.  A song is 90 seconds of rendered backing in both, with
phrases of that key on its bars and rests between them, produced as a mixing desk
would: what no voice laid over other music has.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.pool import backing, effects
from tools.pool import songs as files
from tools.pool.styles import MAJOR, MINOR, STYLES

PACKS = ("house-vocals", "trance-phrases")
MADE = "keyed-"  # how the titles of these songs begin
ROUNDS = 2  # songs of each pack, key and tempo
SECONDS = 90.0
PITCHES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11, "#": 1, "b": -1}
KEY = re.compile(r"\b([A-G][b#]?) (minor|major)")
TEMPO = re.compile(r"(\d+) BPM")
SPREAD_DB = 3.0  # of the voice against the backing
SLOW = 100  # quarters a minute; slower styles take the tempo by half


@dataclass(frozen=True)
class Song:
    """One song to be made: its title, and the phrases that fit its key."""

    title: str
    pack: str
    key: backing.Key
    phrases: tuple[tuple[Path, float, float], ...]
    """File, start and length in seconds."""


def key_of(text: str) -> backing.Key | None:
    """`SHV - Ab minor - 124 BPM - Ahh` -> its key; None where it names none."""
    key, tempo = KEY.search(text), TEMPO.search(text)
    if key is None or tempo is None:
        return None
    pitch = sum(PITCHES[c] for c in key[1]) % 12
    scale = MAJOR if key[2] == "major" else MINOR
    return backing.Key(float(tempo[1]), pitch, scale)


def songs(train: Path) -> Iterator[Song]:
    """Every song that the packs below a folder give, the packs in turn."""
    for pack in PACKS:
        found: dict[backing.Key, list[tuple[Path, float, float]]] = {}
        text = (train / pack / "index.tsv").read_text(encoding="utf-8")
        for row in csv.DictReader(text.splitlines(), delimiter="\t"):
            if key := key_of(row["source"]):
                part = (train / pack / row["file"], row["start_s"], row["length_s"])
                found.setdefault(key, []).append((part[0], *map(float, part[1:])))
        for key, phrases in found.items():
            mode = "major" if key.scale == MAJOR else "minor"
            name = f"song-{MADE}{pack}-{key.pitch}-{mode}-{key.tempo:.0f}"
            for number in range(ROUNDS):
                yield Song(f"{name}-{number}", pack, key, tuple(phrases))


def line(song: Song, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Phrases on the bars of a song, dry: float32 (2, n_samples)."""
    out = np.zeros((2, n_samples), np.float32)
    audio = {path: files.decode(path, 44100).T for path, _, _ in song.phrases}
    bar = 240 / song.key.tempo * 44100
    at = int(rng.integers(3))
    while at * bar < n_samples:
        path, start, length = song.phrases[rng.integers(len(song.phrases))]
        first = int(start * 44100)
        x = audio[path][:, first : first + int(length * 44100)]
        first = int(at * bar)
        x = x[:, : n_samples - first]
        level = effects.rms(x) + 1e-4  # phrases differ in level
        out[:, first : first + x.shape[1]] += x * np.float32(0.1 / level)
        at += int(np.ceil(length * 44100 / bar)) + int(rng.choice([0, 0, 0, 1, 2]))
    return out


def style_for(key: backing.Key, rng: np.random.Generator) -> tuple[str, backing.Key]:
    """A style, and the tempo as a piece of that style counts it."""
    name = str(rng.choice(list(STYLES)))
    if sum(STYLES[name].tempo) / 2 < SLOW:
        key = backing.Key(key.tempo / 2, key.pitch, key.scale)
    return name, key


def render(
    song: Song, soundfont: Path, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Vocals and instrumental at one gain, int16 (n_samples, 2) at 44.1 kHz."""
    style, key = style_for(song.key, rng)
    score = backing.compose(STYLES[style], SECONDS, int(rng.integers(2**31)), key)
    rest = backing.fluidsynth(score, soundfont).T
    vocals = effects.produced(line(song, rest.shape[1], rng), rng)
    active = np.abs(vocals).max(0) > 0.02
    level = effects.rms(vocals[:, active]) if active.any() else 1.0
    gain = effects.rms(rest) / level * 10 ** (rng.normal(0, SPREAD_DB) / 20)
    one, other = backing.with_headroom(vocals.T * np.float32(gain), rest.T)
    return one, other
