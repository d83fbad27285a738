"""What a stored stem was made from: the receipt that lies beside it.

An entry's key is made of all that its samples depend on: the samples that the network
heard, the network with its sidecar, the device and the runtime, this version, and the
grid.  Whoever has the same five finds the same vocals, to the bit.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from edgestem.network.sidecar import ModelConfig
from edgestem.sound.grid import GRIDS, Grid, GridSamples
from edgestem.sound.wav import WavFormat, pack
from edgestem.version import __version__


@dataclass(frozen=True, slots=True)
class Recipe:
    """How vocals are made, besides from what."""

    model: str
    """Digest of the network and its sidecar, `digest_of_model`."""
    place: str
    """Device and runtime, "cpu ai-edge-litert 2.3.0"."""
    version: str = __version__
    """Of edgestem."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is known of stored vocals."""

    key: str
    """Name of the entry."""
    content: str
    """Digest of the song's decoded samples, `SampleDigest`."""
    model: str
    """Digest of the network and its sidecar."""
    place: str
    """Device and runtime."""
    version: str
    """Of the edgestem that made it."""
    grid: str
    """Sample format, a name of `GRIDS`."""
    sample_rate: int
    """Hz."""
    n_channels: int
    """1 or 2."""
    n_samples: int
    """Length."""
    vocals: str
    """Digest of the vocals' samples."""
    title: str = ""
    """The song's name, for people."""
    loudness: float | None = None
    """LUFS of the instrumental; None: not measured."""
    peak: float | None = None
    """Greatest magnitude of the instrumental, full scale 1."""

    def to_json(self) -> str:
        """Write it down."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @property
    def wav(self) -> WavFormat:
        """Format of the vocals."""
        grid = GRIDS[self.grid]
        return WavFormat(grid, self.sample_rate, self.n_channels, self.n_samples)


def parse_receipt(text: str) -> Receipt | None:
    """Read a receipt; None: it is none, or another version's."""
    try:
        found = Receipt(**json.loads(text))
    except (ValueError, TypeError):
        return None
    numbers = (found.sample_rate, found.n_channels, found.n_samples)
    is_sound = found.grid in GRIDS and all(type(n) is int for n in numbers)
    return found if is_sound else None


class SampleDigest:
    """SHA-256 of samples with their format, block by block: a song's content."""

    def __init__(self, grid: Grid, sample_rate: int, n_channels: int) -> None:
        self._grid = grid
        kind = f"{grid.name} {sample_rate} {n_channels} "
        self._hash: Any = hashlib.sha256(kind.encode())

    def update(self, x: GridSamples) -> None:
        """Add samples on the grid."""
        self._hash.update(pack(x, self._grid))

    def hexdigest(self) -> str:
        """Tell the digest of what was added."""
        return str(self._hash.hexdigest())


def digest_of_model(config: ModelConfig) -> str:
    """Hash all that a sidecar says, the network's own digest with it."""
    said = {k: v for k, v in asdict(config).items() if k not in ("path", "model")}
    text = json.dumps(said, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def key_of(content: str, recipe: Recipe, grid: Grid) -> str:
    """Name what the vocals depend on."""
    parts = (content, recipe.model, recipe.place, recipe.version, grid.name)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
