"""What all sessions share: models, slots, admission, and a few spare separators."""

from __future__ import annotations

import contextlib
import logging
import statistics
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgestem.daemon.pool.schedule import (
    LAST,
    Admission,
    PacedSeparator,
    Scheduler,
    n_slots,
    stream_bytes,
)
from edgestem.daemon.system.config import DaemonConfig
from edgestem.errors import EdgestemError, ModelError
from edgestem.limits import check_stream
from edgestem.network.catalogue import model_path, models_dir
from edgestem.network.choices import LIVE_DEFAULT
from edgestem.network.reading import available_models, read_config
from edgestem.network.sidecar import ModelConfig
from edgestem.wire.protocol import MAX_TEXT

log = logging.getLogger(__name__)
MEASURED_CALLS = 5  # the median of so many calls decides
MAX_SPARE = 2  # separators kept loaded for the next session
SPARE_BYTES = 128 << 20  # and so much memory of them
Key = tuple[str, int, int]  # model, sample rate, channels


class Engine:
    """Hands out separators.

    Parameters
    ----------
    config : DaemonConfig
    event : callable
        Told with event("device", ...) why a separator does not run where it should.

    Raises
    ------
    ModelError
        A configured model is missing or damaged, or none is installed.
    """

    def __init__(self, config: DaemonConfig, event: Callable[..., None]) -> None:
        self._config, self._event = config, event
        self._doubted = ""  # a device that failed since it last ran a network
        self.models = _find_models(config.models)
        self.default = next(iter(self.models))
        probe = self._load((self.default, self._rate(self.default), 2), Scheduler(1))
        self.device, self.runtime = probe.device, probe.runtime
        self.notes = probe.notes
        self.scheduler = Scheduler(n_slots(config.slots, probe.device))
        self.admission = Admission(self.scheduler)
        self._lock = threading.Lock()
        self._spare: list[tuple[Key, PacedSeparator]] = []
        self._rtf: dict[Key, float] = {}

    def _rate(self, name: str) -> int:
        return self.models[name].sample_rate

    def take(
        self,
        model: str,
        sample_rate: int,
        n_channels: int,
        priority: int = LAST,
        weigh: Callable[[int], None] | None = None,
    ) -> PacedSeparator:
        """Lend a separator, loaded and reset.

        Parameters
        ----------
        weigh : callable, optional
            Told the bytes of the stream before any of them is taken; may refuse.

        Raises
        ------
        EdgestemError
            `model_not_found`, `unsupported_sample_rate`, `unsupported_channels`, and
            what `weigh` raises.
        """
        name = model or self.default
        if not model and priority != LAST and LIVE_DEFAULT in self.models:
            name = LIVE_DEFAULT  # somebody plays along
        if name not in self.models:
            known = ", ".join(self.models)
            raise ModelError(
                f"there is no model {name[:40]!r}; there is {known}",
                code="model_not_found",
            )
        check_stream(sample_rate, n_channels)
        if weigh is not None:
            weigh(stream_bytes(self.models[name], sample_rate, n_channels))
        key = (name, sample_rate, n_channels)
        separator = self._take_spare(key)
        if separator is None:
            separator = self._load(key, self.scheduler)
            self._tell_device(separator)
        separator.priority = priority
        return separator

    def give_back(self, separator: PacedSeparator) -> None:
        """Take a separator back; one with a failed call is never lent again."""
        self.admission.leave(separator)
        separator.check, separator.around = _nothing, contextlib.nullcontext
        if not separator.is_sound:
            self._lose(separator)
            return
        key = (separator.config.name, separator.sample_rate, separator.n_channels)
        with self._lock:
            self._spare.append((key, separator))
            del self._spare[:-MAX_SPARE]
            while sum(s.memory_bytes for _, s in self._spare) > SPARE_BYTES:
                del self._spare[0]

    def _lose(self, separator: PacedSeparator) -> None:
        """Forget a device's separators after a failed call, and doubt the device."""
        device = separator.device
        with self._lock:
            self._spare = [s for s in self._spare if s[1].device != device]
            self._doubted = "" if device == "cpu" else device
        text = f"{device}: it failed while it ran; the next stream tries it first"
        log.warning("device: %s", text)
        self._event("device", device=device, text=text)

    def place(self) -> str:
        """Name what runs networks here: the device and the runtime."""
        return f"{self.device} {self.runtime}"

    def admit(self, separator: PacedSeparator, share: float) -> float:
        """Book a live stream and return its RTF.

        Raises
        ------
        EdgestemError
            `overloaded`: it would not keep up.
        """
        key = (separator.config.name, separator.sample_rate, separator.n_channels)
        rtf = self._rtf.get(key) or measure(separator)
        self._rtf.pop(key, None)  # after a refusal measure again
        self.admission.admit(separator, rtf, share)
        self._rtf[key] = rtf
        return rtf

    def describe(self) -> list[dict[str, Any]]:
        """Describe the models for the wire."""
        return [
            {
                "name": name,
                "sample_rate": c.sample_rate,
                "licence": c.licence,
                "attribution": c.attribution,
                "sha256": c.sha256,
                "figures": c.figures,
            }
            for name, c in self.models.items()
        ]

    def _tell_device(self, separator: PacedSeparator) -> None:
        for note in separator.notes:
            log.info("device: %s; running on %s", note, separator.device)
            text = note[: MAX_TEXT // 2]
            self._event("device", device=separator.device, text=text)

    def _take_spare(self, key: Key) -> PacedSeparator | None:
        with self._lock:
            fitting = [spare for spare in self._spare if spare[0] == key]
            if not fitting:
                return None
            self._spare.remove(fitting[0])
        separator = fitting[0][1]
        separator.reset()
        separator.forget_times()
        return separator

    def _load(self, key: Key, scheduler: Scheduler) -> PacedSeparator:
        """Load a model where it was asked for, or where it runs."""
        separator = self._load_on(key, scheduler, self._config.device)
        if separator.device == self._doubted:
            return self._tried(key, scheduler, separator)
        return separator

    def _tried(
        self, key: Key, scheduler: Scheduler, separator: PacedSeparator
    ) -> PacedSeparator:
        """Run a doubted device once; without it the CPU takes its place."""
        try:
            measure(separator, 1)
        except Exception as error:
            note = f"{separator.device}: it fails now ({' '.join(str(error).split())})"
            separator = self._load_on(key, scheduler, "cpu")
            separator.notes = (note,)
        else:
            self._doubted = ""
        return separator

    def _load_on(self, key: Key, scheduler: Scheduler, device: str) -> PacedSeparator:
        name, sample_rate, n_channels = key
        return PacedSeparator(
            scheduler,
            sample_rate,
            n_channels,
            model=self.models[name].model,
            threads=self._config.threads,
            device=device,
        )


def measure(separator: PacedSeparator, n_calls: int = MEASURED_CALLS) -> float:
    """Run a few network calls on noise and return the RTF; the separator is reset.

    They go behind those of live streams, whoever asks for one.
    """
    priority, separator.priority = separator.priority, LAST
    rng = np.random.default_rng(0)
    n_samples = round(separator.call_s * separator.sample_rate)
    noise = rng.standard_normal((n_samples, separator.n_channels)) * 0.1
    took: list[float] = []
    while len(took) <= n_calls:
        n_before = separator.n_calls
        separator.push(noise.astype(np.float32))
        if separator.n_calls > n_before:
            took.append(separator.last_s - separator.waited_s)
    separator.reset()
    separator.forget_times()
    separator.priority = priority
    return statistics.median(took[1:]) / separator.call_s  # the first warms up


def _find_models(wanted: tuple[str, ...]) -> dict[str, ModelConfig]:
    """Read the sidecars of the configured models, or of all installed ones."""
    if wanted:
        found = [read_config(Path(model_path(name))) for name in wanted]
    else:
        found = available_models()
        # The usual one first: it is the default.
        found.sort(key=lambda c: (c.name != "karaoke", c.name))
    if not found:
        raise EdgestemError(
            "no model is installed; name one with --model FILE.tflite",
            code="model_not_found",
        )
    return {c.name: c for c in found}


def foreign_models(config: DaemonConfig) -> list[tuple[str, Path]]:
    """List the configured models that did not come with the package."""
    paths = [Path(model_path(name)).absolute() for name in config.models]
    own = models_dir()
    return [(path.name, path) for path in paths if not path.is_relative_to(own)]


def _nothing() -> None:
    pass
