"""Training mixtures made on the fly from the pool of tools/pool/corpus.py.

`Mixtures(pool, seed)` iterates over batches (mixture, vocals, weight):
float32 (batch, 2, n_samples), the same, and float32 (batch,) saying how far the
vocals are the truth (0: only the teacher knows).  An example of six seconds costs
about 0.1 s of CPU.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from tools.pool import effects
from tools.pool.effects import resample, rms
from tools.pool.keyed import MADE
from tools.teach.spleeter import HOP, N_FFT

# Songs whose vocals sit 13 to 15 dB under the backing.
RAISE_DB = {"Potassium": 8.0, "Rubidium": 8.0}
# Voice banks sing every phrase on one pitch; they need a melody.
MONOTONE = ("hitsuboku-kumi", "scottpoid", "vocobox")
SPEECH = ("asterisk", "festvox", "hibari", "dance-shouts")
PHRASES = ("house-vocals", "trance-phrases")
# How often each kind of voice, and of backing, is drawn when the pool has it.
VOICES = {
    "song": 0.32,
    "singer": 0.22,
    "phrases": 0.16,
    "kokoro": 0.14,
    "bank": 0.07,
    "speech": 0.09,
}
BACKINGS = {"song": 0.2, "rendered": 0.25, "found": 0.55}


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
            if e.get("split", "train") != "train":
                continue
            audio = np.load(self.pool / f"{e['name']}.npy", mmap_mode="r")
            self.roles.setdefault(e["role"], []).append((e["name"], audio))
        self.songs: dict[str, dict] = {}
        for name, audio in self.roles.get("song", []):
            title, part = name.removeprefix("song-").rsplit("_", 1)
            self.songs.setdefault(title, {})[part] = audio
        self.songs = {t: parts for t, parts in self.songs.items() if len(parts) == 2}
        self.made = [t for t in self.songs if t.startswith(MADE)]
        self.found = [t for t in self.songs if not t.startswith(MADE)]
        self.voices: dict[str, list] = {}
        for name, audio in self.roles["vocals"]:
            self.voices.setdefault(kind_of_voice(name), []).append((name, audio))
        self.backings: dict[str, list] = {}
        for name, audio in self.roles["instrumental"]:
            kind = "rendered" if name.startswith("backing-") else "found"
            self.backings.setdefault(kind, []).append((name, audio))
        for title, parts in self.songs.items():
            made = title in self.made
            voice, backing = ("phrases", "rendered") if made else ("song", "song")
            self.voices.setdefault(voice, []).append((title, parts["vocals"]))
            self.backings.setdefault(backing, []).append((title, parts["instrumental"]))

    def draw(self, kinds: dict[str, list], shares: dict[str, float]) -> tuple:
        """Draw a kind by its share, then a source: (kind, name, audio)."""
        names = [k for k in shares if k in kinds]
        p = np.array([shares[k] for k in names])
        kind = str(self.rng.choice(names, p=p / p.sum()))
        lengths = np.sqrt([len(audio) for _, audio in kinds[kind]])
        i = self.rng.choice(len(lengths), p=lengths / lengths.sum())
        return (kind, *kinds[kind][i])

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

    def backing(self, n_samples: int) -> np.ndarray:
        audio = self.draw(self.backings, BACKINGS)[2]
        return self.crop(audio, n_samples, self.speed())

    def music(self, n_samples: int) -> np.ndarray:
        """Music that may hold voices: only the teacher knows."""
        audio = self.draw({"music": self.roles["music"]}, {"music": 1.0})[2]
        return self.crop(audio, n_samples, self.speed())

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
        """One voice, produced, and how much its stem is worth as truth."""
        kind, name, audio = self.draw(self.voices, VOICES)
        if name in MONOTONE:
            x = self.melody(audio, n_samples)
        else:
            x = self.crop(audio, n_samples, self.speed())
        if self.rng.random() < 0.25:
            x = x * effects.comings_and_goings(n_samples, self.rng)
        if kind == "song":  # has its own production
            return x, 1.0
        return effects.produced(x, self.rng), 0.4

    def voices_for(self, n_samples: int) -> tuple[np.ndarray, float]:
        """One voice, or a duet: two that sing together or in turns."""
        x, weight = self.voice(n_samples)
        if self.rng.random() > 0.15:
            return x, weight
        other, other_weight = self.voice(n_samples)
        balance = (rms(x) + 1e-4) / (rms(other) + 1e-4)
        other = other * np.float32(balance * 10 ** (self.rng.normal(-2, 3) / 20))
        if self.rng.random() < 0.4:
            turn = effects.comings_and_goings(n_samples, self.rng)
            x, other = x * turn, other * (1 - turn)
        return x + other, min(weight, other_weight)

    # ---- one example --------------------------------------------------------

    def stems(self, n_samples: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Vocals, backing and the truth's weight, before what both go through."""
        kind = self.rng.random()
        if kind < 0.18 and self.songs:  # a song as it was made, by people or by us
            takes_made = bool(self.made) and self.rng.random() < 0.4
            titles = self.made if takes_made or not self.found else self.found
            return (*self.song(str(self.rng.choice(titles)), n_samples), 1.0)
        if kind < 0.65:  # any voice over any backing
            backing = self.backing(n_samples)
            vocals, weight = self.voices_for(n_samples)
            level = self.rng.uniform(-9, 7)  # vocals against backing, dB
            if self.rng.random() < 0.08:  # a quiet voice, far back
                level = self.rng.uniform(-20, -9)
            ratio = (rms(backing) + 1e-4) / (rms(vocals) + 1e-4)
            return vocals * np.float32(10 ** (level / 20) * ratio), backing, weight
        if kind < 0.97:  # music alone, most of it with voices in it
            if self.rng.random() < 0.7 and "music" in self.roles:
                backing, weight = self.music(n_samples), 0.0
            else:
                backing, weight = self.backing(n_samples), 0.4
            return np.zeros_like(backing), backing, weight
        vocals, weight = self.voices_for(n_samples)
        return vocals, np.zeros_like(vocals), weight

    def example(self, n_samples: int) -> tuple[np.ndarray, np.ndarray, float]:
        vocals, backing, weight = self.stems(n_samples)
        if self.rng.random() < 0.3:
            backing = effects.tilt(backing, self.rng)
        if self.rng.random() < 0.12:
            backing = effects.codec(backing, self.rng)
        if self.rng.random() < 0.5:
            vocals, backing = vocals[::-1], backing[::-1]
        return *self.master(vocals, backing), weight

    def master(self, vocals: np.ndarray, backing: np.ndarray) -> tuple:
        """Width, bus compression, clipping, codec, level: all keep the sum a sum."""
        pair = np.float32([vocals + backing, vocals])
        chance = self.rng.random(4)
        if chance[0] < 0.25:  # mono or narrow productions
            mid = pair.mean(1, keepdims=True)
            pair = mid + np.float32(self.rng.choice([0, 0, 0.3])) * (pair - mid)
        if chance[1] < 0.15:
            pair = pair * effects.compression(pair[0], self.rng)
        if chance[2] < 0.08:
            pair = pair * effects.clipping(pair[0], self.rng)
        elif chance[2] < 0.3:  # down to -40 dB; the rest stays as it was mastered
            pair = pair * np.float32(10 ** (self.rng.uniform(-40, 0) / 20))
        if chance[3] < 0.1:
            flat = effects.codec(pair.reshape(4, -1), self.rng)
            pair = flat.reshape(pair.shape)
        return pair[0], pair[1]

    def song(self, title: str, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
        parts, speed = self.songs[title], self.speed()
        n_source = int(n_samples * speed) + 2
        start = self.rng.integers(0, len(parts["vocals"]) - n_source)
        raise_db = RAISE_DB.get(title, 0.0) + self.rng.normal(0, 3)

        def part(name: str) -> np.ndarray:
            x = np.float32(parts[name][start : start + n_source]).T / 32768
            return resample(x, n_samples, speed)

        return part("vocals") * np.float32(10 ** (raise_db / 20)), part("instrumental")


def kind_of_voice(name: str) -> str:
    if name.startswith("kokoro-"):
        return "kokoro"
    if name.startswith(("singer-", "sinsy-")):
        return "singer"
    if name.startswith(PHRASES):
        return "phrases"
    return "speech" if name.startswith(SPEECH) else "bank"
