"""Window pairs: what analysis and synthesis multiply a frame with.

A pair gives back the signal when the product of both overlap-adds to 1.  The delay
is that of the synthesis window alone, so a short one under the end of a long
analysis window keeps the resolution of the long one: Mauler and Martin (2007), "A
low delay, variable resolution, perfect reconstruction spectral analysis-synthesis
system for speech enhancement", EUSIPCO.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Window = NDArray[np.float32]


def hann_pair(n_fft: int, hop: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Make an analysis and a synthesis window that give back the signal.

    Both are periodic Hann windows; the second is divided by the sum of the
    squares of all overlapping windows, so that the product overlap-adds to 1
    for every hop below n_fft / 2 (and for n_fft / 2 itself).
    """
    if not 0 < hop <= n_fft // 2:
        raise ValueError(f"hop: expected 1 to {n_fft // 2} (n_fft / 2), got {hop}")
    w = _hann(n_fft)
    overlap = np.zeros(hop)
    np.add.at(overlap, np.arange(n_fft) % hop, w * w)
    s = w / overlap[np.arange(n_fft) % hop]
    return w.astype(np.float32), s.astype(np.float32)


def window_pair(n_fft: int, hop: int, n_synthesis: int) -> tuple[Window, Window]:
    """Make an analysis window (n_fft,) and a synthesis window (n_synthesis,).

    With n_synthesis = n_fft both are Hann windows, see `hann_pair`.  Otherwise the
    product is a periodic Hann window of n_synthesis samples, scaled, and the
    analysis window rises until that window's middle and falls with its root.
    """
    if n_synthesis == n_fft:
        return hann_pair(n_fft, hop)
    if n_synthesis % hop or n_synthesis % 2 or not 2 * hop <= n_synthesis < n_fft:
        raise ValueError(
            f"n_synthesis: expected an even multiple of hop {hop}, {2 * hop} to "
            f"{n_fft}, got {n_synthesis}"
        )
    half = n_synthesis // 2
    rise = n_fft - half
    short = _hann(n_synthesis)
    analysis = np.sqrt(np.concatenate([_hann(2 * rise)[:rise], short[half:]]))
    # n_synthesis / hop Hann windows overlap; they add to half their number.
    product = short * (2 * hop / n_synthesis)
    synthesis = product / analysis[n_fft - n_synthesis :]
    return analysis.astype(np.float32), synthesis.astype(np.float32)


def fading_out(analysis: Window, synthesis: Window, hop: int) -> Window:
    """Weight that the frames so far have in the samples behind a finished hop.

    Shape (n_synthesis - hop,), from 1 to 0: what the overlap-add tail holds is the
    signal times this, as long as the mask stays as it is.
    """
    n = len(synthesis)
    product = analysis[len(analysis) - n :].astype(np.float64) * synthesis
    weight = np.zeros(n - hop)
    for start in range(hop, n, hop):
        weight[: n - start] += product[start:]
    return weight.astype(np.float32)


def _hann(n: int) -> NDArray[np.float64]:
    w: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)
    return w
