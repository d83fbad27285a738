"""What a stream's frames leave to the next: one object, made by a Spectral.

The kernel and the numpy back end read and write these arrays in place and keep
nothing else, so a stream is its Memory: `reset` begins a new one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# In the order of es_memory in native/edgestem.h.
PARTS = ("tail", "directions", "repetition", "places")


class Memory:
    """Float32 arrays that `Spectral.synthesise` reads and writes.

    A part that is None is left out, and so is what it stands for.

    Parameters
    ----------
    parts : mapping of str to array or None
        The four attributes; `Spectral.memory` has checked them.

    Attributes
    ----------
    tail : shape (n_synthesis - hop, n_channels)
        What overlap-adds into the next hops.
    directions : shape (DIRECTIONS_SIZE,)
        From which directions vocals came so far; see `learners.Directions`.
    repetition : shape (repetition_size,)
        What was played so far; see `learners.Repetition`.
    places : shape (2, 4, n_bins)
        Where vocals and the rest came from so far: C_LL, C_RR, the real and the
        imaginary part of C_LR; see `learners.WienerFilter`.
    handle : object
        What the back end that made it keeps with it.
    """

    __slots__ = ("handle", *PARTS)

    tail: Floats
    directions: Floats | None
    repetition: Floats | None
    places: Floats | None

    def __init__(self, parts: dict[str, Floats | None]) -> None:
        for name in PARTS:
            setattr(self, name, parts[name])
        self.handle: Any = None

    def parts(self) -> list[Floats | None]:
        """List the parts, in the order of PARTS."""
        return [getattr(self, name) for name in PARTS]

    def reset(self) -> None:
        """Forget the stream: every part is zeros."""
        for part in self.parts():
            if part is not None:
                part.fill(0)
