"""Songs with known stems: the dev set, MUSDB-like folders, NI .stem.mp4 files.

A song is a folder (or one .stem.mp4) from which vocals and instrumental can be
had; the mixture is always their sum, so that every figure has one truth.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".m4a", ".opus")


@dataclass(frozen=True)
class Song:
    """Where one song's stems are: the sums of these (file, stream) pairs."""

    name: str
    vocals: tuple[tuple[Path, int], ...]
    instrumental: tuple[tuple[Path, int], ...]


def decode(path: Path, sample_rate: int, stream: int = 0) -> np.ndarray:
    """Decode with ffmpeg: float32 (n_samples, 2) at `sample_rate`."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", f"0:a:{stream}"]
    command += ["-f", "f32le", "-ac", "2", "-ar", str(sample_rate), "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.float32).reshape(-1, 2)


def load(song: Song, sample_rate: int = 44100) -> tuple[np.ndarray, np.ndarray]:
    """Return (vocals, instrumental), float32 (n_samples, 2), equally long."""

    def total(parts: tuple[tuple[Path, int], ...]) -> np.ndarray:
        audio = [decode(path, sample_rate, stream) for path, stream in parts]
        n_samples = min(map(len, audio))
        return np.sum([a[:n_samples] for a in audio], axis=0, dtype=np.float32)

    vocals, instrumental = total(song.vocals), total(song.instrumental)
    n_samples = min(len(vocals), len(instrumental))
    return vocals[:n_samples], instrumental[:n_samples]


def find(root: Path) -> list[Song]:
    """List the songs below a folder, by any of the layouts people keep them in."""
    songs = [
        Song(path.name, ((path, 4),), tuple((path, i) for i in (1, 2, 3)))
        for path in sorted(root.rglob("*.stem.mp4"))
    ]
    folders = [root, *sorted(p for p in root.rglob("*") if p.is_dir())]
    for folder in folders:
        songs += _in_folder(folder)
    return songs


def _in_folder(folder: Path) -> list[Song]:
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    by_stem = {p.stem.lower(): p for p in files}
    songs = []
    for path in files:  # <Song>_vocals.ogg beside <Song>_instrumental.ogg
        name = path.stem.removesuffix("_vocals")
        other = by_stem.get(f"{name}_instrumental".lower())
        if name != path.stem and other:
            songs.append(Song(name, ((path, 0),), ((other, 0),)))
    vocals = next((p for s, p in by_stem.items() if s.startswith("vocals")), None)
    if vocals and not songs:
        named = by_stem.get("instrumental") or by_stem.get("accompaniment")
        skip = {"mixture", "linear_mixture", vocals.stem.lower()}
        rest = (
            (named,) if named else tuple(p for p in files if p.stem.lower() not in skip)
        )
        if rest:
            parts = tuple((p, 0) for p in rest if p)
            songs.append(Song(folder.name, ((vocals, 0),), parts))
    return songs


def sdr(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Full-track SDR in dB: energy of the truth over energy of the error."""
    truth = truth.astype(np.float64)
    error = np.sum((truth - estimate) ** 2)
    return float(10 * np.log10((np.sum(truth**2) + 1e-12) / (error + 1e-12)))
