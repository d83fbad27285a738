"""Training mixtures made on the fly from the pool of tools/corpus.py.

`Mixtures(pool, seed)` iterates over batches (mixture, vocals, weight):
float32 (batch, 2, n_samples), the same, and float32 (batch,) saying how far the
vocals are the truth (0: only the teacher knows).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from tools.spleeter import HOP, N_FFT

# Songs whose vocals sit 13 to 15 dB under the backing.
RAISE_DB = {"Potassium": 8.0, "Rubidium": 8.0}
# Voice banks sing every phrase on one pitch; they need a melody.
MONOTONE = ("hitsuboku-kumi", "scottpoid", "vocobox")


class Mixtures(torch.utils.data.IterableDataset):
    """An endless, seeded stream of batches."""

    def __init__(
        self, pool: Path, seed: int, n_frames: tuple[int, ...], n_total: int = 512
    ) -> None:
        self.pool = pool
        self.seed = seed
        self.n_frames = n_frames
        self.n_total = n_total  # frames a batch, however cut

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        self.rng = np.random.default_rng(self.seed + (info.id if info else 0))
        self._open()
        while True:
            n_frames = int(self.rng.choice(self.n_frames))
            n_samples = (n_frames - 1) * HOP + N_FFT
            rows = [self.example(n_samples) for _ in range(self.n_total // n_frames)]
            mixture, vocals, weight = zip(*rows, strict=True)
            yield np.stack(mixture), np.stack(vocals), np.float32(weight)

    def _open(self) -> None:
        entries = json.loads((self.pool / "manifest.json").read_text())
        self.roles: dict[str, list] = {}
        for e in entries:
            audio = np.load(self.pool / f"{e['name']}.npy", mmap_mode="r")
            self.roles.setdefault(e["role"], []).append((e["name"], audio))
        self.songs = {}
        for name, audio in self.roles["song"]:
            title, part = name.removeprefix("song-").rsplit("_", 1)
            self.songs.setdefault(title, {})[part] = audio

    # ---- pieces -------------------------------------------------------------

    def crop(self, audio: np.ndarray, n_samples: int, speed: float = 1.0) -> np.ndarray:
        """Cut a random stretch; `speed` resamples it (pitch moves along)."""
        n_source = int(n_samples * speed) + 2
        start = self.rng.integers(0, max(1, len(audio) - n_source))
        x = np.float32(audio[start : start + n_source]).T / 32768
        if x.shape[1] < n_source:
            x = np.pad(x, ((0, 0), (0, n_source - x.shape[1])))
        return resample(x, n_samples, speed)

    def speed(self) -> float:
        return float(np.exp(self.rng.uniform(-0.2, 0.2)))

    def backing(self, n_samples: int, role: str = "instrumental") -> np.ndarray:
        choices = self.roles[role]
        weights = np.sqrt([len(a) for _, a in choices])
        i = self.rng.choice(len(choices), p=weights / weights.sum())
        if role == "instrumental" and self.rng.random() < 0.25:
            title = self.rng.choice(list(self.songs))
            return self.crop(self.songs[title]["instrumental"], n_samples, self.speed())
        return self.crop(choices[i][1], n_samples, self.speed())

    def melody(self, audio: np.ndarray, n_samples: int) -> np.ndarray:
        """Sing monotone phrases as random notes: each piece at its own speed."""
        out = np.zeros((2, n_samples), np.float32)
        at, semitones = 0, self.rng.uniform(-5, 5)
        fade = np.linspace(0, 1, 256, dtype=np.float32)
        while at < n_samples:
            n = min(int(self.rng.uniform(0.12, 0.9) * 44100), n_samples - at)
            piece = self.crop(audio, max(n, 512), 2 ** (semitones / 12))[:, :n]
            if n > 512:
                piece[:, :256] *= fade
                piece[:, -256:] *= fade[::-1]
            out[:, at : at + n] = piece
            at += n
            semitones = np.clip(semitones + self.rng.integers(-4, 5), -8, 8)
        return out

    def voice(self, n_samples: int) -> tuple[np.ndarray, float]:
        """One voice and how much its stem is worth as truth."""
        if self.rng.random() < 0.45:
            title = self.rng.choice(list(self.songs))
            audio = self.songs[title]["vocals"]
            return self.crop(audio, n_samples, self.speed()), 1.0
        name, audio = self.roles["vocals"][self.rng.integers(len(self.roles["vocals"]))]
        if name in MONOTONE:
            x = self.melody(audio, n_samples)
        else:
            x = self.crop(audio, n_samples, self.speed())
        return self.room(x), 0.4

    # ---- effects ------------------------------------------------------------

    def tilt(self, x: np.ndarray, depth_db: float = 6.0) -> np.ndarray:
        """A smooth random equaliser of a few decibels."""
        X = np.fft.rfft(x, axis=1)
        knots = self.rng.uniform(-depth_db, depth_db, 6)
        at = np.log2(np.linspace(1, 1024, X.shape[1]))
        db = np.interp(at, np.linspace(0, 10, 6), knots)
        return np.fft.irfft(X * 10 ** (db / 20), x.shape[1], axis=1).astype(np.float32)

    def room(self, x: np.ndarray) -> np.ndarray:
        """Pan a voice, perhaps double it, and put it into a synthetic room."""
        if self.rng.random() < 0.25:  # a double: detuned, late, to one side
            shift = int(self.rng.integers(300, 1500))
            twin = resample(np.roll(x, shift, 1), x.shape[1], 1.006)
            x = x + 0.6 * twin * np.float32([[1], [self.rng.uniform(0.2, 1)]])
        pan = self.rng.normal(0, 0.12)
        x = x * np.float32([[1 - pan], [1 + pan]])
        if self.rng.random() < 0.6:
            n = int(self.rng.uniform(0.15, 1.5) * 44100)
            decay = np.exp(-6.9 * np.arange(n) / n)
            tail = self.rng.standard_normal((2, n)) * decay
            tail /= np.sqrt(np.sum(tail**2, axis=1, keepdims=True))
            tail[:, : int(self.rng.uniform(0, 0.03) * 44100)] = 0
            size = 1 << (x.shape[1] + n).bit_length()
            wet = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(tail, size), size)
            amount = self.rng.uniform(0.05, 0.5)
            x = x + amount * wet[:, : x.shape[1]].astype(np.float32)
        return self.tilt(x, 4.0)

    # ---- one example --------------------------------------------------------

    def example(self, n_samples: int) -> tuple[np.ndarray, np.ndarray, float]:
        kind = self.rng.random()
        if kind < 0.25:  # a song as it was made
            title = self.rng.choice(list(self.songs))
            vocals, backing = self.song(title, n_samples)
            weight = 1.0
        elif kind < 0.78:  # any voice over any backing
            backing = self.backing(n_samples)
            vocals, weight = self.voice(n_samples)
            level = self.rng.uniform(-9, 7)  # vocals against backing, dB
            ratio = (rms(backing) + 1e-4) / (rms(vocals) + 1e-4)
            vocals = vocals * np.float32(10 ** (level / 20) * ratio)
        elif kind < 0.95:  # music alone, some of it with voices in it
            role = "music" if self.rng.random() < 0.3 else "instrumental"
            backing = self.backing(n_samples, role)
            vocals = np.zeros_like(backing)
            weight = 0.0 if role == "music" else 0.4
        else:
            vocals, weight = self.voice(n_samples)
            backing = np.zeros_like(vocals)
        if self.rng.random() < 0.3:
            backing = self.tilt(backing)
        if self.rng.random() < 0.5:
            vocals, backing = vocals[::-1], backing[::-1]
        mixture = vocals + backing
        if self.rng.random() < 0.1:  # narrow or mono productions
            mid = mixture.mean(0, keepdims=True)
            vmid = vocals.mean(0, keepdims=True)
            side = np.float32(self.rng.choice([0, 0.3]))
            mixture = mid + side * (mixture - mid)
            vocals = vmid + side * (vocals - vmid)
        return np.float32(mixture), np.float32(vocals), weight

    def song(self, title: str, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
        parts, speed = self.songs[title], self.speed()
        n_source = int(n_samples * speed) + 2
        start = self.rng.integers(0, len(parts["vocals"]) - n_source)
        raise_db = RAISE_DB.get(title, 0.0) + self.rng.normal(0, 3)

        def part(name: str) -> np.ndarray:
            x = np.float32(parts[name][start : start + n_source]).T / 32768
            return resample(x, n_samples, speed)

        return part("vocals") * np.float32(10 ** (raise_db / 20)), part("instrumental")


def resample(x: np.ndarray, n_samples: int, speed: float) -> np.ndarray:
    """Linear interpolation: cheap, and its dullness is augmentation too."""
    if speed == 1.0:
        return x[:, :n_samples]
    at = np.minimum(np.arange(n_samples) * speed, x.shape[1] - 1.001)
    i = at.astype(np.int64)
    f = (at - i).astype(np.float32)
    return x[:, i] * (1 - f) + x[:, i + 1] * f


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x.astype(np.float64) ** 2)))
