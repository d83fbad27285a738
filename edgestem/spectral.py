"""From samples to int8 band features, and from an int8 mask back to samples.

The one idea: a short-time Fourier transform whose two ends are fused with what
the model needs.  *Analysis* is window, real FFT, band powers and quantisation;
*synthesis* is mask table, band expansion, inverse FFT and overlap-add.  Three
back ends give the same answer: `native` (the C kernel), `fftw` (pyfftw) and
`numpy` (the oracle and last resort).  Only this module knows `_native`.

Shapes: samples x (n_samples, n_channels) float32, spectrum X (n_frames,
n_channels, n_bins) complex64, features (n_frames, n_bands, n_features) int8,
mask (n_frames, n_bands, 2) int8.  Frame k covers the samples [k * hop,
k * hop + n_fft).  Every frame is computed in one fixed order, and what one leaves
to the next is in the caller's arrays, so results do not depend, to the bit, on how
frames are grouped into calls.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgestem.errors import NativeError
from edgestem.learners import DOUBT_SIZE, PANORAMA_SIZE
from edgestem.stages import (
    MAX_FFT,
    MIN_FFT,
    ArrayStages,
    FftwTransform,
    NumpyTransform,
    Tables,
    Transform,
    as_table,
    is_supported_size,
    require_size,
)

try:
    from edgestem._native import ffi as ffi
    from edgestem._native import lib as lib
except ImportError:  # not built: the numpy back end works
    ffi = lib = None

ABI = 8  # of native/edgestem.h
SIMD = {"best": -1, "scalar": 0, "sse2": 1, "avx2": 2, "neon": 3}
STATUS = {  # never renamed: NativeError.code
    -1: "es_err_null",
    -2: "es_err_size",
    -3: "es_err_align",
    -4: "es_err_memory",
    -5: "es_err_simd",
    -6: "es_err_bands",
    -7: "es_err_thresholds",
}

if lib is not None and lib.es_abi() != ABI:
    raise NativeError(
        f"the compiled kernel speaks ABI {lib.es_abi()}, this package {ABI}: "
        "reinstall edgestem",
        code="es_err_abi",
    )


def available_backends() -> tuple[str, ...]:
    """Name the back ends that work here, the preferred one first."""
    names = ("native",) if lib is not None else ()
    has_fftw = importlib.util.find_spec("pyfftw") is not None
    return (*names, "numpy", *(("fftw",) if has_fftw else ()))


def simd_name() -> str:
    """Name the best instruction set of the native back end, or "none"."""
    return "none" if lib is None else _name(lib.es_simd_best())


def simd_levels() -> tuple[str, ...]:
    """Name the instruction sets that this machine and build can use."""
    if lib is None:
        return ()
    return tuple(n for n, v in SIMD.items() if lib.es_simd_runs(v))


def good_size(n: float, *, multiple: int = 4) -> int:
    """Find the FFT size nearest to `n`; of two equally near, the larger.

    Parameters
    ----------
    n : float
        Wished number of samples, within the supported range.
    multiple : int
        A multiple of 4 that the size must be a multiple of.  Multiples of 128
        run at full speed for mono and stereo on every instruction set.

    Examples
    --------
    >>> good_size(48000 / 44100 * 4096)
    4500
    >>> good_size(48000 / 44100 * 4096, multiple=128)
    4608
    """
    start = round(n / multiple)
    for distance in range(MAX_FFT // multiple):
        near = [multiple * (start + d) for d in (distance, -distance)]
        hits = [m for m in near if m > 0 and is_supported_size(m)]
        if hits:
            return min(hits, key=lambda m: (abs(m - n), -m))
    raise ValueError(f"n: expected a size near {MIN_FFT} to {MAX_FFT}, got {n}")


def hann_pair(n_fft: int, hop: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Make an analysis and a synthesis window that give back the signal.

    Both are periodic Hann windows; the second is divided by the sum of the
    squares of all overlapping windows, so that the product overlap-adds to 1
    for every hop below n_fft / 2 (and for n_fft / 2 itself).
    """
    if not 0 < hop <= n_fft // 2:
        raise ValueError(f"hop: expected 1 to {n_fft // 2} (n_fft / 2), got {hop}")
    w = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)
    overlap = np.zeros(hop)
    np.add.at(overlap, np.arange(n_fft) % hop, w * w)
    s = w / overlap[np.arange(n_fft) % hop]
    return w.astype(np.float32), s.astype(np.float32)


class RealFFT:
    """Real FFT of rows with one of the back ends; scaled like numpy.fft.

    Parameters
    ----------
    n_fft : int
        Row length: 2^a 3^b 5^c, divisible by 4.
    backend : str
        "native", "fftw", "numpy" or "auto".
    simd : str
        The most that the native back end may use; "best" or a level.
    """

    def __init__(
        self, n_fft: int, *, backend: str = "auto", simd: str = "best"
    ) -> None:
        require_size(n_fft)
        self.n_fft = n_fft
        self.n_bins = n_fft // 2 + 1
        self.backend = _pick(backend)
        self._engine = _transform(self.backend, n_fft, simd)
        self.simd = getattr(self._engine, "simd", "none")

    def rfft(self, x: NDArray[np.float32]) -> NDArray[np.complex64]:
        """Transform x (n_rows, n_fft) float32 to (n_rows, n_bins) complex64."""
        _check("x", x, np.float32, (len(x), self.n_fft))
        X = np.empty((len(x), self.n_bins), np.complex64)
        for row, spectrum in zip(x, X, strict=True):
            spectrum[:] = self._engine.rfft(row)
        return X

    def irfft(self, X: NDArray[np.complex64]) -> NDArray[np.float32]:
        """Transform X (n_rows, n_bins) complex64 to (n_rows, n_fft) float32."""
        _check("X", X, np.complex64, (len(X), self.n_bins))
        x = np.empty((len(X), self.n_fft), np.float32)
        for spectrum, row in zip(X, x, strict=True):
            row[:] = self._engine.irfft(spectrum)
        return x


class Spectral:
    """Fused STFT analysis and synthesis around an int8 model.

    One object belongs to one thread at a time; objects share nothing.

    Parameters
    ----------
    n_fft, hop : int
        Frame length (2^a 3^b 5^c, divisible by 4) and distance in samples.
    n_channels : int
        Audio channels, 1 or 2.
    n_synthesis : int, optional
        The last samples of a frame, the only ones that overlap-add; hop to
        n_fft, default n_fft.  Fewer make the output earlier.
    analysis_window : shape (n_fft,), float32
    synthesis_window : shape (n_synthesis,), float32
        Their product must overlap-add to 1 at `hop`; see `hann_pair` and
        `windows.window_pair`.
    band_edges : shape (n_bands + 1,), int32, increasing
        Band b averages the bins band_edges[b] to band_edges[b + 1] - 1.  Bins
        from n_bins on do not exist: a band takes the mean of those of its bins
        that do, and has power 0 without any.
    n_features : int
        2: |L|, |R|; 3: |L|, |R|, |L - R|.  Mono audio is L and R at once.
    thresholds : shape (255,), float32, not decreasing
        The quantiser: a feature is -128 plus the number of thresholds that are
        <= band power * gain^2.  Two neighbours above 0 differ by 0.2 % or more
        (or are infinite, which no power reaches).
    mask_table : shape (256,), float32, 0…1
        Gain of mask code q at index q + 128.
    top_bands : int
        Bins from band_edges[-1] on get the mean gain of that many last bands,
        0 if it is 0.  Bins below band_edges[0] get 0.
    decay : float
        What a frame leaves of the covariances before it, 0 to below 1; see
        `synthesise`.
    softness : shape (3,)
        How soft gains become where masks are undecided, with `doubt`; see
        `stages.Softness`.
    n_past : int
        Frames of the accompaniment that `synthesise` remembers, 0 to 2^16.
    backend : str
        "native", "fftw", "numpy", or "auto": native where it is built.
    simd : str
        The most that the native back end may use; "best" or a level.

    Attributes
    ----------
    n_bins : int
        n_fft // 2 + 1.
    past_size : int
        Floats of the state `past` of `synthesise`.
    backend, simd : str
        What computes: the back end, and its instruction set or "none".
    """

    def __init__(
        self,
        *,
        n_fft: int,
        hop: int,
        n_channels: int,
        n_synthesis: int | None = None,
        analysis_window: ArrayLike,
        synthesis_window: ArrayLike,
        band_edges: ArrayLike,
        n_features: int,
        thresholds: ArrayLike,
        mask_table: ArrayLike,
        top_bands: int = 0,
        decay: float = 0.0,
        softness: ArrayLike = (0.0, 0.0, 0.0),
        n_past: int = 0,
        backend: str = "auto",
        simd: str = "best",
    ) -> None:
        self._tables = t = Tables(
            n_fft=n_fft,
            hop=hop,
            n_synthesis=n_fft if n_synthesis is None else n_synthesis,
            n_channels=n_channels,
            n_features=n_features,
            top_bands=top_bands,
            decay=decay,
            softness=as_table(softness, np.float32),
            n_past=n_past,
            analysis_window=as_table(analysis_window, np.float32),
            synthesis_window=as_table(synthesis_window, np.float32),
            band_edges=as_table(band_edges, np.int32),
            thresholds=as_table(thresholds, np.float32),
            mask_table=as_table(mask_table, np.float32),
        )
        self.n_fft, self.hop, self.n_channels = n_fft, hop, n_channels
        self.n_bins, self.n_bands, self.n_features = t.n_bins, t.n_bands, n_features
        self.past_size = t.past_size
        self.backend = _pick(backend)
        self.simd = "none"
        self._engine: ArrayStages | _NativeStages
        if self.backend == "native":
            self._engine = _NativeStages(t, _level(simd))
            self.simd = self._engine.simd
        else:
            self._engine = ArrayStages(t, _transform(self.backend, n_fft, simd))

    def analyse(
        self,
        x: NDArray[np.float32],
        gain: float,
        X: NDArray[np.complex64],
        features: NDArray[np.int8],
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
        features : shape (n_frames, n_bands, n_features), int8
            Written.

        Raises
        ------
        TypeError, ValueError
            An array is of the wrong dtype, shape or layout; nothing is written.
        """
        t, n_frames = self._tables, len(X)
        n_samples = (n_frames - 1) * t.hop + t.n_fft
        _check("X", X, np.complex64, (n_frames, t.n_channels, t.n_bins), out=True)
        _check("x", x, np.float32, (n_samples, t.n_channels))
        self._check_features(features, n_frames)
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
        _check("X", X, np.complex64, (n_frames, t.n_channels, t.n_bins))
        self._check_features(features, n_frames)
        self._engine.features(X, gain, features)

    def _check_features(self, features: NDArray[np.int8], n_frames: int) -> None:
        shape = (n_frames, self.n_bands, self.n_features)
        _check("features", features, np.int8, shape, out=True)

    def synthesise(
        self,
        mask: NDArray[np.int8],
        X: NDArray[np.complex64],
        tail: NDArray[np.float32],
        y: NDArray[np.float32],
        covariance: NDArray[np.float32] | None = None,
        past: NDArray[np.float32] | None = None,
        doubt: NDArray[np.float32] | None = None,
        panorama: NDArray[np.float32] | None = None,
    ) -> None:
        """Add n_frames masked frames to the overlap and give out what is done.

        With `covariance` stereo goes through a multichannel Wiener filter (see
        `stages.WienerFilter`): what comes from where no vocals are stays out of them.
        With `past` the gains learn from what repeats (see `stages.Repetition`), with
        `doubt` they soften where masks are undecided (see `stages.Softness`), with
        `panorama` those of stereo learn from which direction vocals come (see
        `stages.Panorama`).

        Parameters
        ----------
        mask : shape (n_frames, n_bands, 2), int8
            Codes for L and R; mono audio takes the mean of both gains.
        X : shape (n_frames, n_channels, n_bins), complex64
            What `analyse` gave; not changed.
        tail : shape (n_synthesis - hop, n_channels), float32
            Overlap-add state, read and written; zeros at the start.
        y : shape (n_frames * hop, n_channels), float32
            Written.  Hop k begins n_synthesis samples before the end of frame
            k, X[k]; with n_synthesis = n_fft, where that frame begins.
        covariance : shape (2, 4, n_bins), float32, optional
            Where vocals and the rest came from so far: C_LL, C_RR, the real and the
            imaginary part of C_LR.  Read and written; zeros at the start; of no use
            to mono.
        past : shape (past_size,), float32, optional
            What was played so far.  Read and written; zeros at the start.
        doubt : shape (DOUBT_SIZE,), float32, optional
            How undecided masks were so far.  Read and written; zeros at the start.
        panorama : shape (PANORAMA_SIZE,), float32, optional
            From which directions vocals came so far.  Read and written; zeros at the
            start; of no use to mono.

        Raises
        ------
        TypeError, ValueError
            An array is of the wrong dtype, shape or layout; nothing is written.
        """
        t, n_frames = self._tables, len(X)
        _check("X", X, np.complex64, (n_frames, t.n_channels, t.n_bins))
        _check("mask", mask, np.int8, (n_frames, t.n_bands, 2))
        shape = (t.n_synthesis - t.hop, t.n_channels)
        _check("tail", tail, np.float32, shape, out=True)
        shape = (n_frames * t.hop, t.n_channels)
        _check("y", y, np.float32, shape, out=True)
        if covariance is not None:
            places = (2, 4, t.n_bins)
            _check("covariance", covariance, np.float32, places, out=True)
        if past is not None:
            _check("past", past, np.float32, (t.past_size,), out=True)
        if doubt is not None:
            _check("doubt", doubt, np.float32, (DOUBT_SIZE,), out=True)
        if panorama is not None:
            _check("panorama", panorama, np.float32, (PANORAMA_SIZE,), out=True)
        self._engine.synthesise(mask, X, tail, y, covariance, past, doubt, panorama)

    def energy(self, x: NDArray[np.float32]) -> float:
        """Sum the squares of x (n, n_channels) float32, alike on every back end.

        The order is part of the definition: eight accumulators in double take
        the values round-robin and are then added in pairs.
        """
        _check("x", x, np.float32, (len(x), self.n_channels))
        return self._engine.energy(x)


# ---- The C kernel -----------------------------------------------------------


class _NativeTransform:
    """es_fft with its plan and its scratch."""

    def __init__(self, n_fft: int, level: int) -> None:
        plan = ffi.new("es_fft **")
        self._memory = _aligned(lib.es_fft_bytes(n_fft, level))
        self._work_memory = _aligned(lib.es_fft_work_bytes(n_fft))
        memory, n_bytes = ffi.from_buffer(self._memory), self._memory.size
        _ok(lib.es_fft_init(memory, n_bytes, n_fft, level, plan))
        self._plan, self._work = plan[0], ffi.from_buffer(self._work_memory)
        self.simd = _name(lib.es_fft_simd(self._plan))
        self._x = np.empty(n_fft, np.float32)
        self._X = np.empty(n_fft // 2 + 1, np.complex64)
        self._x_out, self._X_out = _floats(self._x, True), _floats(self._X, True)

    def rfft(self, x: NDArray[Any]) -> NDArray[Any]:
        """See Transform; the result lasts until the next call."""
        _ok(lib.es_rfft(self._plan, _floats(x), self._X_out, self._work))
        return self._X

    def irfft(self, X: NDArray[Any]) -> NDArray[Any]:
        """See Transform; the result lasts until the next call."""
        _ok(lib.es_irfft(self._plan, _floats(X), self._x_out, self._work))
        return self._x


class _NativeStages:
    """es_spectral with its plan and its scratch."""

    def __init__(self, tables: Tables, level: int) -> None:
        t, plan, config = tables, ffi.new("es_spectral **"), ffi.new("es_config *")
        for name in ("n_fft", "hop", "n_synthesis", "n_channels", "n_features"):
            setattr(config, name, getattr(t, name))
        config.n_bands, config.top_bands, config.simd = t.n_bands, t.top_bands, level
        config.decay, config.n_past = t.decay, t.n_past
        config.softness = t.softness.tolist()
        # The kernel copies the tables; `tables` keeps them alive until then.
        config.analysis_window = _floats(t.analysis_window)
        config.synthesis_window = _floats(t.synthesis_window)
        config.band_edges = ffi.cast("int32_t *", ffi.from_buffer(t.band_edges))
        config.thresholds = _floats(t.thresholds)
        config.mask_table = _floats(t.mask_table)
        self._memory = _aligned(lib.es_spectral_bytes(config))
        self._work_memory = _aligned(lib.es_spectral_work_bytes(config))
        memory, n_bytes = ffi.from_buffer(self._memory), self._memory.size
        _ok(lib.es_spectral_init(memory, n_bytes, config, plan))
        self._plan, self._work = plan[0], ffi.from_buffer(self._work_memory)
        self.simd = _name(lib.es_spectral_simd(self._plan))

    def analyse(
        self,
        x: NDArray[np.float32],
        gain: float,
        X: NDArray[np.complex64],
        features: NDArray[np.int8],
    ) -> None:
        """See Spectral.analyse."""
        n, plan, work = len(X), self._plan, self._work
        codes = ffi.from_buffer("int8_t[]", features, require_writable=True)
        _ok(lib.es_analyse(plan, _floats(x), n, gain, _floats(X, True), codes, work))

    def features(
        self, X: NDArray[np.complex64], gain: float, features: NDArray[np.int8]
    ) -> None:
        """See Spectral.features."""
        codes = ffi.from_buffer("int8_t[]", features, require_writable=True)
        _ok(lib.es_features(self._plan, _floats(X), len(X), gain, codes, self._work))

    def synthesise(
        self,
        mask: NDArray[np.int8],
        X: NDArray[np.complex64],
        tail: NDArray[np.float32],
        y: NDArray[np.float32],
        covariance: NDArray[np.float32] | None,
        past: NDArray[np.float32] | None,
        doubt: NDArray[np.float32] | None,
        panorama: NDArray[np.float32] | None,
    ) -> None:
        """See Spectral.synthesise."""
        n, plan, work = len(X), self._plan, self._work
        codes, out = ffi.from_buffer("int8_t[]", mask), _floats(y, True)
        tail_out = _floats(tail, True)
        X_in, doubts, around = _floats(X), _state(doubt), _state(panorama)
        before, places = _state(past), _state(covariance)
        # fmt: off
        _ok(
            lib.es_synthesise(
                plan, codes, X_in, n, doubts, around, before, places, tail_out, out,
                work,
            )
        )
        # fmt: on

    def energy(self, x: NDArray[np.float32]) -> float:
        """See Spectral.energy."""
        return float(lib.es_energy(_floats(x), x.size))


def _floats(a: NDArray[Any], is_out: bool = False) -> Any:
    """Point C at an array that _check has seen; complex is re, im."""
    return ffi.from_buffer("float[]", a, require_writable=is_out)


def _state(a: NDArray[Any] | None) -> Any:
    return ffi.NULL if a is None else _floats(a, True)


def _aligned(n_bytes: int) -> NDArray[np.uint8]:
    """Allocate memory that the kernel accepts; 0 bytes, the refusal, too."""
    memory = np.zeros(n_bytes + lib.ES_ALIGN, np.uint8)
    start = -memory.ctypes.data % lib.ES_ALIGN
    return memory[start : start + n_bytes]


def _name(level: int) -> str:
    return str(ffi.string(lib.es_simd_name(level)).decode())


def _ok(status: int) -> None:
    """Turn a refusal of the kernel into an exception; nothing else does."""
    if status:
        text = ffi.string(lib.es_strerror(status)).decode()
        code = STATUS.get(status, "es_err_unknown")
        raise NativeError(f"spectrogram kernel: {text}", code=code, status=status)


class NativeStretch:
    """es_stretch: one stem at another key and tempo; an engine of `stretch`.

    Parameters
    ----------
    sample_rate : int
        8000 to 192000 Hz.
    n_channels : int
        1 or 2.
    keeps_formants : bool
        The stem is a voice.
    simd : str
        The most that the kernel may use; "best" or a level.

    Raises
    ------
    NativeError
        The kernel is not built, or refuses rate or channels.
    """

    def __init__(
        self,
        sample_rate: int,
        n_channels: int,
        keeps_formants: bool,
        simd: str = "best",
    ) -> None:
        if lib is None:
            raise NativeError(
                "key and tempo need the compiled kernel: install a C compiler "
                "(`sudo apt-get install gcc python3-dev`) and edgestem again",
                code="es_err_missing",
            )
        config, plan = ffi.new("es_stretch_config *"), ffi.new("es_stretch **")
        config.sample_rate, config.n_channels = sample_rate, n_channels
        config.keeps_formants, config.simd = keeps_formants, _level(simd)
        self._memory = _aligned(lib.es_stretch_bytes(config))
        memory, n_bytes = ffi.from_buffer(self._memory), self._memory.size
        _ok(lib.es_stretch_init(memory, n_bytes, config, plan))
        self._plan, self._n_channels = plan[0], n_channels
        self.hop = int(lib.es_stretch_hop(self._plan))

    def reset(self, position: float, key: float, tempo: float) -> None:
        """See stretch.Engine.reset."""
        _ok(lib.es_stretch_reset(self._plan, position, key, tempo))

    def set(self, key: float, tempo: float) -> None:
        """See stretch.Engine.set."""
        _ok(lib.es_stretch_set(self._plan, key, tempo))

    def position(self, frames: int) -> float:
        """See stretch.Engine.position."""
        return float(lib.es_stretch_position(self._plan, frames))

    def is_plain(self) -> bool:
        """See stretch.Engine.is_plain."""
        return bool(lib.es_stretch_is_plain(self._plan))

    def step(
        self, read: Callable[[int, int], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """See stretch.Engine.step."""
        start, n = lib.es_stretch_next(self._plan), lib.es_stretch_wants(self._plan)
        x = np.ascontiguousarray(read(int(start), int(n)))
        _check("source", x, np.float32, (int(n), self._n_channels))
        y = np.empty((self.hop, self._n_channels), np.float32)
        _ok(lib.es_stretch_step(self._plan, _floats(x), n, _floats(y, True)))
        return y


# ---- Choice and checks ------------------------------------------------------


def _level(simd: str) -> int:
    if simd not in SIMD:
        raise ValueError(f"simd: expected one of {(*SIMD,)}, got {simd!r}")
    return SIMD[simd]


def _transform(backend: str, n_fft: int, simd: str) -> Transform:
    if backend == "native":
        return _NativeTransform(n_fft, _level(simd))
    return FftwTransform(n_fft) if backend == "fftw" else NumpyTransform(n_fft)


def _pick(backend: str) -> str:
    """Resolve "auto" and refuse what is not there."""
    names = available_backends()
    if backend == "auto":
        return names[0]
    if backend not in names:
        raise ValueError(f"backend: expected auto or one of {names}, got {backend!r}")
    return backend


def _check(
    name: str, a: NDArray[Any], dtype: type, shape: tuple[int, ...], out: bool = False
) -> None:
    """Refuse an array that the back ends would misread."""
    if not isinstance(a, np.ndarray) or a.dtype != dtype:
        got = getattr(a, "dtype", type(a).__name__)
        raise TypeError(f"{name}: expected {np.dtype(dtype)} {shape}, got {got}")
    if a.shape != shape:
        raise ValueError(f"{name}: expected {np.dtype(dtype)} {shape}, got {a.shape}")
    if not a.flags.c_contiguous or (out and not a.flags.writeable):
        raise ValueError(f"{name}: expected a writable C-contiguous array")
