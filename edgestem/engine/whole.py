"""A mixture that is there as a whole: array in, stems out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgestem.engine.separator import Separator
from edgestem.mixture import as_mixture
from edgestem.network.choices import DEFAULT
from edgestem.stems import Stems

if TYPE_CHECKING:
    from edgestem.stems import Samples


def separate(
    mixture: NDArray[Any],
    sample_rate: int,
    *,
    model: str | Path = DEFAULT,
    threads: int | None = None,
    fft: str = "auto",
    runtime: str | None = None,
    device: str = "auto",
    device_options: Mapping[str, str] | None = None,
    fallback: bool = True,
) -> Stems:
    """Separate a whole song held in memory: a loop over `Separator`.

    Parameters
    ----------
    mixture : shape (n_samples, n_channels), or (n_samples,) for mono
        1 or 2 channels; floats of any width, full scale +-1, or int16 or int32 of
        their own full scale, which are divided by 2^15 or 2^31.
    sample_rate : int
        Hz.
    model, threads, fft, runtime, device, device_options, fallback
        As for `Separator`.

    Returns
    -------
    Stems
        float32, shaped like `mixture`, every sample at its own place; full scale
        is +-1.

    Raises
    ------
    ValueError, TypeError
        Wrong shape or dtype; the message says what to do.
    EdgestemError
        Unsupported rate or channel count, or no usable model.
    """
    x = as_mixture(mixture)
    separator = Separator(
        sample_rate,
        x.shape[1],
        model=model,
        threads=threads,
        fft=fft,
        runtime=runtime,
        device=device,
        device_options=device_options,
        fallback=fallback,
    )
    stems = _whole(separator, x)
    return Stems(*(stem.reshape(mixture.shape) for stem in stems))


def _whole(separator: Separator, x: Samples) -> Stems:
    """Push and flush; leave the latency out."""
    late, n_samples = separator.latency_samples, len(x)
    shape = (n_samples + late, x.shape[1])
    total = Stems(*(np.empty(shape, np.float32) for _ in range(2)))
    separator.push(x, Stems(*(stem[:n_samples] for stem in total)))
    for whole, rest in zip(total, separator.flush(), strict=True):
        whole[n_samples:] = rest
    return Stems(*(stem[late:] for stem in total))
