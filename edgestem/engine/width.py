"""Whether a stream is stereo, and what a network hears of one that is not.

Some networks hear |L - R| beside |L| and |R|.  Where it is next to nothing they take
all for the centre, where singers stand: of mono audio, which says nothing about
places, they took too much for vocals.  So in mono |L - R| counts as
`mono_side` times |L|, as in music whose places say little (models/EXPERIMENTS.md,
nineteenth campaign).

Recordings on two channels that are mono have 40 dB or more between L + R and L - R,
stereo ones less than 30 except where a voice is alone.  A stream is mono until it was
heard in stereo, and again when it was not for `HOLD_S`, or half of that: what was just
heard in stereo is not listened to at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgestem.network.geometry import Geometry
    from edgestem.network.sidecar import ModelConfig
    from edgestem.spectrum.spectral import Spectral
    from edgestem.stems import Samples

LEAST_SIDE = 10**-3.5  # power of L - R, as a share of L's and R's, that is stereo
NOISE = 1e-8  # mean square of a dither or a converter: says nothing
HOLD_S = 20.0  # for which stereo is believed without being heard


class Width:
    """Watches a stream's L - R, and raises it in the features of mono."""

    def __init__(
        self,
        config: ModelConfig,
        geometry: Geometry,
        n_channels: int,
        spectral: Spectral,
    ) -> None:
        n = geometry.call_samples
        self._has_sides = n_channels == 2
        self._energy = spectral.energy
        self._side = np.zeros(n, np.float32)
        self._halves = self._side.reshape(-1, 2)
        self._quietest = NOISE * n
        self._hold = math.ceil(HOLD_S / geometry.call_s)
        self._least = config.side_codes()
        self._raised = np.zeros((geometry.frames_per_call, config.n_bands), np.int8)
        self.reset()

    def reset(self) -> None:
        """Begin a stream."""
        self.is_mono = True
        self._n_left = 0

    def hear(self, x: Samples) -> bool:
        """Hear the samples of a call, (call_samples, n_channels).

        Returns whether `is_mono` is another than before.
        """
        if not self._has_sides:
            return False
        if self._n_left > self._hold // 2:
            self._n_left -= 1
            return False
        if self._is_stereo(x):
            self._n_left = self._hold
        elif self._n_left:
            self._n_left -= 1
        was, self.is_mono = self.is_mono, not self._n_left
        return was != self.is_mono

    def _is_stereo(self, x: Samples) -> bool:
        np.subtract(x[:, 0], x[:, 1], out=self._side)
        side = self._energy(self._halves)
        return side > self._quietest and side > LEAST_SIDE * self._energy(x)

    def spread(self, codes: NDArray[np.int8]) -> None:
        """Raise |L - R| in features of mono, (n_frames, n_bands, 3), in place."""
        raised, left = self._raised[: len(codes)], codes.view(np.uint8)[..., 0]
        self._least.take(left, out=raised, mode="wrap")
        np.maximum(codes[..., 2], raised, out=codes[..., 2])
