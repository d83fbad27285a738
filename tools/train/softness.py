"""Choose how soft a model's masks become where they are undecided.

    python -m tools.train.softness karaoke --pool POOL

Prints the three weights of `softness` (es_synthesise in native/edgestem.h has the
formula) that gain most on 20 minutes of the training pool: one of each of the album's
songs, with their true stems, and of 15 sources of music a minute each with a singer
over it.  The masks are the model's own, int8, as the engine calls it; gains are those
of the vocals' error in the spectrogram, before what repeats and places.  Then the gain
of every song when the other songs alone choose.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from edgestem.engine.separator import Separator
from edgestem.network.geometry import Geometry
from edgestem.spectrum.learners import (
    N_REGIONS,
    UNDECIDED_SIZE,
    Softness,
    finite_power,
    softer,
)
from edgestem.spectrum.spectral import Spectral

SECONDS = 60
SAMPLES = SECONDS * 44100
ORIGINS = (
    "supertuxkart-data",
    "flare-game",
    "tannerhelland",
    "ufoai-music",
    "fretsonfire-songs-sectoid",
    "recorded-instruments",
    "0ad-data",
    "hyperrogue-music",
    "megaglest-data",
    "naev-data",
    "openclonk-data",
    "unknown-horizons",
    "singularity-music",
    "fluid-soundfont-gm",
    "wordwarvi-sound",
)
SINGERS = (
    "vocobox",
    "vocadito",
    "vocobox",
    *(
        f"singer-{name}-{how}"
        for name in ("hitsuboku-kumi", "scottpoid", "hibari")
        for how in ("solo", "double")
    ),
)
VOCALS_DB = (-8.0, 0.0)  # against what they are laid over, where they sound
LEAST_SHARE = 1e-3  # of a song that is vocals; without any, no mask is too sharp
MOST_GAIN_DB = 1.0  # of one song that counts
RIDGE = 0.005

Piece = tuple[str, np.ndarray, np.ndarray]  # name, vocals, rest: (n_samples, 2)


def pieces(pool: Path) -> Iterator[Piece]:
    """The minutes, always the same from the same pool."""
    manifest = json.loads((pool / "manifest.json").read_text())
    names = [e["name"] for e in manifest if e["role"] == "song"]
    for title in sorted(n.removesuffix("_vocals") for n in names if "_vocals" in n):
        stems = [read(pool, f"{title}_{part}") for part in ("vocals", "instrumental")]
        start = min(map(len, stems)) // 3
        yield title, *(x[start : start + SAMPLES] for x in stems)
    rng = np.random.default_rng(5)
    for i, origin in enumerate(ORIGINS):
        singer = SINGERS[i % len(SINGERS)]
        found = [
            e["name"]
            for e in manifest
            if e["role"] == "instrumental"
            and e["origin"] == origin
            and e["minutes"] > 1.2
        ]
        rest, vocals = (minute(pool, n, rng) for n in (str(rng.choice(found)), singer))
        sounding = vocals[np.abs(vocals).max(axis=1) > 1e-3]
        ratio = np.sqrt(np.mean(rest**2) / (np.mean(sounding**2) + 1e-9))
        vocals = vocals * np.float32(ratio * 10 ** (rng.uniform(*VOCALS_DB) / 20))
        yield f"{origin}, {singer}", vocals, rest


def read(pool: Path, name: str) -> np.ndarray:
    return np.float32(np.load(pool / f"{name}.npy")) / 32768


def minute(pool: Path, name: str, rng: np.random.Generator) -> np.ndarray:
    x = read(pool, name)
    start = rng.integers(0, max(1, len(x) - SAMPLES))
    x = x[start : start + SAMPLES]
    return x if len(x) == SAMPLES else np.resize(x, (SAMPLES, 2))


class Listener(Separator):
    """Keeps the masks of its calls."""

    def _call(self) -> None:
        super()._call()
        self.masks.append(self._model.mask().copy())

    def masks_of(self, mixture: np.ndarray) -> np.ndarray:
        """Codes of every frame, (n_frames, n_bands, 2)."""
        self.masks: list[np.ndarray] = []
        self.reset()
        self.push(mixture)
        self.flush()
        return np.concatenate(self.masks)[self.config.lookahead_frames :]


class Sums:
    """What of a song decides: by region and mask code, and by region."""

    def __init__(self, listener: Listener, vocals: np.ndarray, rest: np.ndarray):
        mixture = np.ascontiguousarray(vocals + rest)
        X, V = (self.spectrum(listener, x) for x in (mixture, vocals))
        codes = listener.masks_of(mixture)
        n = min(len(codes), len(X))
        edges = listener.config.band_edges()
        n_heard = int(min(edges[-1], X.shape[2]))
        bands = np.searchsorted(edges, np.arange(n_heard), side="right") - 1
        q = (codes[:n, bands].astype(int) + 128).swapaxes(1, 2)
        X, V = X[:n, :, :n_heard], V[:n, :, :n_heard]
        table = listener.config.mask_table()
        power, gain = finite_power(X), table[q]
        self.vocals = float(finite_power(V).sum())
        self.share = self.vocals / float(power.sum())
        engine = Softness(np.zeros(3), n_heard, 1.0, np.zeros(UNDECIDED_SIZE))
        for g, p in zip(gain, power, strict=True):
            engine.count(g, p)
        self.told = engine.told()
        self.with_vocals, self.power = np.zeros((2, N_REGIONS, 256))
        for i, (a, b) in enumerate(pairwise([*engine.starts, n_heard])):
            code = q[:, :, a:b].ravel()
            product = (V[:, :, a:b] * X[:, :, a:b].conj()).real
            self.with_vocals[i] = np.bincount(code, product.ravel(), 256)
            self.power[i] = np.bincount(code, power[:, :, a:b].ravel(), 256)

    @staticmethod
    def spectrum(listener: Listener, x: np.ndarray) -> np.ndarray:
        """Frames as the engine cuts them."""
        c = listener.config
        n_frames = (len(x) + c.n_fft) // c.hop
        padded = np.zeros(((n_frames - 1) * c.hop + c.n_fft, 2), np.float32)
        start = c.n_fft - c.hop
        padded[start : start + len(x)] = x[: len(padded) - start]
        spectral = Spectral(Geometry.of(c, c.sample_rate).tables(c, 2))
        X = np.empty((n_frames, 2, spectral.n_bins), np.complex64)
        features = np.empty((n_frames, c.n_bands, c.n_features), np.int8)
        spectral.analyse(padded, 1.0, X, features)
        return X


class Songs:
    """The sums of several songs as tensors."""

    def __init__(self, sums: list[Sums], table: np.ndarray) -> None:
        self.told, self.with_vocals, self.power = (
            torch.tensor(np.stack([getattr(s, name) for s in sums]))
            for name in ("told", "with_vocals", "power")
        )
        self.vocals = torch.tensor([s.vocals for s in sums]).double()
        gain = table.astype(np.float64)
        self.gain, self.soft = torch.tensor(gain), torch.tensor(softer(gain))

    def gains_db(self, t: torch.Tensor) -> torch.Tensor:
        """What softness t (n_songs, N_REGIONS) is worth to each song."""

        def error(t: torch.Tensor) -> torch.Tensor:
            g = self.gain + t[..., None] * (self.soft - self.gain)
            change = g * g * self.power - 2 * g * self.with_vocals
            return self.vocals + change.sum((1, 2))

        return 10 * torch.log10(error(0 * t) / error(t))

    def choose(self, which: list[int]) -> torch.Tensor:
        """Weights that gain most on these songs."""
        told = self.told[which]
        centre, spread = told.mean((0, 1)), told.std((0, 1))
        centre[0], spread[0] = 0, 1
        weights = torch.tensor([0.4, 0, 0]).double().requires_grad_()
        optimiser = torch.optim.Adam([weights], 0.03)
        for _ in range(400):
            t = ((self.told - centre) / spread) @ weights
            kept = t.clamp(0, 1)
            gains = self.gains_db(kept + 0.01 * (t - kept))[which]
            loss = RIDGE * weights[1:].pow(2).sum()
            loss = loss - gains.clamp(max=MOST_GAIN_DB).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        chosen = weights.detach() / spread
        chosen[0] -= (chosen[1:] * centre[1:]).sum()
        return chosen


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--pool", type=Path, required=True)
    args = parser.parse_args()
    listener = Listener(44100, 2, model=args.model)
    names, sums = [], []
    for name, vocals, rest in pieces(args.pool):
        names.append(name)
        sums.append(Sums(listener, vocals, rest))
        print(f"{name}: {100 * sums[-1].share:.1f} % vocals", flush=True)
    songs = Songs(sums, listener.config.mask_table())
    sung = [i for i, s in enumerate(sums) if s.share > LEAST_SHARE]
    weights = songs.choose(sung)
    print("softness:", [round(float(w), 2) for w in weights])
    for i, name in enumerate(names):
        others = songs.choose([j for j in sung if j != i])
        t = (songs.told @ others).clamp(0, 1)
        print(f"{name}: {float(songs.gains_db(t)[i]):+.2f} dB by the others' weights")


if __name__ == "__main__":
    main()
