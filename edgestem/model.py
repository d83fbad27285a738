"""A loaded network: features in, masks out, states carried from call to call."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.config import ModelConfig, check_digest, read_config
from edgestem.devices import forget_trials, open_device
from edgestem.errors import EdgestemError, ModelError
from edgestem.runtime import MAX_THREADS

DEFAULT = "karaoke"
LIVE_DEFAULT = "live"  # the default where somebody plays along


def models_dir() -> Path:
    """Folder of the models that come with the package."""
    spec = importlib.util.find_spec("_edgestem_models")
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(__file__).parent.parent / "models"


def model_path(model: str | Path) -> Path:
    """Turn a model's name or a path to a .tflite file into a path.

    Raises
    ------
    ModelError
        `model_not_found`: no model has this name.
    """
    text = str(model)
    if text.endswith(".tflite"):
        return Path(text)
    names = model_names()
    if text not in names:
        raise ModelError(
            f"there is no model {text[:80]!r}: name one of {', '.join(names)}, or a "
            ".tflite file",
            code="model_not_found",
            path=text,
        )
    return models_dir() / f"{text}.tflite"


def model_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.stem for path in models_dir().glob("*.json"))


def available_models() -> list[ModelConfig]:
    """Sidecars of the models that come with the package, by name.

    A damaged one, or one without its .tflite file, is left out with a RuntimeWarning.
    """
    found = (_read_or_warn(models_dir() / f"{name}.tflite") for name in model_names())
    return [config for config in found if config is not None]


def _read_or_warn(path: Path) -> ModelConfig | None:
    try:
        return read_config(path)
    except ModelError as error:
        text = f"{path.stem} is left out: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=4)
        return None


def check_threads(threads: int) -> None:
    """Refuse a number of threads that no runtime survives.

    Raises
    ------
    EdgestemError
        `bad_threads`: not a whole number from 1 to MAX_THREADS.
    """
    if not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
        raise EdgestemError(
            f"threads: expected 1 to {MAX_THREADS}, got {threads!r}", code="bad_threads"
        )


class Model:
    """One interpreter and its states.

    Parameters
    ----------
    model : str or Path
        A name (`karaoke`) or a .tflite file with its sidecar beside it.
    threads : int
        Threads of the runtime.
    runtime : str, optional
        Distribution name of the runtime to use; default the fastest installed.
    device : str
        Where the network runs; see `edgestem.devices`.
    device_options : mapping, optional
        Handed to the device's delegate library.
    fallback : bool
        Go to the CPU, with a RuntimeWarning, when the device is refused.

    Attributes
    ----------
    device : str
        Where it does run: `cpu` or the device's name.
    notes : tuple of str
        Why devices that were tried are not used.
    is_lost : bool
        It failed while it ran: nothing that it gives can be trusted any more.

    Raises
    ------
    ModelError
        Missing or damaged model, no runtime, tensors that differ from the sidecar,
        a device that is unknown, or refused without `fallback`.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT,
        *,
        threads: int = 1,
        runtime: str | None = None,
        device: str = "auto",
        device_options: Mapping[str, str] | None = None,
        fallback: bool = True,
    ) -> None:
        check_threads(threads)
        config = read_config(model_path(model))
        check_digest(config)
        opened = open_device(
            config,
            device=device,
            options=device_options,
            fallback=fallback,
            threads=threads,
            runtime=runtime,
        )
        self.runtime = opened.runtime
        self.device, self.notes = opened.device, opened.notes
        self._bind(config, opened.interpreter)

    @classmethod
    def around(cls, config: ModelConfig, interpreter: Any) -> Model:
        """Put a Model around an interpreter that is already there, for trials."""
        model = cls.__new__(cls)
        model.runtime, model.device, model.notes = "", "", ()
        model._bind(config, interpreter)
        return model

    def _bind(self, config: ModelConfig, interpreter: Any) -> None:
        """Find the tensors that the sidecar names."""
        self.config, self._interpreter = config, interpreter
        self.is_lost = False
        inputs = {d["name"]: d for d in self._interpreter.get_input_details()}
        outputs = {d["name"]: d for d in self._interpreter.get_output_details()}
        c = self.config
        shape = (1, c.frames_per_call, c.n_bands, c.n_features)
        self._features = self._tensor(inputs, "features", shape)
        self._mask, self._first = self._find_mask(outputs)
        self._states = [
            (
                self._tensor(inputs, a, None),
                self._tensor(outputs, b, None),
                int(inputs[a]["quantization"][1]),
            )
            for a, b in c.states
        ]
        self._group = c.group
        n_rows = c.group if c.views > 1 else 0
        self._mean = np.zeros((n_rows, c.n_bands, 2), np.int8)
        self._sums = np.zeros((c.views, n_rows, c.n_bands, 2), np.int16)
        self.reset()

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
            f"{self.config.path} and its sidecar disagree: {what}",
            code="model_mismatch",
            path=str(self.config.path),
        )

    def reset(self) -> None:
        """Forget everything heard: states are set to zero (their zero point)."""
        for state_in, _, zero_point in self._states:
            state_in()[...] = zero_point
        self._sums.fill(0)
        self._has_earlier = False

    def features(self) -> NDArray[np.int8]:
        """View to fill before `invoke`: (frames_per_call, n_bands, n_features) int8."""
        view: NDArray[np.int8] = self._features()[0]
        return view

    def invoke(self) -> None:
        """Run the network on the features, then hand each state on.

        Raises
        ------
        ModelError
            `device_lost`: the interpreter failed, and its state is unknown.
        """
        try:
            self._interpreter.invoke()
        except RuntimeError as cause:
            raise self._lost(cause) from cause
        for state_in, state_out, _ in self._states:
            np.copyto(state_in(), state_out())
        if self.config.views > 1:
            self._average()

    def _lost(self, cause: RuntimeError) -> ModelError:
        """Say that the device, or the runtime on the CPU, failed in mid-stream."""
        self.is_lost = True
        forget_trials()
        return ModelError(
            f"{self.device or 'the device'} failed while it ran {self.config.name} "
            f"({' '.join(str(cause).split())}); see whether it is still plugged in, or "
            "choose --device cpu",
            code="device_lost",
            path=str(self.config.path),
        )

    def _average(self) -> None:
        """Mean of the masks of the group in this call and in those before.

        What the calls before the first would have said of a group, the first says.
        """
        views, sums = self.config.views, self._sums
        for i, group in enumerate(sums):
            rows = self._rows(i)
            times = 1 if self._has_earlier else views - i
            for _ in range(times):
                np.add(group, rows, out=group)
        np.floor_divide(sums[0], views, out=self._mean, casting="unsafe")
        for earlier, later in pairwise(sums):
            np.copyto(earlier, later)
        sums[-1].fill(0)
        self._has_earlier = True

    def _rows(self, i: int) -> NDArray[np.int8]:
        """View of the masks of group i of a call: (group, n_bands, 2) int8."""
        first = self._first + i * self._group
        view: NDArray[np.int8] = self._mask()[0, first : first + self._group]
        return view

    def mask(self) -> NDArray[np.int8]:
        """View of the result, of the frames used: (group, n_bands, 2) int8."""
        return self._mean if self.config.views > 1 else self._rows(0)
