"""Mixtures as people have them, and the one kind that the engine takes.

soundfile reads float64 and scipy int16, mono comes as one dimension, and librosa and
torch put the channels first.  What has one meaning is converted, the rest is refused
with the way out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FULL_SCALE = {"i2": 2.0**15, "i4": 2.0**31}


def as_float32(x: NDArray[Any], what: str) -> NDArray[np.float32]:
    """Return x itself if it is float32, or a converted copy.

    Parameters
    ----------
    x : any shape
        float16, float32 or float64, full scale +-1; or int16 or int32, which are
        divided by 2^15 or 2^31.  Any byte order.
    what : str
        Its name in messages.

    Raises
    ------
    TypeError
        It is no array, or of another dtype; the message says both.
    """
    if not isinstance(x, np.ndarray):
        raise TypeError(_no_array(x, what))
    if x.dtype == np.float32:
        return x
    kind = x.dtype.str[1:]
    if kind in _FULL_SCALE:
        # The division is exact; float32 rounds int32 once.
        return (x / _FULL_SCALE[kind]).astype(np.float32)
    if kind in ("f2", "f4", "f8"):
        with np.errstate(over="ignore"):  # beyond float32 is damage, and counts as it
            return x.astype(np.float32)
    raise TypeError(
        f"{what}: expected float32 (or float16, float64, int16, int32), got {x.dtype}; "
        f"convert it with {what}.astype('float32'), so that full scale is +-1"
    )


def as_mixture(x: NDArray[Any]) -> NDArray[np.float32]:
    """Return a whole song as (n_samples, n_channels) float32; mono may be (n_samples,).

    Raises
    ------
    TypeError, ValueError
        Wrong dtype or shape; the message says what to do.
    """
    x = as_float32(x, "mixture")
    if x.ndim == 1:
        return x[:, None]
    if x.ndim != 2 or (x.shape[0] in (1, 2) and x.shape[1] > 2):
        raise ValueError(
            f"mixture: expected (n_samples, n_channels), got {x.shape}"
            + shape_hint(x.shape, "mixture")
        )
    return x


def shape_hint(shape: tuple[int, ...], what: str) -> str:
    """Say what to do about a shape that engines do not take, as far as it is known."""
    if len(shape) == 1:
        return f"; of mono pass {what}[:, None]"
    if len(shape) == 2 and shape[0] in (1, 2) and shape[1] > 2:
        return f"; this looks like channels first ({shape[0]}, N): pass {what}.T"
    return ""


def _no_array(x: object, what: str) -> str:
    text = f"{what}: expected a numpy array, got {type(x).__name__}"
    if isinstance(x, (str, bytes)) or hasattr(x, "__fspath__"):
        return f"{text}; of a file ask edgestem.separate_file"
    return f"{text}; numpy.asarray({what}, 'float32') makes one"
