"""What comes out: the names of the stems, their samples, and the ends of levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # a help text has the words below, and no need of numpy
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

STEMS = ("vocals", "instrumental")
MIX = "karaoke"  # the third output: instrumental and vocals at a level
OUTPUTS = (*STEMS, MIX)
MIN_DB, MAX_DB = -120.0, 20.0  # of a stem in a mix; -inf is none
SILENT_DB = -100.0  # of a fader: this level and below is no sound at all
# A sample beyond this (integers handed over as floats reach 2^24) is damage.
LIMIT = float(2**25)


class Stems(NamedTuple):
    """Two equally long arrays, float32 (n_samples, n_channels)."""

    vocals: Samples
    instrumental: Samples
