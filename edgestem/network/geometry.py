"""A model at a sample rate: how long its frames are, and when its calls are due."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgestem.network.sidecar import ModelConfig
from edgestem.spectrum.tables import Tables
from edgestem.spectrum.windows import Window, window_pair

# How long a stream's places, directions and repetitions are remembered: 5 s are worth
# 0.02 dB less than 10, 40 s nothing more (models/EXPERIMENTS.md, seventh campaign).
LEARNT_S = 15.0


def frame_sizes(config: ModelConfig, sample_rate: int) -> tuple[int, int]:
    """Return (n_fft, hop) at a rate: the window lasts as long as in training.

    Sizes are 4, 5 or 6 times a power of two, so the nearest is within 12 %; at
    48 kHz that is the same 4096 as at 44.1 kHz.
    """
    ideal = config.n_fft * sample_rate / config.sample_rate
    sizes = [m << e for m in (4, 5, 6) for e in range(4, 16)]
    n_fft = min(sizes, key=lambda size: abs(math.log(size / ideal)))
    return n_fft, n_fft * config.hop // config.n_fft


def learnt_decay(hop: int, sample_rate: int) -> float:
    """Return what a hop leaves of what was learnt before it."""
    return math.exp(-hop / (LEARNT_S * sample_rate))


def past_frames(past_s: float, hop: int, sample_rate: int) -> int:
    """Return how many frames a past of so many seconds has."""
    return round(past_s * sample_rate / hop)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of one model's frames and calls at one rate: plain numbers."""

    sample_rate: int
    """Hz."""
    n_fft: int
    """Samples of a frame."""
    hop: int
    """Samples between frames."""
    n_synthesis: int
    """Samples at the end of a frame that overlap-add."""
    frames_per_call: int
    """Frames that the network takes in one call."""
    left_context: int
    """Of these, frames before the ones whose masks are used."""
    group: int
    """Frames that one call moves on by."""
    lookahead: int
    """Frames between a feature frame and its mask (stateful nets)."""
    n_known: int
    """Frames of a call that the call before it had too."""
    call_samples: int
    """Samples that one call moves on by."""
    first_samples: int
    """Samples that the first call waits for: the group and its right context."""
    latency_samples: int
    """How late stems leave their mixture."""
    decay: float
    """What a frame leaves of what was learnt before it."""
    n_past: int
    """Frames of accompaniment that are remembered."""

    @classmethod
    def of(cls, config: ModelConfig, sample_rate: int) -> Geometry:
        """Compute the sizes of a model at a rate in Hz."""
        c = config
        n_fft, hop = frame_sizes(c, sample_rate)
        n_synthesis = n_fft * c.n_synthesis // c.n_fft
        n_waiting = c.group + c.frames_ahead
        return cls(
            sample_rate=sample_rate,
            n_fft=n_fft,
            hop=hop,
            n_synthesis=n_synthesis,
            frames_per_call=c.frames_per_call,
            left_context=c.left_context,
            group=c.group,
            lookahead=c.lookahead_frames,
            n_known=c.frames_per_call - c.group,
            call_samples=c.group * hop,
            first_samples=n_waiting * hop,
            latency_samples=(n_waiting + c.lookahead_frames - 1) * hop + n_synthesis,
            decay=learnt_decay(hop, sample_rate),
            n_past=past_frames(c.past_s, hop, sample_rate),
        )

    @property
    def call_s(self) -> float:
        """Time between calls, seconds."""
        return self.call_samples / self.sample_rate

    def windows(self) -> tuple[Window, Window]:
        """Make the windows of analysis (n_fft,) and synthesis (n_synthesis,)."""
        return window_pair(self.n_fft, self.hop, self.n_synthesis)

    def tables(self, config: ModelConfig, n_channels: int) -> Tables:
        """Make the constants of the spectrogram stages around the model."""
        analysis, synthesis = self.windows()
        return Tables(
            n_fft=self.n_fft,
            hop=self.hop,
            n_synthesis=self.n_synthesis,
            n_channels=n_channels,
            n_features=config.n_features,
            analysis_window=analysis,
            synthesis_window=synthesis,
            band_edges=config.band_edges(),
            thresholds=config.thresholds(),
            mask_table=config.mask_table(),
            top_bands=config.top_bands,
            decay=self.decay,
            n_past=self.n_past,
        )
