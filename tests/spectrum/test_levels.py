"""Levels in float: the definition, alike on every back end and machine."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from edgestem import native
from edgestem.errors import NativeError
from edgestem.spectrum.levels import ArrayLevels, Front, Grid, Level, make_levels

ENGINES = [("numpy", "best"), *(("native", simd) for simd in native.simd_levels())]
engines = pytest.mark.parametrize(("backend", "simd"), ENGINES)
SHAPE = (8, 32, 2)


def scrambled(*shape: int) -> NDArray[np.float32]:
    """Numbers from -1 to 1 that owe nothing to a library."""
    n = np.arange(int(np.prod(shape)), dtype=np.uint32)
    values = n * np.uint32(2654435761) >> np.uint32(8)
    return (values.astype(np.float32) / np.float32(2**23) - np.float32(1)).reshape(
        shape
    )


def front_of(n_levels: int = 2, n_in: int = 2, **changes: object) -> Front:
    """Levels of 16, 32 ... channels."""
    levels = []
    for i in range(n_levels):
        n_out = 16 * (i + 1)
        kernel = scrambled(5, 5, n_in, n_out) / np.float32(4)
        levels.append(Level(kernel, scrambled(n_out), Grid(0.05, 7 * i)))
        n_in = n_out
    return Front(
        **{"levels": tuple(levels), "slope": 0.2, "heard": Grid(0.02, -90)} | changes
    )


def codes_of(
    front: Front, x: NDArray[np.float32], backend: str = "numpy", simd: str = "best"
) -> list[NDArray[np.int8]]:
    n = len(front.levels)
    at = [*range(n), n - 1]
    out = [
        np.full(
            (x.shape[0] >> (i + 1), x.shape[1] >> (i + 1), 16 * (i + 1)), 99, np.int8
        )
        for i in at
    ]
    make_levels(front, x.shape, backend=backend, simd=simd).codes(x, out)
    return out


def by_hand(front: Front, x: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """What the codes stand for, in double and in another order."""
    h, out = x.astype(np.float64), []
    for level in front.levels:
        padded = np.pad(h, ((1, 2), (1, 2), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(0, 1))
        z = np.einsum("tfcyx,yxco->tfo", windows[::2, ::2], level.kernel) + level.bias
        out.append(z)
        h = np.where(z > 0, z, front.slope * z)
    return [*out, h]


@engines
@pytest.mark.parametrize("n_levels", [1, 2, 3])
def test_codes_are_the_definition(backend: str, simd: str, n_levels: int) -> None:
    front, x = front_of(n_levels), np.abs(scrambled(*SHAPE))
    grids = [*(level.grid for level in front.levels), front.heard]
    found = codes_of(front, x, backend, simd)
    for codes, values, grid in zip(found, by_hand(front, x), grids, strict=True):
        exact = np.clip(values / grid.scale + grid.zero, -128, 127)
        assert np.abs(codes - exact).max() <= 0.5 + 1e-3
        assert len(np.unique(codes)) > 20


@engines
@pytest.mark.parametrize("shape", [(2, 8, 2), (4, 16, 3), (16, 64, 1), (8, 40, 2)])
def test_back_ends_agree_to_the_bit(
    backend: str, simd: str, shape: tuple[int, int, int]
) -> None:
    front = front_of(1 if shape[0] == 2 else 2, shape[2])
    if shape == (8, 40, 2):  # 40 bands: 4 * 2, not 4 * 4
        front = front_of(1)
    x = 30 * scrambled(*shape)
    oracle = codes_of(front, x)
    for codes, expected in zip(codes_of(front, x, backend, simd), oracle, strict=True):
        assert np.array_equal(codes, expected)


@engines
def test_every_machine_gives_these_bits(backend: str, simd: str) -> None:
    found = codes_of(front_of(3), 9 * np.abs(scrambled(16, 64, 2)), backend, simd)
    digest = hashlib.sha256(b"".join(c.tobytes() for c in found)).hexdigest()
    assert digest[:16] == "481290f1db41cef6"


@engines
def test_what_is_outside_is_silence_and_a_call_leaves_nothing(
    backend: str, simd: str
) -> None:
    front, x = front_of(), np.abs(scrambled(*SHAPE))
    levels = make_levels(front, SHAPE, backend=backend, simd=simd)
    first, again = (
        [np.zeros((4, 16, 16), np.int8), *(np.zeros((2, 8, 32), np.int8) for _ in "zr")]
        for _ in range(2)
    )
    levels.codes(x, first)
    levels.codes(9 * x, again)  # fills every plane with other numbers
    levels.codes(x, again)
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.skipif(native.lib is None, reason="the kernel is not built")
@pytest.mark.parametrize(
    "case",
    [
        {"shape": (7, 32, 2)},
        {"shape": (8, 36, 2)},
        {"shape": (8, 32, 17)},
        {"slope": 1.5},
        {"slope": float("nan")},
        {"heard": Grid(0.0, 0)},
        {"heard": Grid(float("inf"), 0)},
        {"heard": Grid(0.1, 128)},
        {"n_out": 24},
        {"kernel": np.nan},
        {"levels": ()},
    ],
)
def test_what_the_kernel_cannot_do_is_refused(case: dict) -> None:
    front = front_of(
        **{k: v for k, v in case.items() if k in ("slope", "heard", "levels")}
    )
    shape = case.get("shape", SHAPE)
    if "n_out" in case:
        n = case["n_out"]
        level = Level(scrambled(5, 5, 2, n), scrambled(n), Grid(0.1, 0))
        front = front_of(levels=(level,))
    if "kernel" in case:
        front.levels[0].kernel[2, 2, 1, 3] = case["kernel"]
    if shape[2] != 2:
        front = front_of(1, shape[2])
    with pytest.raises(NativeError, match="a size, a count or the decay") as caught:
        make_levels(front, shape, backend="native")
    assert caught.value.code == "es_err_size"


def test_without_the_kernel_nothing_is_computed_unasked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "lib", None)
    with pytest.raises(NativeError, match="the compiled kernel is not beside"):
        make_levels(front_of(), SHAPE)
    assert isinstance(make_levels(front_of(), SHAPE, backend="numpy"), ArrayLevels)
