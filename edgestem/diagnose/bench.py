"""How fast this machine separates, stage by stage, and against a saved run.

One `Separator` gets synthetic music hop by hop, as a live rig would feed it; the
clock hangs on the calls between the stages.  Times are per second of audio.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestem.diagnose import machine
from edgestem.engine.separator import Separator
from edgestem.errors import EdgestemError
from edgestem.version import __version__

RATE = 44_100
PARTS = ("analysis", "network", "synthesis", "rest", "io")
# Beyond this a run differs from its reference, in either direction: unexpectedly
# fast means that the benchmark or the board is not what it was.
TOLERANCE = 0.3
TINY_MS = 0.01  # a stage that takes no time may take twice of it


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark."""

    machine: dict[str, str]
    """board, cpu, governor."""
    setup: dict[str, Any]
    """Versions, model, device, back end, threads."""
    seconds: float
    """Audio separated."""
    rtf: float
    """Time of all `push` calls / audio time; below 1 keeps up."""
    stages_ms: dict[str, float]
    """Milliseconds per second of audio; io (a WAV read and written) is not in rtf."""
    hop_ms: dict[str, float]
    """Percentiles of the time a push of one hop takes; the hop lasts `hop`."""
    call_share: float
    """Slowest push / audio time between two network calls; below 1 plays live."""
    peak_rss_mib: float


class _Timed:
    """Stands before an object and adds up the time of some of its methods."""

    def __init__(self, inner: object, **stages: str) -> None:
        self._inner = inner
        self.spent = dict.fromkeys(stages.values(), 0.0)
        for name, stage in stages.items():
            setattr(self, name, self._clocked(getattr(inner, name), stage))

    def _clocked(self, call: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def clocked(*args: Any) -> Any:
            start = time.perf_counter()
            result = call(*args)
            self.spent[stage] += time.perf_counter() - start
            return result

        return clocked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def music(seconds: float) -> NDArray[np.float32]:
    """Synthetic stereo music at RATE, about -18 dBFS."""
    t = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * (220 * t + 0.6 * np.sin(2 * np.pi * 5.5 * t))
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    noise = np.random.default_rng(0).normal(0, 0.2, (2, len(t)))
    sides = [sum(np.sin(2 * np.pi * f * t) for f in chord) for chord in _CHORDS]
    x = np.stack([voice + sides[0] + noise[0], voice + sides[1] + noise[1]], axis=1)
    return np.ascontiguousarray(0.08 * x, np.float32)


_CHORDS = ((130.8, 329.6, 1046.5), (196.0, 392.0, 784.0))


def bench(seconds: float = 20.0, **options: Any) -> Result:
    """Measure; `options` are those of `Separator`."""
    separator = Separator(RATE, 2, **options)
    hop, group = separator.geometry.hop, separator.geometry.call_samples
    # At least two network calls, and whole ones.
    n_calls = max(2, round(seconds * RATE / group))
    x = music(n_calls * group / RATE)
    separator.push(x[: 2 * group])  # warm up: caches, first call
    separator.reset()
    spectral = _Timed(
        separator._spectral,
        analyse="analysis",
        features="analysis",
        magnitudes="analysis",
        synthesise="synthesis",
    )
    model = _Timed(separator._model, invoke="network")
    vars(separator).update(_spectral=spectral, _model=model)
    pushes = _push_all(separator, x, hop)
    spent = spectral.spent | model.spent
    n_seconds = len(x) / RATE
    stages = {name: 1000 * t / n_seconds for name, t in spent.items()}
    stages["rest"] = 1000 * pushes.sum() / n_seconds - sum(stages.values())
    stages["io"] = _io_ms(x)
    return Result(
        machine=_machine(),
        setup=_setup(separator, options),
        seconds=round(n_seconds, 2),
        rtf=round(float(pushes.sum() / n_seconds), 5),
        stages_ms={name: round(stages[name], 3) for name in PARTS},
        hop_ms=_percentiles(pushes, hop),
        call_share=round(float(pushes.max() * RATE / group), 4),
        peak_rss_mib=round(machine.peak_rss_mib(), 1),
    )


def _push_all(
    separator: Separator, x: NDArray[np.float32], hop: int
) -> NDArray[np.float64]:
    """Push hop by hop; the time of each push, s."""
    took = np.empty(len(x) // hop)
    for i in range(len(took)):
        block = x[i * hop : (i + 1) * hop]
        start = time.perf_counter()
        separator.push(block)
        took[i] = time.perf_counter() - start
    return took


def _percentiles(took: NDArray[np.float64], hop: int) -> dict[str, float]:
    points = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    found = {
        k: round(1000 * float(np.percentile(took, p)), 3) for k, p in points.items()
    }
    return found | {"hop": round(1000 * hop / RATE, 3)}


def _io_ms(x: NDArray[np.float32]) -> float:
    """Read one WAV and write two, in ms per second of audio."""
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.wav"
        start = time.perf_counter()
        for _ in range(2):
            soundfile.write(path, x, RATE, subtype="PCM_16")
        soundfile.read(path, dtype="float32")
        return 1000 * (time.perf_counter() - start) * RATE / len(x)


def _machine() -> dict[str, str]:
    return {
        "board": machine.board(),
        "cpu": machine.cpu(),
        "governor": machine.governor(),
    }


def _setup(separator: Separator, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "edgestem": __version__,
        "runtime": separator.runtime,
        "model": f"{separator.config.name} {separator.config.sha256[:12]}",
        "device": separator.device,
        "fft": separator.fft,
        "threads": options.get("threads") or 1,
    }


def to_lines(result: Result) -> list[str]:
    """Write a result for a person."""
    r = result
    setup = ", ".join(f"{k} {v}" for k, v in r.setup.items())
    where = ", ".join(f"{k} {v}" for k, v in r.machine.items() if v)
    stages = ", ".join(f"{name} {r.stages_ms[name]:.2f}" for name in PARTS)
    hops = ", ".join(f"{k} {v:.2f}" for k, v in r.hop_ms.items() if k != "hop")
    speed = f"{1 / r.rtf:.1f} times faster than it plays" if r.rtf else ""
    lines = [
        where,
        setup,
        f"RTF {r.rtf:.4f} ({speed}), {r.seconds:.0f} s of audio",
        f"ms per second of audio: {stages}",
        f"ms per push of one hop ({r.hop_ms['hop']:.1f} ms): {hops}",
        f"slowest push: {100 * r.call_share:.0f} % of the time it has in live use",
        f"peak RSS {r.peak_rss_mib:.0f} MiB",
    ]
    if r.machine["governor"] not in ("", "performance"):
        lines.append(f"warning: governor {r.machine['governor']}: times may wander")
    return lines


def save(result: Result, path: Path) -> None:
    """Write a result as the reference of later runs."""
    path.write_text(json.dumps(asdict(result), indent=1) + "\n")


@dataclass(slots=True)
class Comparison:
    """A run against its reference."""

    lines: list[str] = field(default_factory=list)
    is_alike: bool = True


def compare(result: Result, path: Path) -> Comparison:
    """Compare with a saved run; both slower and faster are told.

    Raises
    ------
    EdgestemError
        `unreadable`: the reference is no saved run.
    """
    try:
        saved = json.loads(path.read_text())
        pairs = {"rtf": (result.rtf, saved["rtf"])}
        for name in PARTS:
            pairs[name] = (result.stages_ms[name], saved["stages_ms"][name])
        differences = _differences(result, saved)
    except (OSError, ValueError, KeyError, TypeError) as cause:
        reason = getattr(cause, "strerror", None) or "it is no saved benchmark"
        raise EdgestemError(
            f"{path} cannot be compared with: {reason}; edgestem bench --save FILE "
            "makes one",
            code="unreadable",
        ) from cause
    found = Comparison(differences)
    for name, (now, then) in pairs.items():
        ratio = now / max(then, 1e-9)
        is_tiny = name != "rtf" and max(now, then) < TINY_MS
        if abs(ratio - 1) > TOLERANCE and not is_tiny:
            kind = "slower" if ratio > 1 else "faster"
            found.lines.append(
                f"warning: {name} is {kind}: {ratio:.2f} x the reference"
            )
            found.is_alike = False
    return found if found.lines else Comparison(["as the reference, within 30 %"])


def _differences(result: Result, saved: dict[str, Any]) -> list[str]:
    """Tell what makes a comparison unfair."""
    lines = []
    for part in ("machine", "setup"):
        now, then = getattr(result, part), saved[part]
        for key, value in now.items():
            if then.get(key) != value:
                lines.append(f"note: {key} was {then.get(key)!r}, is {value!r}")
    return lines
