"""A live stream of this process: separator, rig, crew, and what there is to say.

The doors (`live_jack`, `live_sound`, `live_pipe`) bring a sample rate, a block size
and somebody who calls `Rig.process`; everything else is here.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgestem.engine.separator import Separator
from edgestem.errors import EdgestemError
from edgestem.live.control import obey
from edgestem.live.realtime import calm_python, check_core, lock_memory, prepare_thread
from edgestem.live.rig import Rig
from edgestem.live.watch import News, Watch
from edgestem.live.worker import Crew
from edgestem.pcm.faders import RAMP_MS, Levels

LOOK_S = 0.2  # between looks after the worker
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What the user chose, besides the door."""

    model: str
    """Name or .tflite file."""
    vocals_db: float
    instrumental_db: float
    substitute: str = "dry"
    """What plays when vocals are late; see `Rig`."""
    slack_ms: float | None = None
    """Time that the network has; None: a third of what its call covers."""
    realtime: int = 0
    """SCHED_FIFO priority of the network's thread, and memory locked; 0: neither."""
    cpu: int | None = None
    """Core of the network's thread."""
    device: str = "auto"
    device_options: Mapping[str, str] = field(default_factory=dict)
    fallback: bool = True
    """To the CPU, when the device is refused at the start."""
    threads: int | None = None
    runtime: str | None = None


def load(
    settings: LiveSettings, sample_rate: int, n_channels: int, device: str = ""
) -> Separator:
    """Load the network."""
    is_chosen = not device
    return Separator(
        sample_rate,
        n_channels,
        model=settings.model,
        threads=settings.threads,
        runtime=settings.runtime,
        device=device or settings.device,
        device_options=dict(settings.device_options) if is_chosen else None,
        fallback=settings.fallback,
    )


class Live:
    """A running rig.

    Parameters
    ----------
    settings : LiveSettings
    sample_rate, n_channels : int
    block : int
        The most samples of one `process`.
    say : callable
        Gets sentences for the user.

    Raises
    ------
    EdgestemError
        The model, the rate or the channels cannot be used.
    ValueError
        The core of the settings is none that this process may use.
    """

    def __init__(
        self,
        settings: LiveSettings,
        sample_rate: int,
        n_channels: int,
        block: int,
        say: Say,
    ) -> None:
        check_core(settings.cpu)
        self.settings, self._say = settings, say
        self._separator = load(settings, sample_rate, n_channels)
        self._spare = None
        if self._separator.device != "cpu":
            self._spare = load(settings, sample_rate, n_channels, "cpu")
        levels = Levels(settings.vocals_db, settings.instrumental_db, np.float32)
        self.levels = levels
        self.n_ramp = round(RAMP_MS * sample_rate / 1000)
        self.n_door_xruns = 0
        """Xruns that the sound system reported."""
        self.is_over = threading.Event()
        self._failure = ""
        self._news = News()
        self._make_rig(block)

    def _make_rig(self, block: int) -> None:
        s, separator = self.settings, self._separator
        if s.slack_ms is None:
            self.n_compute = separator.geometry.call_samples // 3
        else:
            self.n_compute = round(s.slack_ms * separator.sample_rate / 1000)
        self.block = block
        self.rig = Rig(
            separator,
            self.levels,
            slack_samples=block + self.n_compute,
            substitute=s.substitute,
        )
        self.crew = Crew(self.rig, separator, self._spare, self._prepare)
        self._watch = Watch(
            *(self.rig, self.crew.count, separator.config.name),
            slack_ms=1000 * self.n_compute / separator.sample_rate,
            threads=(s.threads or 1) if separator.device == "cpu" else 0,
        )

    def _prepare(self) -> None:
        s = self.settings
        prepare_thread(s.realtime, s.cpu, self._say)

    def start(self) -> None:
        """Begin to work; say how late everything will be."""
        if self.settings.realtime and (why := lock_memory()):
            self._say(why)
        calm_python()
        self._say(self.latency_text())
        self.crew.start()

    def latency_text(self) -> str:
        """Say the latency and what it is made of."""
        rig, rate = self.rig, self.rig.sample_rate
        late, own = rig.latency_samples, self._separator.latency_samples
        return (
            f"latency {late} samples, {1000 * late / rate:.1f} ms at {rate} Hz: "
            f"model {self._separator.config.name} {own}, block {self.block}, "
            f"slack {self.n_compute}"
        )

    def stop(self) -> None:
        """End, when nobody calls `process` any more, and say what happened."""
        if self.crew.stop():
            self.rig.close()
        self.report(is_end=True)

    def wait(self) -> None:
        """Look after the network until somebody says quit."""
        while not self.is_over.wait(LOOK_S):
            self.crew.look()
            self.report()
        if self._failure:
            raise EdgestemError(self._failure, code="no_sound_server")

    def end(self, failure: str) -> None:
        """Let `wait` end because the sound system is gone."""
        self._failure = failure
        self.is_over.set()

    def resize(self, block: int) -> None:
        """Start anew with larger blocks, while nobody calls `process`."""
        if self.crew.stop():
            self.rig.close()
        else:  # a call that never comes back keeps the separator and the rig it has
            rate, n_channels = self.rig.sample_rate, self.rig.n_channels
            spare = self._spare or load(self.settings, rate, n_channels, "cpu")
            self._separator, self._spare = spare, None
        self._separator.reset()
        self._make_rig(block)
        self._say(self.latency_text())
        self.crew.start()

    def report(self, is_end: bool = False) -> None:
        """Say what is new: late hops, errors, somebody who took over."""
        rig, count, now = self.rig, self.crew.count, time.monotonic()
        while count.notes:
            self._say(count.notes.pop(0))
        lines = [self._news.tell(rig, count, self.n_door_xruns, now, is_end=is_end)]
        if not is_end:
            lines.append(self._watch.look(now))
        for line in filter(None, lines):
            self._say(line)

    def handle(self, line: str) -> str:
        """Do a command (see `control`) and answer."""
        if line == "quit":
            self.is_over.set()
            return "quit"
        if line == "status":
            return json.dumps(self.status())
        answer = obey(self.levels, self.n_ramp, line)
        return answer or (
            f"{line[:40]!r} is no command: vocals DB, instrumental DB, status, quit"
        )

    def status(self) -> dict[str, Any]:
        """Describe the stream."""
        rig, count = self.rig, self.crew.count
        return {
            "model": self._separator.config.name,
            "device": self.crew.device,
            "sample_rate": rig.sample_rate,
            "channels": rig.n_channels,
            "latency_samples": rig.latency_samples,
            "n_samples": rig.n_in,
            "late": rig.n_late,
            "fallback_s": round(rig.n_substitute_samples / rig.sample_rate, 6),
            "errors": count.n_errors,
            "skipped_samples": count.n_skipped_samples,
            "bad_samples": rig.n_bad_samples,
            "calls": count.n_calls,
            "last_call_ms": round(1000 * count.call_s, 3),
            "peak_call_ms": round(1000 * count.peak_s, 3),
            "xruns": self.n_door_xruns,
        }
