"""What is installed and what the models are worth, as one plain dictionary."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
from typing import Any

from edgestem import native
from edgestem.network import runtime
from edgestem.network.choices import DEFAULT
from edgestem.network.geometry import Geometry
from edgestem.network.reading import available_models
from edgestem.network.sidecar import ModelConfig
from edgestem.spectrum import spectral
from edgestem.version import __version__

LATENCY_RATES = (44100, 48000)  # what sound cards and JACK graphs run at


def collect() -> dict[str, Any]:
    """Gather versions, back ends and models; nothing is loaded into a runtime."""
    return {
        "edgestem": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: _version(name) for name in ("numpy", "cffi", "soundfile")},
        "libsndfile": _libsndfile(),
        "ffmpeg": shutil.which("ffmpeg"),
        "runtimes": runtime.installed(),
        "fft": list(spectral.available_backends()),
        "simd": native.simd_name(),
        "models": [_describe(config) for config in available_models()],
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _libsndfile() -> str | None:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the C library is missing
        return None
    return str(soundfile.__libsndfile_version__)


def _describe(config: ModelConfig) -> dict[str, Any]:
    late = Geometry.of(config, config.sample_rate).latency_samples
    return {
        "name": config.name,
        "purpose": config.purpose,
        "is_default": config.name == DEFAULT,
        "path": str(config.path),
        "n_bytes": config.n_bytes,
        "licence": config.licence,
        "attribution": config.attribution,
        "sample_rate": config.sample_rate,
        "latency_samples": late,
        "latency": round(late / config.sample_rate, 3),
        "latencies": {
            str(rate): Geometry.of(config, rate).latency_samples
            for rate in LATENCY_RATES
        },
        "figures": config.figures,
    }


def to_lines(found: dict[str, Any], *, is_verbose: bool = False) -> list[str]:
    """Write it down for a person: a line a model, or all that is known of it."""
    sound = f"{found['soundfile']} (libsndfile {found['libsndfile']})"
    runtimes = [f"{name} {version}" for name, version in found["runtimes"].items()]
    rows = {
        "edgestem": found["edgestem"],
        "python": f"{found['python']} on {found['machine']}",
        "numpy": found["numpy"],
        "cffi": found["cffi"],
        "soundfile": sound if found["libsndfile"] else "none: no song can be read",
        "ffmpeg": found["ffmpeg"] or "none: m4a, mp4, webm ... cannot be read",
        "runtime": ", ".join(runtimes) or "none: nothing can be separated",
        "fft": f"{', '.join(found['fft'])} (simd: {found['simd']})",
    }
    lines = [f"{name:12}{value}" for name, value in rows.items()]
    if not found["models"]:
        return [*lines, "no models: reinstall edgestem"]
    if not is_verbose:
        return [*lines, "", *_table(found["models"])]
    for model in found["models"]:
        lines += _model_lines(model)
    return lines


def _table(models: list[dict[str, Any]]) -> list[str]:
    head = ("model", "live delay", "SDR of vocals, instrumental", "for")
    rows = [head, *(_row(model) for model in models)]
    widths = [max(len(row[i]) for row in rows) for i in range(3)] + [0]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _row(model: dict[str, Any]) -> tuple[str, str, str, str]:
    late = model["latency"]
    delay = f"{late:.1f} s" if late >= 1 else f"{1000 * late:.0f} ms"
    figures = model["figures"].get(f"edgestem {model['name']} int8", "")
    numbers = re.findall(r"-?\d+\.\d+", figures)
    quality = ", ".join(f"{float(n):.1f} dB" for n in numbers[:2]) or "not measured"
    if len(numbers) == 2:  # those of songs that chose nothing are missing
        quality += " (of songs that chose)"
    default = " (the default)" if model["is_default"] else ""
    return model["name"], delay, quality, f"{model['purpose']}{default}"


def _latencies(model: dict[str, Any]) -> str:
    found = ((int(rate), late) for rate, late in model["latencies"].items())
    texts = (f"{n:,} samples, {1000 * n / r:,.1f} ms at {r} Hz" for r, n in found)
    return "; ".join(texts)


def _model_lines(model: dict[str, Any]) -> list[str]:
    default = " (default)" if model["is_default"] else ""
    lines = [
        "",
        f"model {model['name']}{default}",
        f"  for         {model['purpose'] or 'not said'}",
        f"  latency     {_latencies(model)}; compensated in files",
        f"  size        {model['n_bytes'] / 2**20:.1f} MiB",
        f"  licence     {model['licence']}",
        f"  made from   {model['attribution']}",
    ]
    figures = model["figures"].items()
    return lines + [f"  {key}: {value}" for key, value in figures]
