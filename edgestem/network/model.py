"""A loaded model: features in, masks out, states carried from call to call.

It is one network, or two: one that masks the vocals, and one that masks the
accompaniment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.errors import ModelError
from edgestem.network.catalogue import model_path
from edgestem.network.compute import CPU, Compute
from edgestem.network.network import Network
from edgestem.network.reading import check_digest, read_config
from edgestem.network.runtime import named, open_interpreter
from edgestem.network.sidecar import ModelConfig
from edgestem.spectrum.levels import Scratch


class Model:
    """The networks of a model, and the mean of what they say.

    Parameters
    ----------
    config : ModelConfig
        Its sidecar.
    interpreters : sequence of Interpreter
        Of each of `config.files`, in their order, with tensors allocated.
    compute : Compute
        What was asked for; `fft` is the back end of levels in float, and with two
        threads on the CPU two networks run side by side.
    runtime, device : str
        Where they do run: a distribution, and `cpu` or the device's name.
    notes : tuple of str
        Why devices that were tried are not used.

    Attributes
    ----------
    runtime : str
        "distribution version"; looked up when it is asked for, as few do.
    is_lost : bool
        It failed while it ran: nothing that it gives can be trusted any more.
    on_lost : callable
        Called when that happens.
    pause : callable, optional
        Networks work one after the other, whatever threads there are, and this is
        called between them: who has time gives way to others.

    Raises
    ------
    ModelError
        Tensors differ from the sidecar.
    """

    def __init__(
        self,
        config: ModelConfig,
        interpreters: Sequence[Any],
        compute: Compute = CPU,
        *,
        runtime: str = "",
        device: str = "cpu",
        notes: tuple[str, ...] = (),
    ) -> None:
        self.config, self._distribution, self.device = config, runtime, device
        self.notes, self.is_lost = notes, False
        self.on_lost: Callable[[], None] = _nothing
        self.pause: Callable[[], object] | None = None
        self._crew: ThreadPoolExecutor | None = None
        n_others, scratch = len(interpreters) - 1, Scratch()
        if n_others and compute.n_threads > 1 and device == "cpu":
            self._crew = ThreadPoolExecutor(n_others, "edgestem-network")
        self._networks = [
            Network(
                config,
                interpreter,
                path,
                fft=compute.fft,
                scratch=None if self._crew else scratch,
            )
            for (path, _), interpreter in zip(config.files, interpreters, strict=False)
        ]
        self._allocate()
        if self._is_plain:  # the way of a live model's hop is shorter by two calls
            self.features = self._networks[0].features  # type: ignore[method-assign]
            if not self._is_mean:
                self.mask = self._networks[0].used_masks  # type: ignore[method-assign]
        self.reset()

    @property
    def runtime(self) -> str:
        return named(self._distribution) if self._distribution else ""

    def _allocate(self) -> None:
        """Make room for what is heard and for the masks."""
        c = self.config
        shape = (c.frames_per_call, c.n_bands, c.n_features)
        self._magnitudes = np.zeros(shape if c.levels else (0, 0, 0), np.float32)
        self._is_mean = c.views * len(self._networks) > 1
        self._is_plain = len(self._networks) == 1 and not c.levels
        n_rows = c.group if self._is_mean else 0
        self._mean = np.zeros((n_rows, c.n_bands, 2), np.int8)
        self._sums = np.zeros((c.views, n_rows, c.n_bands, 2), np.int16)

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
            if self._is_plain:
                self._networks[0].invoke()
            else:
                self._run()
        except RuntimeError as cause:
            raise self._lost(cause) from cause
        if self._is_mean:
            self._average()

    def _run(self) -> None:
        """Run one network after the other, or side by side where threads allow it."""
        first, *others = self._networks
        if self._crew is None or self.pause is not None:
            self._ask(first)
            for network in others:
                if self.pause is not None:
                    self.pause()
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
        self.on_lost()
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


def open_on_cpu(model: str | Path, compute: Compute = CPU) -> Model:
    """Load a model on the CPU, whatever device `compute` names.

    Raises
    ------
    ModelError
        Missing or damaged model, no runtime, tensors that differ from the sidecar.
    """
    config = read_config(model_path(model))
    check_digest(config)
    n, name = per_net(config, compute), compute.runtime
    opened = [
        open_interpreter(path, threads=n, distribution=name) for path, _ in config.files
    ]
    nets = [interpreter for interpreter, _ in opened]
    return Model(config, nets, compute, runtime=opened[0][1])


def per_net(config: ModelConfig, compute: Compute) -> int:
    """Threads of each network: two side by side use two cores better than one does."""
    return max(1, compute.n_threads // len(config.files))


def for_each_network(model: str | Path, compute: Compute) -> Compute:
    """Take the threads asked for, or one for each network as far as there are cores."""
    if compute.threads is not None:
        return compute
    n_networks = len(read_config(model_path(model)).files)
    threads = max(1, min(n_networks, len(os.sched_getaffinity(0))))
    return replace(compute, threads=threads)


def _nothing() -> None:
    pass
