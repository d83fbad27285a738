"""What a file job is told, and what it reports."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from edgestem.sound.formats import (
    ALL_CONTAINERS,
    LOSSY,
    MAX_BITRATE,
    MIN_BITRATE,
    SUBTYPES,
)
from edgestem.stems import MAX_DB, MIN_DB, MIX, STEMS


@dataclass(frozen=True, slots=True)
class Output:
    """What a song becomes; see each field."""

    stems: tuple[str, ...] = STEMS
    """Of "vocals", "instrumental", "karaoke"."""
    vocals_db: float | None = None
    """Level of the vocals in "karaoke", dB; 0 is the song as it was, -inf is none."""
    file_format: str = "wav"
    """wav, flac, ogg, mp3, or by ffmpeg m4a, alac, opus."""
    subtype: str = "keep"
    """Sample format of the stems: "keep" or a name of `grid.GRIDS`."""
    bitrate: int | None = None
    """kbit/s of the lossy formats, 64 to 320; default: see `containers.Details`."""
    is_forced: bool = False
    """Replace stems that exist."""

    def __post_init__(self) -> None:
        unknown = set(self.stems) - {*STEMS, MIX}
        if unknown or not self.stems:
            raise ValueError(f"stems: expected some of {STEMS}, got {self.stems}")
        if (MIX in self.stems) != (self.vocals_db is not None):
            raise ValueError("the stem karaoke and vocals_db belong together")
        level = self.vocals_db
        if level not in (None, -math.inf) and not MIN_DB <= level <= MAX_DB:
            raise ValueError(f"vocals_db: expected -120 to 20, or -inf, got {level}")
        if self.file_format not in ALL_CONTAINERS:
            raise ValueError(f"file_format: expected one of {ALL_CONTAINERS}")
        if self.subtype not in SUBTYPES:
            raise ValueError(f"subtype: expected one of {SUBTYPES}")
        if self.bitrate is not None:
            self._check_bitrate(self.bitrate)

    def _check_bitrate(self, bitrate: int) -> None:
        if self.file_format not in LOSSY:
            raise ValueError(f"a bit rate belongs to {' and '.join(LOSSY)}")
        if not MIN_BITRATE <= bitrate <= MAX_BITRATE:
            raise ValueError(
                f"bitrate: expected {MIN_BITRATE} to {MAX_BITRATE}, got {bitrate}"
            )


@dataclass(slots=True)
class FileReport:
    """What became of one song."""

    input: str
    """The song's path."""
    sample_rate: int
    """Hz."""
    n_channels: int
    """Channels of the song and of every stem."""
    subtype: str
    """Sample format of the stems."""
    latency_samples: int = 0
    """Latency of the engine; it is compensated in files."""
    outputs: dict[str, str] = field(default_factory=dict)
    """Stem -> path."""
    n_samples: int = 0
    """Length of the song and of every stem."""
    elapsed: float = 0.0
    """Time it took, seconds."""
    n_bad_samples: int = 0
    """NaN and infinite values that became silence."""
    n_adjusted_samples: int = 0
    """Values whose vocals gave way so that both stems fit the sample format."""
    n_clipped_samples: int = 0
    """Values of the song, the karaoke mix or lossy stems beyond full scale."""
    warnings: list[str] = field(default_factory=list)
    """Sentences for a person."""

    @property
    def seconds(self) -> float:
        """Length of the song."""
        return self.n_samples / self.sample_rate

    @property
    def rtf(self) -> float | None:
        """Processing time / audio time."""
        return self.elapsed / self.seconds if self.n_samples else None

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints: the fields, `seconds` and `rtf`."""
        return {**asdict(self), "seconds": self.seconds, "rtf": self.rtf}

    def sentences(self) -> list[str]:
        """Say of the counts what a listener should know."""
        found = (
            (self.n_bad_samples, "damaged values (NaN, infinite) count as silence"),
            (
                self.n_adjusted_samples,
                "values of the stems would exceed full scale; "
                "the vocals gave way there, the sum is exact",
            ),
            (self.n_clipped_samples, "values beyond full scale were clipped"),
        )
        return [f"{self.input}: {n} {what}" for n, what in found if n]
