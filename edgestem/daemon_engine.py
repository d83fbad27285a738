"""What all sessions share: models, slots, admission, and a few spare separators."""

from __future__ import annotations

import logging
import statistics
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgestem.config import ModelConfig, read_config
from edgestem.daemon_config import DaemonConfig
from edgestem.daemon_schedule import (
    BATCH,
    LIVE,
    Admission,
    PacedSeparator,
    Scheduler,
    n_slots,
)
from edgestem.errors import EdgestemError, ModelError
from edgestem.model import LIVE_DEFAULT, available_models, model_path
from edgestem.protocol import MAX_TEXT
from edgestem.separator import check_stream

log = logging.getLogger(__name__)
MEASURED_CALLS = 5  # the median of so many calls decides
MAX_SPARE = 2  # separators kept loaded for the next session
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
        self, model: str, sample_rate: int, n_channels: int, priority: int = BATCH
    ) -> PacedSeparator:
        """Lend a separator, loaded and reset.

        Raises
        ------
        EdgestemError
            `model_not_found`, `unsupported_sample_rate`, `unsupported_channels`.
        """
        name = model or self.default
        if not model and priority != BATCH and LIVE_DEFAULT in self.models:
            name = LIVE_DEFAULT  # somebody plays along
        if name not in self.models:
            known = ", ".join(self.models)
            raise ModelError(
                f"there is no model {name[:40]!r}; there is {known}",
                code="model_not_found",
            )
        check_stream(sample_rate, n_channels)
        key = (name, sample_rate, n_channels)
        separator = self._take_spare(key)
        if separator is None:
            separator = self._load(key, self.scheduler)
            self._tell_device(separator)
        separator.priority = priority
        return separator

    def give_back(self, separator: PacedSeparator) -> None:
        """Take a separator back; it may be in any state.

        Of a device that was lost nothing is kept: the next one is loaded anew, and
        its device tried anew, which may end on the CPU.
        """
        self.admission.leave(separator)
        separator.check = _nothing
        key = (separator.config.name, separator.sample_rate, separator.n_channels)
        with self._lock:
            self._spare.append((key, separator))
            if separator.is_lost:
                lost = separator.device
                self._spare = [s for s in self._spare if s[1].device != lost]
            del self._spare[:-MAX_SPARE]

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
        name, sample_rate, n_channels = key
        return PacedSeparator(
            scheduler,
            sample_rate,
            n_channels,
            model=self.models[name].model,
            threads=self._config.threads,
            device=self._config.device,
        )


def measure(separator: PacedSeparator) -> float:
    """Run a few network calls on noise and return the RTF; the separator is reset."""
    separator.priority = LIVE
    rng = np.random.default_rng(0)
    n_samples = round(separator.call_s * separator.sample_rate)
    noise = rng.standard_normal((n_samples, separator.n_channels)) * 0.1
    took: list[float] = []
    while len(took) <= MEASURED_CALLS:
        n_before = separator.n_calls
        separator.push(noise.astype(np.float32))
        if separator.n_calls > n_before:
            took.append(separator.last_s - separator.waited_s)
    separator.reset()
    separator.forget_times()
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


def _nothing() -> None:
    pass
