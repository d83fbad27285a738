"""One .tflite network of a model: what it hears, what it masks, what it remembers.

Most hear int8 codes of features.  Those whose first levels int8 cannot hold hear
magnitudes: `levels` computes these levels, from kernels that are constants of the
file (`level0/w`, `level0/b` ...), and writes codes into the inputs `z0`, `z1` ... and,
of what the last one hands on, `r<last>`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.errors import ModelError
from edgestem.network.runtime import constants
from edgestem.network.sidecar import ModelConfig
from edgestem.spectrum.levels import Front, Grid, Level, Levels, Scratch, make_levels


class Network:
    """One interpreter and its states.

    Parameters
    ----------
    config : ModelConfig
        Of the model that it belongs to.
    interpreter : Interpreter
        With its tensors allocated.
    path : Path
        The .tflite file, which a device may have in a compiled copy.
    fft : str
        Back end of levels in float: "auto", "native", "fftw" or "numpy".
    scratch : Scratch, optional
        Shared with the model's other network.

    Raises
    ------
    ModelError
        Its tensors differ from the sidecar.
    """

    def __init__(
        self,
        config: ModelConfig,
        interpreter: Any,
        path: Path,
        *,
        fft: str = "auto",
        scratch: Scratch | None = None,
    ) -> None:
        self.config, self.path, self._interpreter = config, path, interpreter
        inputs = {d["name"]: d for d in interpreter.get_input_details()}
        outputs = {d["name"]: d for d in interpreter.get_output_details()}
        shape = (config.frames_per_call, config.n_bands, config.n_features)
        self._levels: Levels | None = None
        self._group = config.group
        self._codes: list[Any] = []
        if config.levels:
            front = self._read_front(inputs, shape)
            self._levels = make_levels(front, shape, backend=fft, scratch=scratch)
        else:
            self._features = self._tensor(inputs, "features", (1, *shape))
        self._mask, self._first = self._find_mask(outputs)
        self._states = [
            (
                self._tensor(inputs, a, None),
                self._tensor(outputs, b, None),
                int(inputs[a]["quantization"][1]),
            )
            for a, b in config.states
        ]

    def _read_front(self, inputs: dict[str, Any], shape: tuple[int, int, int]) -> Front:
        """Read the first levels, and find the inputs that take their codes."""
        n = self.config.levels
        names = [*(f"z{i}" for i in range(n)), f"r{n - 1}"]
        kernels = constants(self.path, "level")
        levels, n_in = [], self.config.n_features
        for i, name in enumerate(names[:n]):
            w, b = (kernels.get(f"level{i}/{leaf}") for leaf in "wb")
            if w is None or b is None or w.shape != (5, 5, n_in, len(b)):
                raise self._mismatch(f"no kernel of level {i}")
            n_in = len(b)
            w, b = (np.ascontiguousarray(x, np.float32) for x in (w, b))
            levels.append(Level(w, b, _grid(inputs, name)))
        for i, name in enumerate(names):
            at = min(i, n - 1)
            n_rows, n_columns = (size >> (at + 1) for size in shape[:2])
            expected = (1, n_rows, n_columns, len(levels[at].bias))
            self._codes.append(self._tensor(inputs, name, expected))
        return Front(tuple(levels), self.config.slope, _grid(inputs, names[-1]))

    def _find_mask(self, outputs: dict[str, Any]) -> tuple[Any, int]:
        """Find the mask, and the first of its frames that is used.

        A net gives the masks of all frames of a call, or of those used only.
        """
        c = self.config
        n_rows = c.frames_per_call
        if "mask" in outputs and int(outputs["mask"]["shape"][1]) == c.used_frames:
            n_rows = c.used_frames
        shape = (1, n_rows, c.n_bands, 2)
        first = c.left_context if n_rows > c.used_frames else 0
        return self._tensor(outputs, "mask", shape), first

    def _tensor(
        self, details: dict[str, Any], name: str, shape: tuple[int, ...] | None
    ) -> Any:
        """Return TFLite's accessor; a view of it must not outlive an invoke."""
        found = details.get(name)
        if found is None or found["dtype"] is not np.int8:
            raise self._mismatch(f"no int8 tensor {name!r}")
        got = tuple(int(n) for n in found["shape"])  # numpy 2 spells its own ints
        if shape not in (None, got):
            raise self._mismatch(f"{name} is {got}, not {shape}")
        return self._interpreter.tensor(found["index"])

    def _mismatch(self, what: str) -> ModelError:
        return ModelError(
            f"{self.path} and its sidecar disagree: {what}",
            code="model_mismatch",
            path=str(self.path),
        )

    def reset(self) -> None:
        """Forget everything heard: states are set to zero (their zero point)."""
        for state_in, _, zero_point in self._states:
            state_in()[...] = zero_point

    def features(self) -> NDArray[np.int8]:
        """View to fill before `invoke`, without levels in float."""
        view: NDArray[np.int8] = self._features()[0]
        return view

    def hear(self, magnitudes: NDArray[np.float32]) -> None:
        """Compute the levels in float and hand the network their codes."""
        assert self._levels is not None
        self._levels.codes(magnitudes, [codes()[0] for codes in self._codes])

    def invoke(self) -> None:
        """Run the network on what it was given, then hand each state on."""
        self._interpreter.invoke()
        for state_in, state_out, _ in self._states:
            np.copyto(state_in(), state_out())

    def used_masks(self) -> NDArray[np.int8]:
        """View of the masks of the first group of a call."""
        view: NDArray[np.int8] = self._mask()[
            0, self._first : self._first + self._group
        ]
        return view

    def masks(self, i: int) -> NDArray[np.int8]:
        """View of the masks of group i of a call: (group, n_bands, 2) int8."""
        first = self._first + i * self._group
        view: NDArray[np.int8] = self._mask()[0, first : first + self._group]
        return view


def _grid(inputs: dict[str, Any], name: str) -> Grid:
    """Grid of an input; one that is not there is refused where it is looked for."""
    scale, zero = inputs[name]["quantization"] if name in inputs else (1.0, 0)
    return Grid(float(scale), int(zero))
