"""A loaded model: features in, masks out, states carried from call to call.

It is one network, or two: one that masks the vocals, and one that masks the
accompaniment.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.devices.choice import forget_trials, open_beside, open_device
from edgestem.errors import EdgestemError, ModelError
from edgestem.network.network import Network
from edgestem.network.runtime import MAX_THREADS
from edgestem.network.sidecar import ModelConfig, check_digest, read_config
from edgestem.spectrum.levels import Scratch

DEFAULT = "karaoke"
LIVE_DEFAULT = "live"  # the default where somebody plays along


def models_dir() -> Path:
    """Folder of the models that come with the package."""
    spec = importlib.util.find_spec("_edgestem_models")
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(__file__).parents[2] / "models"


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
    """The networks of a model, and the mean of what they say.

    Parameters
    ----------
    model : str or Path
        A name (`karaoke`) or a .tflite file with its sidecar beside it.
    threads : int
        Threads of the runtime.
    runtime : str, optional
        Distribution name of the runtime to use; default the fastest installed.
    device : str
        Where the network runs; see `edgestem.devices.choice`.
    device_options : mapping, optional
        Handed to the device's delegate library.
    fallback : bool
        Go to the CPU, with a RuntimeWarning, when the device is refused.
    fft : str
        Back end of levels in float: "auto", "native", "fftw" or "numpy".

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

    _crew: ThreadPoolExecutor | None = None

    def __init__(
        self,
        model: str | Path = DEFAULT,
        *,
        threads: int = 1,
        runtime: str | None = None,
        device: str = "auto",
        device_options: Mapping[str, str] | None = None,
        fallback: bool = True,
        fft: str = "auto",
    ) -> None:
        check_threads(threads)
        config = read_config(model_path(model))
        check_digest(config)
        # Two networks side by side use two cores better than one net does.
        each = max(1, threads // len(config.files))
        opened = open_device(
            config,
            device=device,
            options=device_options,
            fallback=fallback,
            threads=each,
            runtime=runtime,
        )
        self.runtime = opened.runtime
        self.device, self.notes = opened.device, opened.notes
        nets = [(config.path, opened.interpreter)]
        if config.rest_path is not None:
            other = open_beside(opened, config.rest_path, device_options, each, runtime)
            nets.append((config.rest_path, other))
        is_crewed = len(nets) > 1 and threads > 1 and opened.device == "cpu"
        scratch = Scratch()
        networks = [
            Network(
                config, net, path, fft=fft, scratch=Scratch() if is_crewed else scratch
            )
            for path, net in nets
        ]
        self._bind(config, networks)
        if is_crewed:
            self._crew = ThreadPoolExecutor(len(nets) - 1, "edgestem-network")

    @classmethod
    def around(cls, config: ModelConfig, interpreter: Any) -> Model:
        """Put a Model around an interpreter that is already there, for trials.

        It is that of the first network; a second one is not asked.
        """
        model = cls.__new__(cls)
        model.runtime, model.device, model.notes = "", "", ()
        model._bind(config, [Network(config, interpreter, config.path)])
        return model

    def _bind(self, config: ModelConfig, networks: list[Network]) -> None:
        """Make room for what is heard and for the masks."""
        self.config, self._networks = config, networks
        self.is_lost = False
        c = config
        shape = (c.frames_per_call, c.n_bands, c.n_features)
        self._magnitudes = np.zeros(shape if c.levels else (0, 0, 0), np.float32)
        self._is_mean = c.views * len(networks) > 1
        n_rows = c.group if self._is_mean else 0
        self._mean = np.zeros((n_rows, c.n_bands, 2), np.int8)
        self._sums = np.zeros((c.views, n_rows, c.n_bands, 2), np.int16)
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        for network in self._networks:
            network.reset()
        self._sums.fill(0)
        self._has_earlier = False

    def features(self) -> NDArray[Any]:
        """View to fill before `invoke`: (frames_per_call, n_bands, n_features).

        Codes, int8; or, where levels are computed in float, magnitudes, float32.
        """
        if self.config.levels:
            return self._magnitudes
        return self._networks[0].features()

    def invoke(self) -> None:
        """Run the networks on the features, then hand each state on.

        Raises
        ------
        ModelError
            `device_lost`: an interpreter failed, and its state is unknown.
        """
        try:
            self._run()
        except RuntimeError as cause:
            raise self._lost(cause) from cause
        if self._is_mean:
            self._average()

    def _run(self) -> None:
        """Run one network after the other, or side by side where threads allow it."""
        first, *others = self._networks
        if self._crew is None:
            for network in self._networks:
                self._ask(network)
            return
        asked = [self._crew.submit(self._ask, network) for network in others]
        try:
            self._ask(first)
        finally:
            wait(asked)
        for answer in asked:
            answer.result()

    def _ask(self, network: Network) -> None:
        if self.config.levels:
            network.hear(self._magnitudes)
        network.invoke()

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
        The second network masks the accompaniment: what it leaves are vocals.
        """
        views, sums = self.config.views, self._sums
        for i, group in enumerate(sums):
            times = 1 if self._has_earlier else views - i
            for _ in range(times):
                np.add(group, self._networks[0].masks(i), out=group)
                for rest in self._networks[1:]:
                    np.subtract(group, rest.masks(i), out=group)
                    np.subtract(group, 1, out=group)  # -1 - code turns a mask over
        n = views * len(self._networks)
        np.floor_divide(sums[0], n, out=self._mean, casting="unsafe")
        for earlier, later in pairwise(sums):
            np.copyto(earlier, later)
        sums[-1].fill(0)
        self._has_earlier = True

    def mask(self) -> NDArray[np.int8]:
        """View of the result, of the frames used: (group, n_bands, 2) int8."""
        return self._mean if self._is_mean else self._networks[0].masks(0)
