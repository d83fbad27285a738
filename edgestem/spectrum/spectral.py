"""From samples to int8 band features, and from an int8 mask back to samples.

The one idea: a short-time Fourier transform whose two ends are fused with what
the model needs.  *Analysis* is window, real FFT, band powers and quantisation;
*synthesis* is mask table, band expansion, inverse FFT and overlap-add.  Three
back ends give the same answer: `native` (the C kernel), `fftw` (pyfftw) and
`numpy` (the oracle and last resort).

Shapes: samples x (n_samples, n_channels) float32, spectrum X (n_frames,
n_channels, n_bins) complex64, features (n_frames, n_bands, n_features) int8,
mask (n_frames, n_bands, 2) int8.  Frame k covers the samples [k * hop,
k * hop + n_fft).  Every frame is computed in one fixed order, and what one leaves
to the next is in a `Memory`, so results do not depend, to the bit, on how frames
are grouped into calls.
"""

from __future__ import annotations

import importlib.util

import numpy as np
from numpy.typing import NDArray

from edgestem import native
from edgestem.spectrum.arrays import TRANSFORMS, ArrayStages, Transform
from edgestem.spectrum.kernel import NativeStages, NativeTransform
from edgestem.spectrum.learners import DIRECTIONS_SIZE
from edgestem.spectrum.memory import Memory
from edgestem.spectrum.tables import Tables, require_size


def available_backends() -> tuple[str, ...]:
    """Name the back ends that work here, the preferred one first."""
    names = ("native",) if native.lib is not None else ()
    has_fftw = importlib.util.find_spec("pyfftw") is not None
    return (*names, "numpy", *(("fftw",) if has_fftw else ()))


class Spectral:
    """Fused STFT analysis and synthesis around an int8 model.

    One object belongs to one thread at a time; objects share nothing.

    Parameters
    ----------
    tables : Tables
        Sizes, windows, bands, and the constants around the model.
    backend : str
        "native", "fftw", "numpy", or "auto": native where it is built.
    simd : str
        The most that the native back end may use; "best" or a level.

    Attributes
    ----------
    n_bins : int
        n_fft // 2 + 1.
    repetition_size : int
        Floats of `Memory.repetition`; 0 if nothing is remembered.
    backend, simd : str
        What computes: the back end, and its instruction set or "none".
    """

    def __init__(
        self, tables: Tables, *, backend: str = "auto", simd: str = "best"
    ) -> None:
        self._tables = t = tables
        self.n_fft, self.hop, self.n_channels = t.n_fft, t.hop, t.n_channels
        self.n_bins, self.n_bands, self.n_features = t.n_bins, t.n_bands, t.n_features
        self.repetition_size = t.repetition_size
        self.backend = _pick(backend)
        self.simd = "none"
        self._engine: ArrayStages | NativeStages
        if self.backend == "native":
            self._engine = NativeStages(t, native.level_of(simd))
            self.simd = self._engine.simd
        else:
            self._engine = ArrayStages(t, TRANSFORMS[self.backend](t.n_fft))

    def analyse(
        self,
        x: NDArray[np.float32],
        gain: float,
        X: NDArray[np.complex64],
        features: NDArray[np.int8] | None,
    ) -> None:
        """Compute the spectrum and the features of X.shape[0] frames.

        Parameters
        ----------
        x : shape ((n_frames - 1) * hop + n_fft, n_channels), float32
            Samples.
        gain : float
            Linear, finite; the features see power * gain^2.  X is not scaled.
        X : shape (n_frames, n_channels, n_bins), complex64
            Written: the unscaled rFFT of the windowed frames.
        features : shape (n_frames, n_bands, n_features), int8, or None
            Written; None: the spectrum only.

        Raises
        ------
        TypeError, ValueError
            An array is of the wrong dtype, shape or layout; nothing is written.
        """
        t, n_frames = self._tables, len(X)
        n_samples = (n_frames - 1) * t.hop + t.n_fft
        native.require_array(
            "X", X, np.complex64, (n_frames, t.n_channels, self.n_bins), out=True
        )
        native.require_array("x", x, np.float32, (n_samples, t.n_channels))
        if features is not None:
            shape = (n_frames, self.n_bands, self.n_features)
            native.require_array("features", features, np.int8, shape, out=True)
        self._engine.analyse(x, gain, X, features)

    def features(
        self, X: NDArray[np.complex64], gain: float, features: NDArray[np.int8]
    ) -> None:
        """Compute the features of frames that `analyse` has seen, perhaps anew.

        To the bit what `analyse` gives with these spectra at this gain.

        Parameters
        ----------
        X : shape (n_frames, n_channels, n_bins), complex64
            What `analyse` gave; not changed.
        gain : float
            Linear, finite; the features see power * gain^2.
        features : shape (n_frames, n_bands, n_features), int8
            Written.

        Raises
        ------
        TypeError, ValueError
            An array is of the wrong dtype, shape or layout; nothing is written.
        """
        t, n_frames = self._tables, len(X)
        native.require_array("X", X, np.complex64, (n_frames, t.n_channels, t.n_bins))
        shape = (n_frames, self.n_bands, self.n_features)
        native.require_array("features", features, np.int8, shape, out=True)
        self._engine.features(X, gain, features)

    def magnitudes(
        self, X: NDArray[np.complex64], gain: float, magnitudes: NDArray[np.float32]
    ) -> None:
        """Compute what `features` gives the codes of, for levels in float.

        Parameters
        ----------
        X : shape (n_frames, n_channels, n_bins), complex64
            What `analyse` gave; not changed.
        gain : float
            Linear, finite; the magnitudes see it.
        magnitudes : shape (n_frames, n_bands, n_features), float32
            Written: the root of each band's mean power, at most 2^20.

        Raises
        ------
        TypeError, ValueError
            An array is of the wrong dtype, shape or layout; nothing is written.
        """
        t, n_frames = self._tables, len(X)
        native.require_array("X", X, np.complex64, (n_frames, t.n_channels, t.n_bins))
        shape = (n_frames, self.n_bands, self.n_features)
        native.require_array("magnitudes", magnitudes, np.float32, shape, out=True)
        self._engine.magnitudes(X, gain, magnitudes)

    def new_memory(self) -> Memory:
        """Make the memory of a new stream, with all parts that the tables ask for."""
        t, shapes = self._tables, self._memory_shapes()
        wanted = {"tail"}
        wanted |= {"repetition"} if t.n_past else set()
        wanted |= {"directions", "places"} if t.n_channels == 2 else set()
        return self.memory(**{k: np.zeros(shapes[k], np.float32) for k in wanted})

    def memory(
        self,
        *,
        tail: NDArray[np.float32],
        directions: NDArray[np.float32] | None = None,
        repetition: NDArray[np.float32] | None = None,
        places: NDArray[np.float32] | None = None,
    ) -> Memory:
        """Make a memory of a caller's arrays; see `Memory` for their shapes.

        Raises
        ------
        TypeError, ValueError
            An array is of the wrong dtype, shape or layout.
        """
        parts = {
            "tail": tail,
            "directions": directions,
            "repetition": repetition,
            "places": places,
        }
        shapes = self._memory_shapes()
        for name, part in parts.items():
            if part is not None:
                native.require_array(name, part, np.float32, shapes[name], out=True)
        memory = Memory(parts)
        memory.handle = self._engine.hold(memory)
        return memory

    def _memory_shapes(self) -> dict[str, tuple[int, ...]]:
        t = self._tables
        return {
            "tail": (t.n_synthesis - t.hop, t.n_channels),
            "directions": (DIRECTIONS_SIZE,),
            "repetition": (t.repetition_size,),
            "places": (2, 4, t.n_bins),
        }

    def synthesise(
        self,
        mask: NDArray[np.int8],
        X: NDArray[np.complex64],
        memory: Memory,
        y: NDArray[np.float32],
    ) -> None:
        """Add n_frames masked frames to the overlap and give out what is done.

        Parameters
        ----------
        mask : shape (n_frames, n_bands, 2), int8
            Codes for L and R; mono audio takes the mean of both gains.
        X : shape (n_frames, n_channels, n_bins), complex64
            What `analyse` gave; not changed.
        memory : Memory
            Of this stream, made by this object; read and written.  What it holds
            besides the tail says which gains and places learn from the stream.
        y : shape (n_frames * hop, n_channels), float32
            Written.  Hop k begins n_synthesis samples before the end of frame
            k, X[k]; with n_synthesis = n_fft, where that frame begins.

        Raises
        ------
        TypeError, ValueError
            An array is of the wrong dtype, shape or layout; nothing is written.
        """
        t, n_frames = self._tables, len(X)
        native.require_array(
            "X", X, np.complex64, (n_frames, t.n_channels, self.n_bins)
        )
        native.require_array("mask", mask, np.int8, (n_frames, self.n_bands, 2))
        shape = (n_frames * t.hop, t.n_channels)
        native.require_array("y", y, np.float32, shape, out=True)
        self._engine.synthesise(mask, X, memory.handle, y)

    def energy(self, x: NDArray[np.float32]) -> float:
        """Sum the squares of x (n, n_channels) float32, alike on every back end.

        The order is part of the definition: eight accumulators in double take
        the values round-robin and are then added in pairs.
        """
        native.require_array("x", x, np.float32, (len(x), self.n_channels))
        return self._engine.energy(x)


def make_transform(n_fft: int, backend: str = "auto", simd: str = "best") -> Transform:
    """Make the bare real FFT of a back end, for tests and benchmarks."""
    require_size(n_fft)
    backend = _pick(backend)
    if backend == "native":
        return NativeTransform(n_fft, native.level_of(simd))
    return TRANSFORMS[backend](n_fft)


def _pick(backend: str) -> str:
    """Resolve "auto" and refuse what is not there."""
    names = available_backends()
    if backend == "auto":
        native.require_built()
        return "native"
    if backend not in names:
        raise ValueError(f"backend: expected auto or one of {names}, got {backend!r}")
    return backend
