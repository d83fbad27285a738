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
from edgestem.devices.choice import AUTO, KINDS, find_library, parse_device, try_device
from edgestem.devices.probe import Probe
from edgestem.diagnose import machine
from edgestem.diagnose.bench import Result, bench
from edgestem.errors import EdgestemError
from edgestem.lint.report import lint
from edgestem.network import runtime
from edgestem.network.model import DEFAULT, Model, model_path
from edgestem.network.sidecar import ModelConfig, read_config
from edgestem.spectrum import spectral
from edgestem.version import __version__

BENCH_SECONDS = 5.0
SUPPORTED = ((3, 10), (3, 11), (3, 12), (3, 13))
DOT_PRODUCTS = {"asimddp", "i8mm", "avx512_vnni", "avx_vnni"}
LEVELS = ("--", "ok", "warn", "fail")
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

    def __str__(self) -> str:
        return f"{self.level:4} {self.topic:12} {self.found}: {self.verdict}"


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
    found = ", ".join(
        f"{name} {runtime.version(name)} ({machine.wheel_tag(name) or 'no wheel'})"
        for name in ("numpy", "cffi", "soundfile")
    )
    return Line("ok", "packages", found, "these are the builds that pip chose")


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
        found = f"{name} {number} ({machine.wheel_tag(name)})"
        try:
            Model(model, runtime=name, device="cpu").invoke()
        except EdgestemError as error:
            level = "warn" if error.code == "model_not_found" else "fail"
            yield Line(level, "runtime", found, str(error))
        else:
            yield Line("ok", "runtime", found, "loads and runs the model")
    if list(versions) == ["tflite-runtime"]:
        yield Line(
            "warn", "runtime", "no ai-edge-litert",
            'pip install "edgestem[litert]" runs the same model about twice as fast',
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
    found = " ".join(features) or "flags not shown"
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
    verdict = "not throttled" if slow == [] else "this machine tells of no throttling"
    return Line("ok", "clock", found, verdict)


def _model(model: str | Path) -> Iterator[Line]:
    try:
        loaded = Model(model, device="cpu")
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
    found = f"works, {done.n_partitions} part(s) of the model, mask off the CPU's by "
    found += f"up to {done.max_difference:.3f}, RMS {done.rms_difference:.4f}"
    verdict = f"{done.device_ms:.1f} ms a call, CPU {done.cpu_ms:.1f} ms"
    return Line("ok", name, found, verdict)


def _speed(model: str | Path) -> Line:
    try:
        result = bench(BENCH_SECONDS, model=model, device="cpu")
    except EdgestemError as error:
        return Line("fail", "speed", "not measured", str(error))
    found = f"RTF {result.rtf:.3f} on one core with {result.setup['runtime']}, "
    found += f"slowest push {100 * result.call_share:.0f} % of its time, "
    found += f"peak RSS {result.peak_rss_mib:.0f} MiB"
    level, verdict = _judge(result)
    return Line(level, "speed", found, verdict)


def _judge(result: Result) -> tuple[str, str]:
    """Level and verdict of a speed; a slow runtime is the first thing to replace."""
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


def device_lines(found: Mapping[str, Probe | None]) -> list[str]:
    """Write what `edgestem devices` prints."""
    lines = ["ok   cpu          XNNPACK or TFLite's own kernels: the reference"]
    return lines + [str(_device(name, done)) for name, done in found.items()]


def to_json(found: Mapping[str, Probe | None]) -> dict[str, Any]:
    """Return plain data of a survey."""
    absent = {"reason": "not installed"}
    return {k: absent if done is None else asdict(done) for k, done in found.items()}


def worst(lines: Sequence[Line]) -> str:
    """Level of the worst line."""
    return max((line.level for line in lines), key=LEVELS.index, default="ok")
