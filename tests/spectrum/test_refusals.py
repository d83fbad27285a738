"""Wrong arrays and settings are refused, and nothing is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from spectra import (
    HOP,
    LINEAR,
    N_FFT,
    THRESHOLDS,
    engines,
    make,
    samples,
)

from edgestem.spectrum.learners import DIRECTIONS_SIZE
from edgestem.spectrum.memory import PARTS
from edgestem.spectrum.spectral import Spectral
from edgestem.spectrum.windows import hann_pair


def arrays(s: Spectral) -> dict[str, NDArray[Any]]:
    return {
        "x": samples(s, 2),
        "X": np.full((2, 2, s.n_bins), 7, np.complex64),
        "features": np.full((2, s.n_bands, 2), 7, np.int8),
        "mask": np.full((2, s.n_bands, 2), 7, np.int8),
        "tail": np.full((N_FFT - HOP, 2), 7, np.float32),
        "y": np.full((2 * HOP, 2), 7, np.float32),
        "places": np.full((2, 4, s.n_bins), 7, np.float32),
        "repetition": np.full(s.repetition_size, 7, np.float32),
        "directions": np.full(DIRECTIONS_SIZE, 7, np.float32),
    }


def read_only(a: NDArray[Any]) -> NDArray[Any]:
    a = a.copy()
    a.setflags(write=False)
    return a


BREAKS = {
    "double": lambda a: a.astype(np.complex128 if a.dtype.kind == "c" else np.float64),
    "list": lambda a: a.tolist(),
    "short": lambda a: a[..., :-1].copy(),
    "flat": lambda a: a.reshape(-1),
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "read-only": read_only,
}


@engines
@pytest.mark.parametrize(
    "broken",
    [
        *("x", "X", "features", "mask", "tail", "y"),
        *("places", "repetition", "directions"),
    ],
)
@pytest.mark.parametrize("how", BREAKS)
def test_wrong_arrays_are_refused_and_nothing_is_written(
    backend: str, simd: str, broken: str, how: str
) -> None:
    is_input = broken in ("x", "mask")
    if (how == "read-only" and is_input) or (
        how == "flat" and broken in ("repetition", "directions")
    ):
        return
    s = make(backend, simd, n_past=3)
    good = arrays(s)
    bad = good | {broken: BREAKS[how](good[broken])}
    outputs = {k: np.copy(v) for k, v in good.items()}

    def call() -> None:
        if broken in ("x", "features") or (broken == "X" and how == "read-only"):
            s.analyse(bad["x"], 1.0, bad["X"], bad["features"])
        else:
            memory = s.memory(**{k: bad[k] for k in PARTS})
            s.synthesise(bad["mask"], bad["X"], memory, bad["y"])

    with pytest.raises((TypeError, ValueError), match=f"^{broken}: expected "):
        call()
    for name, before in outputs.items():
        assert np.array_equal(good[name], before), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_fft": 250}, r"n_fft: expected 2\^a"),
        ({"hop": 0}, "hop: expected 1 to 256, got 0"),
        ({"hop": 257}, "hop: expected 1 to 256, got 257"),
        ({"n_synthesis": 257}, "n_synthesis: expected 1 to 256, got 257"),
        ({"n_synthesis": 63}, "hop: expected 1 to 63, got 64"),
        ({"n_synthesis": 128}, "synthesis_window: expected shape"),
        ({"decay": 1.0}, "decay: expected 0 to below 1, got 1.0"),
        ({"decay": np.nan}, "decay: expected 0 to below 1, got nan"),
        ({"n_channels": 3}, "n_channels: expected 1 to 2, got 3"),
        ({"n_features": 1}, "n_features: expected 2 to 3, got 1"),
        ({"top_bands": -1}, "top_bands: expected 0 to 64, got -1"),
        ({"top_bands": 65}, "top_bands: expected 0 to 64, got 65"),
        ({"band_edges": [3]}, "band_edges: expected shape"),
        ({"band_edges": [0, 2, 2]}, "band_edges: expected increasing"),
        ({"band_edges": [-1, 2]}, "band_edges: expected increasing"),
        ({"thresholds": THRESHOLDS[1:]}, "thresholds: expected shape"),
        ({"thresholds": THRESHOLDS[::-1]}, "thresholds: expected numbers that"),
        ({"thresholds": np.full(255, np.nan)}, "thresholds: expected numbers that"),
        ({"thresholds": np.linspace(1, 1.1, 255)}, "thresholds: expected steps"),
        ({"thresholds": np.full(255, 1.0)}, "thresholds: expected steps"),
        ({"mask_table": LINEAR[:255]}, "mask_table: expected shape"),
        ({"mask_table": [np.inf] * 256}, "mask_table: expected finite"),
        ({"analysis_window": np.ones(255)}, "analysis_window: expected shape"),
        ({"synthesis_window": [np.nan] * 256}, "synthesis_window: expected finite"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match=message),
    ):
        changes: dict[str, Any] = {"top_bands": 0} | change
        analysis, synthesis = hann_pair(N_FFT, HOP)
        windows = {"analysis_window": analysis, "synthesis_window": synthesis}
        make(**(windows | changes))


def test_an_unknown_back_end_is_refused() -> None:
    with pytest.raises(ValueError, match="backend: expected auto or one of"):
        make("cuda")


def test_the_kernel_finds_steps_that_the_check_lets_pass() -> None:
    """The least step allowed must fit the kernel's cells at any exponent."""
    for start in (1e-30, 0.7, 1.0, 1.9, 3e20):
        make(thresholds=start * 1.0021 ** np.arange(255))
