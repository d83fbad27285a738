"""A real FFT of rows with one of the back ends, for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgestem.spectrum.spectral import make_transform


class RealFFT:
    """Rows through `make_transform`, whose results last until the next call."""

    def __init__(
        self, n_fft: int, *, backend: str = "auto", simd: str = "best"
    ) -> None:
        self.n_fft, self.n_bins = n_fft, n_fft // 2 + 1
        self._engine = make_transform(n_fft, backend, simd)
        self.simd = getattr(self._engine, "simd", "none")

    def rfft(self, x: NDArray[np.float32]) -> NDArray[np.complex64]:
        """Transform x (n_rows, n_fft) float32 to (n_rows, n_bins) complex64."""
        X = np.empty((len(x), self.n_bins), np.complex64)
        for row, spectrum in zip(x, X, strict=True):
            spectrum[:] = self._engine.rfft(row)
        return X

    def irfft(self, X: NDArray[np.complex64]) -> NDArray[np.float32]:
        """Transform X (n_rows, n_bins) complex64 to (n_rows, n_fft) float32."""
        x = np.empty((len(X), self.n_fft), np.float32)
        for spectrum, row in zip(X, x, strict=True):
            row[:] = self._engine.irfft(spectrum)
        return x
