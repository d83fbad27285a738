"""What a model needs from the engine, read from the JSON sidecar beside it.

`<name>.tflite` holds the network, `<name>.json` everything around it: the
spectrogram, the bands, how magnitudes become int8 codes, how many frames a call
takes, and what the model is worth.  The engine knows models only through this.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.errors import ModelError

# What names, describes or finds a model and leaves its samples as they are.
_TEXTS = ("name", "purpose", "licence", "attribution", "file")
_WORDS = (*_TEXTS, "rest_file", "figures", "path", "model")
# Field -> type, least and most; wider than any net that a board runs in memory.
_REAL = (int, float)
_BOUNDS: dict[str, tuple[type | tuple[type, ...], float, float]] = {
    "sample_rate": (int, 8_000, 384_000),
    "n_fft": (int, 64, 1 << 16),
    "hop": (int, 1, 1 << 16),
    "synthesis_length": (int, 0, 1 << 16),
    "n_features": (int, 2, 3),
    "frames_per_call": (int, 1, 4096),
    "left_context": (int, 0, 4095),
    "right_context": (int, 0, 4095),
    "lookahead_frames": (int, 0, 4096),
    "views": (int, 1, 16),
    "top_bands": (int, 0, 1 << 15),
    "compression_power": (_REAL, 0.01, 1),
    "compression_offset": (_REAL, 0, 1e6),
    "compression_pivot": (_REAL, 1e-6, 1e6),
    "feature_scale": (_REAL, 1e-9, 1e6),
    "feature_zero_point": (int, -128, 127),
    "mask_scale": (_REAL, 1e-9, 1e3),
    "mask_zero_point": (int, -128, 127),
    "max_gain_db": (_REAL, 0, 120),
    "gain_step_db": (_REAL, 1e-3, 120),
    "past_s": (_REAL, 0, 60),
    "levels": (int, 0, 4),
    "slope": (_REAL, 0, 1),
    "mono_side": (_REAL, 0, 2),
}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model's sidecar; see each field."""

    name: str
    """What users type: `karaoke`."""
    sample_rate: int
    """Rate the model was trained at, Hz; other rates scale the window."""
    n_fft: int
    """FFT length at `sample_rate`."""
    hop: int
    """Samples between frames at `sample_rate`; divides n_fft."""
    bands: tuple[tuple[int, int], ...]
    """Runs of (count, width in bins), from bin 0 upwards."""
    n_features: int
    """Input channels: 2 = |L|, |R|; 3 = |L|, |R|, |L - R|."""
    frames_per_call: int
    """Frames the network takes in one call (T)."""
    left_context: int
    """Of these, frames before the ones whose masks are used."""
    right_context: int
    """Of these, frames behind the ones whose masks are used."""
    lookahead_frames: int
    """Frames between a feature frame and its mask (stateful nets)."""
    states: tuple[tuple[str, str], ...]
    """(input tensor, output tensor) of each state; empty for block nets."""
    compression_power: float
    """Feature value = (|X| + offset)^power * pivot^(1 - power)."""
    compression_offset: float
    """Added to |X|, in the scale of samples at +-1 and an unscaled FFT of n_fft."""
    compression_pivot: float
    """The magnitude that compression leaves as it is."""
    feature_scale: float
    """int8 code = round(feature value / scale) + zero point."""
    feature_zero_point: int
    mask_scale: float
    """mask = (code - zero point) * scale, clipped to 0..1."""
    mask_zero_point: int
    top_bands: int
    """Above the last band: mean mask of so many top bands; 0 = no vocals there."""
    target_rms_db: tuple[float, ...]
    """Levels that blocks are brought to before the network, dBFS, in turn; empty = as
    they are.  With several views a frame is heard at each of so many levels."""
    max_gain_db: float
    """The most a quiet block is raised."""
    gain_step_db: float
    """Grid of the gain, so that it is the same on every machine."""
    sha256: str
    """Of the .tflite file."""
    licence: str
    attribution: str
    synthesis_length: int = 0
    """Samples at the end of a window that overlap-add, at `sample_rate`; 0 = n_fft."""
    views: int = 1
    """Calls that hear a frame and whose masks are averaged; 1 to 16."""
    past_s: float = 0.0
    """Seconds of accompaniment that masks learn from; 0 = none."""
    purpose: str = ""
    """What it is for, in a few words, printed by `edgestem info`."""
    file: str = ""
    """Name of the .tflite file beside it, where it is another model's."""
    levels: int = 0
    """First levels of the network that are computed in float: `spectrum.levels`."""
    slope: float = 0.0
    """Of the LeakyReLU behind each of these."""
    mono_side: float = 0.0
    """Of mono audio, |L - R| counts as at least so many times |L|: `engine.width`."""
    rest_file: str = ""
    """A second .tflite file beside it: the network that masks the accompaniment."""
    rest_sha256: str = ""
    """Of that file."""
    figures: dict[str, Any] = field(default_factory=dict)
    """Measured quality, printed by `edgestem info`."""
    path: Path = Path()
    """The .tflite file of the network."""
    model: Path = Path()
    """What loads this model again: `<name>.tflite`, there or not."""

    def __post_init__(self) -> None:
        def require(condition: bool, what: str) -> None:
            if not condition:
                raise self._mismatch(what)

        for name, (kind, low, high) in _BOUNDS.items():
            value = getattr(self, name)
            right = isinstance(value, kind) and not isinstance(value, bool)
            require(right and low <= value <= high, name)  # NaN compares false
        for name in (*_TEXTS, "sha256", "rest_file", "rest_sha256"):
            require(isinstance(getattr(self, name), str), name)
        require(self.n_fft % 4 == 0 and self.n_fft >= 64, "n_fft")
        require(0 < self.hop <= self.n_fft and self.n_fft % self.hop == 0, "hop")
        require(self._is_synthesis_possible(), "synthesis_length")
        sizes = [size for band in self.bands for size in band]  # counts and widths
        require(bool(sizes) and min(sizes) > 0 and max(sizes) <= self.n_fft, "bands")
        require(self.n_features in (2, 3), "n_features")
        hears_sides = self.n_features == 3 and not self.levels
        require(not self.mono_side or hears_sides, "mono_side")
        require(self.frames_per_call > self.left_context + self.right_context, "frames")
        require(min(self.left_context, self.right_context) >= 0, "context")
        require(self._are_views_possible(), "views")
        require(self.lookahead_frames >= 0, "lookahead_frames")
        require(0 < self.compression_power <= 1, "compression_power")
        require(min(self.feature_scale, self.mask_scale) > 0, "scales")
        require(0 <= self.top_bands <= self.n_bands, "top_bands")
        require(all(-90 <= db <= 0 for db in self.target_rms_db), "target_rms_db")
        require(0 <= self.past_s <= 60, "past_s")
        require(bool(self.rest_file) == bool(self.rest_sha256), "rest_sha256")
        require(not (self.rest_file and self.states), "rest_file")

    def _mismatch(self, what: str) -> ModelError:
        return ModelError(
            f"model {self.name!r}: the sidecar's {what} makes no sense; "
            "reinstall the model",
            code="model_mismatch",
            path=str(self.path),
        )

    def _is_synthesis_possible(self) -> bool:
        n, hop = self.n_synthesis, self.hop
        return n == self.n_fft or (2 * hop <= n < self.n_fft and n % hop == n % 2 == 0)

    def _are_views_possible(self) -> bool:
        return 1 <= self.views <= 16 and self.used_frames % self.views == 0

    @property
    def n_synthesis(self) -> int:
        """Samples of a window that overlap-add; with one frame a call, the latency."""
        return self.synthesis_length or self.n_fft

    @property
    def n_bands(self) -> int:
        """Bands of the network's input."""
        return sum(count for count, _ in self.bands)

    @property
    def digest(self) -> str:
        """What names the function: everything that changes a sample."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in _WORDS:
            del kept[name]
        if not self.mono_side:  # came later: the names that were stay
            del kept["mono_side"]
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def rest_path(self) -> Path | None:
        """The second network's file, if there is one."""
        return self.path.with_name(self.rest_file) if self.rest_file else None

    @property
    def files(self) -> list[tuple[Path, str]]:
        """Every .tflite file of the model, with its sha256."""
        found = [(self.path, self.sha256)]
        if self.rest_path is not None:
            found.append((self.rest_path, self.rest_sha256))
        return found

    @property
    def n_bytes(self) -> int:
        """Size of its .tflite files."""
        return sum(path.stat().st_size for path, _ in self.files)

    @property
    def used_frames(self) -> int:
        """Frames of a call whose masks are used."""
        return self.frames_per_call - self.left_context - self.right_context

    @property
    def group(self) -> int:
        """Frames that one call moves on by."""
        return self.used_frames // self.views

    @property
    def frames_ahead(self) -> int:
        """Frames of a call behind its group: seen again, or context."""
        return self.used_frames - self.group + self.right_context

    def band_edges(self) -> NDArray[np.int32]:
        """Bin edges, shape (n_bands + 1,), int32."""
        widths = [width for count, width in self.bands for _ in range(count)]
        return np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)

    def thresholds(self) -> NDArray[np.float32]:
        """Band powers at which the int8 code steps up, shape (255,), float32.

        Code q is reached when the feature value passes (q - 0.5 - zero point) *
        scale; the inverse of the compression gives |X|, its square the power.
        """
        magnitude = self._magnitudes(np.arange(-127, 128, dtype=np.float64) - 0.5)
        return np.asarray(magnitude**2, np.float32)

    def side_codes(self) -> NDArray[np.int8]:
        """Code of `mono_side` times the magnitude of each code, shape (256,), int8.

        In the order of the codes as bytes: 0 to 127, then -128 to -1.
        """
        codes = np.arange(256).astype(np.uint8).astype(np.int8).astype(np.float64)
        side = self.mono_side * self._magnitudes(codes) + self.compression_offset
        p, pivot = self.compression_power, self.compression_pivot
        value = side**p * pivot ** (1 - p) / self.feature_scale
        found = np.round(value) + self.feature_zero_point
        return np.asarray(np.clip(found, -128, 127), np.int8)

    def _magnitudes(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return |X| of codes, 0 at least; codes may lie between two."""
        value = (codes - self.feature_zero_point) * self.feature_scale
        p, pivot = self.compression_power, self.compression_pivot
        base: NDArray[np.float64] = np.maximum(value / pivot ** (1 - p), 0.0)
        return np.maximum(base ** (1 / p) - self.compression_offset, 0.0)

    def mask_table(self) -> NDArray[np.float32]:
        """Gain of each mask code -128..127, shape (256,), float32, 0..1."""
        codes = np.arange(-128, 128, dtype=np.float64)
        mask = (codes - self.mask_zero_point) * self.mask_scale
        # An int8 sigmoid ends at 255/256; full vocals mean 1.
        return np.clip(mask * 256 / 255, 0.0, 1.0).astype(np.float32)
