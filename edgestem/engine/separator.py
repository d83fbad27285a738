"""The engine: one row from samples to stems; everything else is a door to it.

    block -> buffer -> analysis -> int8 features -> network -> int8 mask
          -> synthesis, by mask and by what the stream was so far -> vocals
    delayed mixture - vocals -> instrumental

The network is called on a grid that is fixed when the stream starts: call g
takes frames [g*G - left, g*G + G + right) and yields the masks of frames
[g*G - L, g*G + G - L), where G is the group, left/right the context and L the
lookahead of the model.  So the output does not depend on how the input was cut.
With two views, the frames behind the group were masked as well, and the next call's
masks of them are averaged with these; the calls may take turns in the level that they
bring the frames to.

Frame k covers samples [k*hop - (n_fft - hop), k*hop + hop) of the stream.  Its
last n_synthesis samples (all, unless the model has a short synthesis window)
overlap-add, so its call leaves the hop at k*hop - (n_synthesis - hop) finished.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgestem.devices.opening import open_model
from edgestem.engine.rows import Sliding
from edgestem.engine.width import Width
from edgestem.errors import StreamClosed
from edgestem.limits import check_stream
from edgestem.mixture import as_float32, shape_hint
from edgestem.network.choices import DEFAULT
from edgestem.network.compute import Compute
from edgestem.network.geometry import Geometry
from edgestem.spectrum.spectral import Spectral
from edgestem.stems import LIMIT, Stems

if TYPE_CHECKING:
    from edgestem.stems import Samples


class Finished(NamedTuple):
    """What a call of the network left, in the stream's own time."""

    start: int
    """Place of the first sample; negative before the stream begins."""
    vocals: Samples
    """What is done, (group * hop, n_channels)."""
    tail: Samples
    """What follows, still lacking frames, (n_synthesis - hop, n_channels)."""


class Separator:
    """A stream separator: as many samples out as in, `latency_samples` later.

    A context manager: `with` closes it.  One Separator belongs to one thread at a
    time, as it takes no lock: blocks pushed by two at once would be mixed up.  Several
    Separators in several threads are fine, and do not wait for each other.

    Parameters
    ----------
    sample_rate : int
        Hz, 8,000 to 384,000; nothing is resampled.
    n_channels : int
        1 or 2.
    model : str or Path
        A name or a .tflite file.
    threads : int, optional
        Threads of the network; default 1.
    fft : {"auto", "native", "fftw", "numpy"}
        Back end of the spectrogram stages.
    runtime : str, optional
        TFLite distribution to use; default the fastest installed.
    device : str
        `auto`, `cpu`, `coral[:usb|:pci|:N]`, `armnn`, `gpu` or
        `delegate:/path/lib.so`; see `edgestem.devices.choice`.
    device_options : mapping, optional
        Handed to the device's delegate library.
    fallback : bool
        Go to the CPU, with a RuntimeWarning, when the device is refused.

    Raises
    ------
    EdgestemError
        `unsupported_sample_rate` or `unsupported_channels`.
    ModelError
        The model cannot be loaded, or the device not be used.
    """

    def __init__(
        self,
        sample_rate: int,
        n_channels: int,
        *,
        model: str | Path = DEFAULT,
        threads: int | None = None,
        fft: str = "auto",
        runtime: str | None = None,
        device: str = "auto",
        device_options: Mapping[str, str] | None = None,
        fallback: bool = True,
    ) -> None:
        check_stream(sample_rate, n_channels)
        self._model = open_model(
            model,
            Compute(
                threads=threads,
                fft=fft,
                runtime=runtime,
                device=device,
                device_options=device_options or {},
                fallback=fallback,
            ),
        )
        self.config = self._model.config
        self.device, self.notes = self._model.device, self._model.notes
        self.sample_rate = sample_rate
        self.n_channels = n_channels
        self.geometry = Geometry.of(self.config, sample_rate)
        tables = self.geometry.tables(self.config, n_channels)
        self._spectral = Spectral(tables, backend=fft)
        self.fft = self._spectral.backend
        self.latency_samples = self.geometry.latency_samples
        self.turn: Callable[[], AbstractContextManager[None]] | None = None
        """Entered around each call of the network: to wait, to give up, to time."""
        self._allocate()
        self.reset()

    def _allocate(self) -> None:
        """Make every buffer; `push` only writes into them."""
        c, g, n = self.config, self.geometry, self.n_channels
        n_bins, self._memory = self._spectral.n_bins, self._spectral.new_memory()
        n_input = (g.frames_per_call - 1) * g.hop + g.n_fft
        self._x = Sliding((n_input, n), np.float32, g.call_samples)
        n_rows = g.lookahead + g.frames_per_call
        self._X = Sliding((n_rows, n, n_bins), np.complex64, g.group)
        # Of magnitudes in float nothing is kept: they are as quick made anew.
        n_codes = (0 if c.levels else g.frames_per_call, c.n_bands, c.n_features)
        self._codes = Sliding(n_codes, np.int8, g.group)
        self._width = Width(c, g, n, self._spectral) if c.mono_side else None
        self._vocals = np.zeros((g.call_samples, n), np.float32)
        # The mixture waits here until its vocals are known.
        self._delay = np.zeros((g.latency_samples, n), np.float32)

    def reset(self) -> None:
        """Start a new stream; buffers and the loaded model stay."""
        g = self.geometry
        self._model.reset()
        self._memory.reset()
        for buffer in (self._vocals, self._delay):
            buffer.fill(0)
        for sliding in (self._x, self._X, self._codes):
            sliding.reset()
        self._coded_gain = 0.0  # of the codes
        if self._width:
            self._width.reset()
        # The first call waits for its right context too.
        self._need = g.first_samples
        self._fill = len(self._x.rows) - self._need
        self._is_primed = False  # until the first call there are no vocals
        self._read = 0
        self._n_calls = 0
        self._delay_at = 0
        self._n_pushed = 0
        self._call_start = -((g.lookahead - 1) * g.hop + g.n_synthesis)
        self.n_bad_samples = 0
        self._is_closed = False

    @property
    def latency(self) -> float:
        """How late a stem sample leaves after its mixture sample, seconds."""
        return self.latency_samples / self.sample_rate

    @property
    def runtime(self) -> str:
        """Who runs the network: "distribution version"."""
        return self._model.runtime

    @property
    def is_lost(self) -> bool:
        """Whether the device failed in mid-stream: load a new Separator then."""
        return self._model.is_lost

    def push(self, block: NDArray[Any], out: Stems | None = None) -> Stems:
        """Hand over a block, get as many samples of both stems.

        Parameters
        ----------
        block : shape (n_samples, n_channels), float32
            Any length, also 0; full scale is +-1.  Other floats, int16 and int32
            are converted, which copies them.  NaN, infinities and values
            beyond 2^25 count as silence and add to `n_bad_samples`.
        out : Stems, optional
            Written and returned; each float32, shaped like `block`, not overlapping
            it.

        Returns
        -------
        Stems
            The stream delayed by `latency_samples`; the first
            `latency_samples` samples of a stream are silence.
            `vocals + instrumental` is the delayed mixture, to one rounding.

        Raises
        ------
        StreamClosed
            After `flush` or `close`.
        ModelError
            `device_lost`: the device failed, and the stream is not to be saved.
        ValueError, TypeError
            Wrong shape or dtype; the message shows both.
        """
        if self._is_closed:
            raise StreamClosed("the stream has ended: call reset() for a new one")
        if type(block) is not np.ndarray or block.dtype != np.float32:
            block = as_float32(block, "block")
        self._check_block(block, "block")
        if out is None:
            out = Stems(np.empty_like(block), np.empty_like(block))
        else:
            for stem in out:
                self._check_block(stem, "out", len(block))
        self._run(self._without_damage(np.ascontiguousarray(block)), out)
        return out

    def flush(self) -> Stems:
        """End the stream: the last `latency_samples` samples of both stems."""
        if self._is_closed:
            raise StreamClosed("the stream has ended: call reset() for a new one")
        n = self.latency_samples
        silence = np.zeros((n, self.n_channels), np.float32)
        out = Stems(np.empty_like(silence), np.empty_like(silence))
        n_pushed = self._n_pushed
        self._run(silence, out, is_padding=True)
        self._n_pushed = n_pushed
        self._is_closed = True
        return out

    def close(self) -> None:
        """End without draining; `reset` opens a new stream."""
        self._is_closed = True

    def __enter__(self) -> Separator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return (
            f"<Separator {self.config.name}: {self.sample_rate} Hz, "
            f"{self.n_channels} channels, {self.latency:.3f} s late, on {self.device}, "
            f"{state}>"
        )

    def give_way(self, pause: Callable[[], object] | None) -> None:
        """Use one core, and call `pause` between two networks; None: all threads."""
        self._model.pause = pause

    def finished(self) -> Finished:
        """Look at what the last call finished, before its time; views.

        For who must not wait (`rig`): `push` gives the same vocals later, when
        their mixture has come through the delay line.
        """
        start = self._call_start - len(self._vocals)
        return Finished(start, self._vocals, self._memory.tail)

    # ---- below `push`: no allocation of arrays ------------------------------

    def _run(self, block: Samples, out: Stems, is_padding: bool = False) -> None:
        """Feed the buffer, emit what is ready, call the network when it is full."""
        done, n_total = 0, len(block)
        while done < n_total:
            n = min(n_total - done, self._need)
            self._x.rows[self._fill : self._fill + n] = block[done : done + n]
            self._emit(block[done : done + n], out, done, n)
            self._fill += n
            self._need -= n
            if not is_padding:
                self._n_pushed += n
            done += n
            if self._need == 0:
                self._call()

    def _emit(self, x: Samples, out: Stems, at: int, n: int) -> None:
        """Write n samples of both stems and put n mixture samples on the delay line."""
        vocals, instrumental = out.vocals[at : at + n], out.instrumental[at : at + n]
        if self._is_primed:
            np.copyto(vocals, self._vocals[self._read : self._read + n])
            self._read += n
        else:
            vocals.fill(0)
        done = 0
        while done < n:  # at most twice: the delay line is a ring
            m = min(n - done, len(self._delay) - self._delay_at)
            line = self._delay[self._delay_at : self._delay_at + m]
            np.subtract(
                line, vocals[done : done + m], out=instrumental[done : done + m]
            )
            np.copyto(line, x[done : done + m])
            self._delay_at = (self._delay_at + m) % len(self._delay)
            done += m

    def _call(self) -> None:
        if self.turn is None:
            self._take_turn()
            return
        with self.turn():
            self._take_turn()

    def _take_turn(self) -> None:
        """One turn of the grid: analyse, infer, synthesise, move on."""
        g = self.geometry
        # The network knows levels at its own frame length.
        self._analyse(self._gain() * self.config.n_fft / g.n_fft)
        self._model.invoke()
        X = self._X.rows[g.left_context : g.left_context + g.group]
        self._spectral.synthesise(self._model.mask(), X, self._memory, self._vocals)
        if self._call_start < 0:  # before the first sample there is no mixture
            self._vocals[: -self._call_start] = 0
        for sliding in (self._x, self._X, self._codes):
            sliding.advance()
        self._need = g.call_samples
        self._fill = len(self._x.rows) - self._need
        self._read = 0
        self._is_primed = True
        self._n_calls += 1
        self._call_start += g.call_samples

    def _analyse(self, gain: float) -> None:
        """Fill the network's input; of frames seen before at most the codes are new."""
        g = self.geometry
        n_known = g.n_known if self._n_calls else 0
        X, codes = self._X.rows[g.lookahead :], self._codes.rows
        x = self._x.rows[n_known * g.hop :]
        if self.config.levels:
            self._spectral.analyse(x, gain, X[n_known:], None)
            self._spectral.magnitudes(X, gain, self._model.features())
            return
        width = self._width
        is_other = width is not None and width.hear(self._x.rows[-g.call_samples :])
        self._spectral.analyse(x, gain, X[n_known:], codes[n_known:])
        if gain != self._coded_gain or is_other:
            self._spectral.features(X[:n_known], gain, codes[:n_known])
            self._coded_gain, n_known = gain, 0
        if width is not None and width.is_mono:
            width.spread(codes[n_known:])
        np.copyto(self._model.features(), codes)

    def _gain(self) -> float:
        """Gain that brings the buffer to the model's level, on the model's grid.

        Only samples of the stream count, not the padding around it.
        """
        c = self.config
        if not c.target_rms_db:
            return 1.0
        target_db = c.target_rms_db[self._n_calls % len(c.target_rms_db)]
        end = self._call_start + self.geometry.latency_samples
        start = end - len(self._x.rows)
        n = min(end, self._n_pushed) - max(start, 0)
        energy = self._spectral.energy(self._x.rows)
        if n <= 0 or energy <= 0.0:
            return 1.0
        level_db = 10 * math.log10(energy / (n * self.n_channels))
        gain_db = min(target_db - level_db, c.max_gain_db)
        steps = round(gain_db / c.gain_step_db)
        return float(10 ** (steps * c.gain_step_db / 20))

    # ---- checks -------------------------------------------------------------

    def _check_block(self, x: Samples, what: str, n: int | None = None) -> None:
        wanted = "n" if n is None else n
        if not isinstance(x, np.ndarray) or x.dtype != np.float32:
            got = getattr(x, "dtype", type(x).__name__)
            raise TypeError(f"{what}: expected float32, got {got}")
        if x.ndim != 2 or x.shape[1] != self.n_channels or n not in (None, len(x)):
            raise ValueError(
                f"{what}: expected ({wanted}, {self.n_channels}), got {x.shape}"
                + shape_hint(x.shape, what)
            )

    def _without_damage(self, block: Samples) -> Samples:
        """Return the block, or a copy in which damaged samples are silence."""
        # One pass decides: the sum of squares of sound samples is below this.
        energy = self._spectral.energy(block)
        if math.isfinite(energy) and energy < LIMIT * LIMIT:
            return block
        good = np.abs(block) <= LIMIT  # NaN compares false
        self.n_bad_samples += int(block.size - np.count_nonzero(good))
        return np.where(good, block, np.float32(0))
