"""The real FFT of every back end and instruction set against a double oracle."""

from __future__ import annotations

import numpy as np
import pytest
from fft import RealFFT
from numpy.typing import NDArray

from edgestem import native
from edgestem.errors import NativeError
from edgestem.spectrum import spectral
from edgestem.spectrum.tables import is_supported_size
from edgestem.spectrum.windows import hann_pair

ENGINES = [
    ("numpy", "best"),
    *([("fftw", "best")] if "fftw" in spectral.available_backends() else []),
    *(("native", level) for level in native.simd_levels()),
]
SMALL = [n for n in range(16, 1025) if is_supported_size(n)]
LARGE = [1536, 2048, 3072, 4096, 4500, 4608, 6912, 8192, 9216, 16384, 17280, 65536]
MIN_SNR_DB = 120.0

engines = pytest.mark.parametrize(("backend", "simd"), ENGINES)


def noise(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def snr_db(got: NDArray, expected: NDArray) -> float:
    error = np.sum(np.abs(got - expected) ** 2)
    return float(10 * np.log10(np.sum(np.abs(expected) ** 2) / (error + 1e-300)))


def test_native_back_end_is_built() -> None:
    assert spectral.available_backends()[0] == "native"
    assert "scalar" in native.simd_levels()
    assert native.simd_name() == native.simd_levels()[-1]


@engines
@pytest.mark.parametrize("sizes", [SMALL, LARGE], ids=["small", "large"])
def test_both_ways_agree_with_double(backend: str, simd: str, sizes: list[int]) -> None:
    for n in sizes:
        fft, x = RealFFT(n, backend=backend, simd=simd), noise((2, n), seed=n)
        X = fft.rfft(x)
        assert snr_db(X, np.fft.rfft(x.astype(np.float64))) >= MIN_SNR_DB, n
        X = (noise((2, n // 2 + 1)) + 1j * noise((2, n // 2 + 1), 1)).astype(X.dtype)
        expected = np.fft.irfft(X.astype(np.complex128), n)
        assert snr_db(fft.irfft(X), expected) >= MIN_SNR_DB, n


@engines
@pytest.mark.parametrize("n", [16, 60, 64, 120, 240])
def test_impulse_has_a_flat_spectrum_and_its_own_phase(
    backend: str, simd: str, n: int
) -> None:
    x = np.eye(n, dtype=np.float32)
    X = RealFFT(n, backend=backend, simd=simd).rfft(x)
    phase = np.outer(np.arange(n), np.arange(n // 2 + 1)) * (-2j * np.pi / n)
    assert np.abs(X - np.exp(phase)).max() < 1e-6


@engines
def test_parseval(backend: str, simd: str) -> None:
    n = 4096
    x = noise((1, n))
    power = np.abs(RealFFT(n, backend=backend, simd=simd).rfft(x)[0]) ** 2
    total = (2 * power.sum(dtype=np.float64) - power[0] - power[-1]) / n
    assert total == pytest.approx(np.sum(x.astype(np.float64) ** 2), rel=1e-6)


@engines
def test_inverse_ignores_imaginary_parts_of_the_edges(backend: str, simd: str) -> None:
    n = 240
    fft = RealFFT(n, backend=backend, simd=simd)
    X = fft.rfft(noise((1, n)))
    plain = fft.irfft(X)
    X[0, [0, -1]] += 100j
    assert np.abs(fft.irfft(X) - plain).max() < 1e-6


@engines
def test_nan_stays_in_its_row(backend: str, simd: str) -> None:
    fft, x = RealFFT(240, backend=backend, simd=simd), noise((3, 240))
    good = fft.rfft(x)
    x[1, 17] = np.nan
    bad = fft.rfft(x)
    assert np.isnan(bad[1]).all()
    assert np.array_equal(bad[[0, 2]], good[[0, 2]])


@engines
@pytest.mark.parametrize("n", [60, 4096])
def test_bits_do_not_depend_on_alignment(backend: str, simd: str, n: int) -> None:
    fft, x = RealFFT(n, backend=backend, simd=simd), noise((1, n))
    expected = fft.rfft(x).tobytes()
    for offset in range(1, 16):
        shifted = np.zeros(n + 16, np.float32)[offset : offset + n].reshape(1, n)
        shifted[:] = x
        assert fft.rfft(shifted).tobytes() == expected


@pytest.mark.parametrize("simd", native.simd_levels())
def test_sizes_that_do_not_fill_the_lanes_use_fewer(simd: str) -> None:
    assert RealFFT(4096, backend="native", simd=simd).simd == simd
    assert RealFFT(1500, backend="native", simd=simd).simd == "scalar"


@pytest.mark.parametrize("n", [0, -4096, 8, 12, 18, 30, 28, 4098, 4004, 1 << 21])
def test_other_sizes_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match=rf"n_fft: expected 2\^a .* got {n}$"):
        RealFFT(n)


def test_unknown_back_end_and_level_are_refused() -> None:
    with pytest.raises(ValueError, match="backend: expected auto or one of"):
        RealFFT(64, backend="cufft")
    with pytest.raises(ValueError, match="simd: expected one of"):
        RealFFT(64, backend="native", simd="mmx")
    with pytest.raises(NativeError, match="lacks the instruction") as caught:
        RealFFT(64, backend="native", simd=_foreign_level())
    assert (caught.value.code, caught.value.status) == ("es_err_simd", -5)


def _foreign_level() -> str:
    return next(n for n in ("neon", "avx2") if n not in native.simd_levels())


@pytest.mark.parametrize(("n_fft", "hop"), [(4096, 1024), (4096, 2048), (4500, 1125)])
def test_hann_pair_overlaps_to_one(n_fft: int, hop: int) -> None:
    analysis, synthesis = hann_pair(n_fft, hop)
    total = np.zeros(hop)
    np.add.at(total, np.arange(n_fft) % hop, analysis.astype(np.float64) * synthesis)
    assert np.abs(total - 1).max() < 1e-6


@pytest.mark.parametrize("hop", [0, -1, 2049])
def test_hann_pair_refuses_hops_that_leave_gaps(hop: int) -> None:
    with pytest.raises(ValueError, match=f"hop: expected 1 to 2048 .* got {hop}"):
        hann_pair(4096, hop)
