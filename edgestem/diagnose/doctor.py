"""One page that tells whether this machine can do it, and what is in the way.

Every line has a topic, what was found, and a verdict that says what to do.  The
page is made to be pasted into a bug report: it names no user and no song.
"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgestem import native
from edgestem.devices.choice import (
    AUTO,
    KINDS,
    find_library,
    parse_device,
    try_device,
)
from edgestem.devices.probe import Probe
from edgestem.diagnose import machine
from edgestem.diagnose.bench import RATE, Result, bench
from edgestem.errors import EdgestemError
from edgestem.lint.report import lint
from edgestem.network import runtime
from edgestem.network.catalogue import model_path
from edgestem.network.choices import DEFAULT, LIVE_DEFAULT
from edgestem.network.compute import Compute
from edgestem.network.geometry import Geometry
from edgestem.network.model import open_on_cpu
from edgestem.network.reading import read_config
from edgestem.network.sidecar import ModelConfig
from edgestem.sound.song import load_soundfile
from edgestem.spectrum import spectral
from edgestem.version import __version__

BENCH_SECONDS = 5.0
SUPPORTED = ((3, 10), (3, 11), (3, 12), (3, 13), (3, 14))
DOT_PRODUCTS = {"asimddp", "i8mm", "avx512_vnni", "avx_vnni"}
LEVELS = ("--", "ok", "warn", "fail")
PLAYABLE_S = 0.2  # nobody plays along to what comes later
COMFORTABLE = 1 / 3  # of its time that the slowest push may take, as docs/live.md says


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the page."""

    level: str
    """`ok`, `warn`, `fail`, or `--`: not there, and not needed."""
    topic: str
    found: str
    verdict: str
    """One sentence."""
    details: tuple[str, ...] = ()
    """What only --verbose shows."""

    def __str__(self) -> str:
        return f"{self.level:4} {self.topic:12} {self.found}: {self.verdict}"

    def in_full(self) -> str:
        """Write it with its details."""
        return "\n".join([str(self), *(f"{'':18}{text}" for text in self.details)])


def examine(model: str | Path = DEFAULT) -> Iterator[Line]:
    """Look at everything; each line comes as soon as it is known."""
    yield _python()
    yield _packages()
    yield _programs()
    yield from _runtimes(model)
    yield _kernel()
    yield from _board()
    yield from _model(model)
    config = _config(model)
    if config is not None:
        for name, done in survey(config).items():
            yield _device(name, done)
        yield _speed(model)


def _config(model: str | Path) -> ModelConfig | None:
    try:
        return read_config(model_path(model))
    except EdgestemError:
        return None


def _python() -> Line:
    found = f"edgestem {__version__}, Python {platform.python_version()}, "
    found += f"{platform.machine()}, {machine.libc()}"
    if sys.version_info[:2] in SUPPORTED:
        return Line("ok", "software", found, "this Python is supported")
    verdict = f"edgestem supports Python {'.'.join(map(str, SUPPORTED[0]))} to "
    verdict += f"{'.'.join(map(str, SUPPORTED[-1]))}; please report what fails"
    return Line("warn", "software", found, verdict)


def _packages() -> Line:
    versions = {name: runtime.version(name) for name in ("numpy", "cffi", "soundfile")}
    found = ", ".join(f"{name} {v or 'missing'}" for name, v in versions.items())
    tags = tuple(f"{n}: {machine.wheel_tag(n) or 'no wheel'}" for n in versions)
    if lacking := [name for name, v in versions.items() if not v]:
        return Line("fail", "packages", found, f"pip install {' '.join(lacking)}", tags)
    try:
        load_soundfile()
    except EdgestemError as error:
        return Line("fail", "packages", found, str(error), tags)
    return Line("ok", "packages", found, "all that edgestem needs", tags)


def _programs() -> Line:
    if shutil.which("ffmpeg") and shutil.which("ffprobe"):
        return Line("ok", "programs", "ffmpeg", "m4a, mp4, webm ... can be read")
    verdict = "m4a, mp4, webm ... cannot be read; apt-get install ffmpeg"
    return Line("--", "programs", "no ffmpeg", verdict)


def _runtimes(model: str | Path) -> Iterator[Line]:
    """Build and invoke an interpreter of each: an import proves nothing."""
    versions = runtime.installed()
    if not versions:
        yield Line("fail", "runtime", "none", runtime.advice())
    for name, number in versions.items():
        found, tags = f"{name} {number}", (machine.wheel_tag(name) or "no wheel",)
        try:
            open_on_cpu(model, Compute(runtime=name)).invoke()
        except EdgestemError as error:
            level = "warn" if error.code == "model_not_found" else "fail"
            yield Line(level, "runtime", found, str(error), tags)
        else:
            yield Line("ok", "runtime", found, "loads and runs the model", tags)
    if list(versions) == ["tflite-runtime"]:
        yield Line(
            "warn", "runtime", "no ai-edge-litert",
            "pip install ai-edge-litert runs the same model two to four times as fast",
        )  # fmt: skip


def _kernel() -> Line:
    names, simd = spectral.available_backends(), native.simd_name()
    found = f"fft {', '.join(names)}; simd {simd}"
    if names[0] == "native":
        return Line("ok", "kernel", found, f"compiled, speaks ABI {native.ABI}")
    return Line("warn", "kernel", found, "the C kernel is missing; reinstall edgestem")


def _board() -> Iterator[Line]:
    name = machine.board() or machine.cpu()
    memory = machine.memory_mib()
    level, verdict = "ok", "memory enough for a song of any length"
    if memory < 400:
        level, verdict = "warn", "little memory; give the GPU less of it"
    yield Line(level, "board", f"{name}, {memory} MiB", verdict)
    yield _features()
    yield _clock()
    pages = machine.page_size()
    level, verdict = "ok", "what every accelerator's driver wants"
    if pages != 4096:
        level, verdict = "warn", "PCIe Corals need 4 KiB pages (docs/hardware.md)"
    yield Line(level, "pages", f"{pages} bytes", verdict)


def _features() -> Line:
    features = machine.cpu_features()
    if not features:
        verdict = "nobody can tell whether it has int8 dot products"
        return Line("--", "cpu", "flags not shown", verdict)
    found = " ".join(features)
    if set(features) & DOT_PRODUCTS:
        return Line("ok", "cpu", found, "int8 dot products: the network's fast way")
    verdict = "no int8 dot products: the network takes two to three times the work"
    return Line("ok", "cpu", found, verdict)


def _clock() -> Line:
    governor, heat = machine.governor(), machine.temperature()
    slow = machine.throttling()
    found = f"governor {governor or 'not shown'}"
    found += f", {heat:.0f} °C" if heat is not None else ""
    if slow:
        verdict = "use a stronger power supply or more cooling"
        return Line("warn", "clock", f"{found}, {', '.join(slow)}", verdict)
    if governor not in ("", "performance"):
        verdict = "for live use set it to performance"
        return Line("warn", "clock", found, verdict)
    if slow is None and not governor:
        return Line("--", "clock", found, "this machine does not tell of its clock")
    verdict = "not throttled" if slow == [] else "it does not tell of throttling"
    return Line("ok", "clock", found, verdict)


def _model(model: str | Path) -> Iterator[Line]:
    try:
        loaded = open_on_cpu(model)
    except EdgestemError as error:
        yield Line("fail", "model", str(model), str(error))
        return
    c = loaded.config
    found = f"{c.name}, {c.n_bytes / 2**20:.1f} MiB, {c.sha256[:12]}"
    yield Line("ok", "model", found, "digest, tensors and sidecar agree")
    yield _edge_tpu(c)


def _edge_tpu(config: ModelConfig) -> Line:
    try:
        report = lint(config.path)
    except EdgestemError as error:
        return Line("--", "edgetpu", "not checked", str(error))
    found = f"{100 * report.share:.0f} % of the work"
    if report.is_clean:
        return Line("ok", "edgetpu", found, "clean by the published rules")
    verdict = "`edgestem lint` shows what keeps the rest off an Edge TPU"
    return Line("ok", "edgetpu", found, verdict)


def survey(
    config: ModelConfig,
    names: tuple[str, ...] = AUTO,
    options: Mapping[str, str] | None = None,
) -> dict[str, Probe | None]:
    """Try devices with a model; None: its library is not there."""
    devices = {name: parse_device(name, options) for name in names if name != "cpu"}
    return {
        name: None
        if find_library(device) is None and name in AUTO
        else try_device(device, config, None)
        for name, device in devices.items()
    }


def _device(name: str, done: Probe | None) -> Line:
    if done is None:
        return Line("--", name, "not installed", KINDS[name].install)
    if done.reason:
        return Line("warn", name, "refused", done.reason)
    details = f"{done.n_partitions} part(s) of the model, mask off the CPU's by "
    details += f"up to {done.max_difference:.3f}, RMS {done.rms_difference:.4f}"
    verdict = f"{done.device_ms:.1f} ms a call, CPU {done.cpu_ms:.1f} ms"
    if done.device_ms >= done.cpu_ms:
        verdict += "; --device auto takes the CPU"
    return Line("ok", name, "works", verdict, (details,))


def _speed(model: str | Path) -> Line:
    try:
        result = bench(BENCH_SECONDS, model=model, device="cpu")
    except EdgestemError as error:
        return Line("fail", "speed", "not measured", str(error))
    found = f"RTF {result.rtf:.3f} on one core with {result.setup['runtime']}, "
    found += f"slowest push {100 * result.call_share:.0f} % of its time, "
    found += f"peak RSS {result.peak_rss_mib:.0f} MiB"
    config = _config(model)
    late_s = Geometry.of(config, RATE).latency_samples / RATE if config else 0.0
    level, verdict = _judge(result, late_s)
    return Line(level, "speed", found, verdict)


def _judge(result: Result, late_s: float = 0.0) -> tuple[str, str]:
    """Level and verdict of a speed; a slow runtime is the first thing to replace."""
    if late_s > PLAYABLE_S and result.rtf <= 1:
        return "ok", (
            f"fast enough for songs; {late_s:.1f} s late: to play along, see "
            f"edgestem doctor --model {LIVE_DEFAULT}"
        )
    # Beside a player, effects and the system, half a core is what a rig can have.
    if result.rtf <= 0.5 and result.call_share <= COMFORTABLE:
        return "ok", "fast enough to play along, with room"
    way_out = "--model live asks for the least"
    if result.setup["runtime"].startswith("tflite-runtime"):
        way_out = f"{way_out}; a faster runtime: pip install ai-edge-litert"
    if result.rtf > 1:
        return "fail", f"too slow to play along: {way_out}"
    if result.rtf > 0.5:
        return "warn", f"just fast enough: {way_out}"
    return "warn", f"fast enough on the whole, but a push took long: {way_out}"


def device_lines(
    found: Mapping[str, Probe | None], *, is_verbose: bool = False
) -> list[str]:
    """Write what `edgestem devices` prints."""
    lines = [_cpu(), *(_device(name, done) for name, done in found.items())]
    return [line.in_full() if is_verbose else str(line) for line in lines]


def _cpu() -> Line:
    versions = runtime.installed()
    if not versions:
        return Line("fail", "cpu", "no runtime", runtime.advice())
    name, number = next(iter(versions.items()))
    return Line("ok", "cpu", f"{name} {number}", "the reference")


def to_json(found: Mapping[str, Probe | None]) -> dict[str, Any]:
    """Return plain data of a survey."""
    absent = {"reason": "not installed"}
    return {k: absent if done is None else asdict(done) for k, done in found.items()}


def worst(lines: Sequence[Line]) -> str:
    """Level of the worst line."""
    return max((line.level for line in lines), key=LEVELS.index, default="ok")
