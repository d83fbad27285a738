"""Where a network runs: devices by name, found, tried, compared, or refused.

cpu                      XNNPACK, the reference
coral[:usb|:pci|:N]      libedgetpu; wants `<model>_edgetpu.tflite` beside the model
armnn, gpu               their delegate libraries, installed by the user
delegate:/path/lib.so    any external delegate
auto                     each of `AUTO` whose library is there: the first that
                         passes its probe and is faster than the CPU; else cpu

Nothing but `cpu` is used before `edgestem.devices.probe` has seen it work.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from edgestem.devices.coral import look, why_refused
from edgestem.devices.probe import SILENT, Probe, Trial, probe
from edgestem.errors import ModelError
from edgestem.network.sidecar import ModelConfig

RETRY_S = 30.0  # after which a device that may have been busy is asked again
# Silent refusals: what was tried -> how often before, and when this time.
_silent: dict[tuple[object, ...], tuple[int, float]] = {}

AUTO = ("coral", "armnn", "gpu")


@dataclass(frozen=True, slots=True)
class Kind:
    """A device that has a name."""

    libraries: tuple[str, ...]
    """File names, the first found is used."""
    options: Mapping[str, str]
    """What the library is given unless the user says otherwise."""
    install: str
    """What to do when the library is absent."""


KINDS = {
    "coral": Kind(
        ("libedgetpu.so.1", "libedgetpu.so.1.0"), {}, "install libedgetpu1-std"
    ),
    "armnn": Kind(
        ("libarmnnDelegate.so",),
        {"backends": "GpuAcc,CpuAcc", "logging-severity": "fatal"},
        "unpack an Arm NN release and put its folder into LD_LIBRARY_PATH",
    ),
    "gpu": Kind(
        ("libtensorflowlite_gpu_external_delegate.so", "gpu_external_delegate.so"),
        {},
        "no package has it: build it from TensorFlow's sources (docs/hardware.md)",
    ),
}


@dataclass(frozen=True, slots=True)
class Device:
    """A device as asked for."""

    name: str
    """What the user wrote, `coral:usb`."""
    kind: str
    """`cpu`, `delegate` or a key of KINDS."""
    libraries: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


def parse_device(name: str, options: Mapping[str, str] | None = None) -> Device:
    """Read a device's name.

    Raises
    ------
    ModelError
        `unknown_device`: there is no such name.
    """
    kind, _, rest = name.partition(":")
    given = {str(k): str(v) for k, v in (options or {}).items()}
    if name == "cpu":
        return Device(name, "cpu")
    if kind == "delegate" and rest:
        return Device(name, kind, (rest,), given)
    if kind in KINDS and (kind == "coral" or not rest):
        known = KINDS[kind]
        if rest:
            given = {"device": _coral_place(name, rest)} | given
        return Device(name, kind, known.libraries, {**known.options, **given})
    raise _unknown(name)


def _coral_place(name: str, place: str) -> str:
    """Write it as libedgetpu does: usb, pci, usb:1, :1."""
    bus, _, number = place.rpartition(":")
    if place in ("usb", "pci"):
        return place
    if bus in ("", "usb", "pci") and number.isdigit():
        return f"{bus}:{number}"
    raise _unknown(name)


def _unknown(name: str) -> ModelError:
    return ModelError(
        f"no device {name!r}: auto, cpu, coral[:usb|:pci|:N], armnn, gpu or "
        "delegate:/path/lib.so",
        code="unknown_device",
    )


def library_folders() -> Iterator[Path]:
    """Folders where the loader would look, without starting a program."""
    for folder in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep):
        if folder:
            yield Path(folder)
    for root in (Path("/usr/local/lib"), Path("/usr/lib"), Path("/lib")):
        yield root
        yield from root.glob("*-linux-gnu*")


def find_library(device: Device) -> str | None:
    """Return the path of a device's library, or None."""
    for name in device.libraries:
        if "/" in name:
            return name if Path(name).is_file() else None
        for folder in library_folders():
            if (folder / name).is_file():
                return str(folder / name)
    return None


def model_for(device: Device, path: Path) -> Path | None:
    """Return the model file that a device runs; None: it was not compiled for it."""
    if device.kind != "coral":
        return path
    compiled = path.with_name(f"{path.stem}_edgetpu.tflite")
    return compiled if compiled.is_file() else None


def try_device(device: Device, config: ModelConfig, runtime: str | None) -> Probe:
    """Find out whether a device can run a model; a failure is a Probe with a reason."""
    library = find_library(device)
    if library is None:
        return Probe(_absent(device))
    path = model_for(device, config.path)
    if path is None:
        return Probe(
            f"the model is not compiled for it: no {config.path.stem}_edgetpu.tflite "
            "beside it; see docs/hardware.md for the compiler"
        )
    files = (str(config.model), str(path), library)
    options = tuple(sorted(device.options.items()))
    stamps = tuple(Path(p).stat().st_mtime_ns for p in (config.path, path, library))
    done = _probe_again(files, options, runtime, stamps)
    if done.reason == SILENT and device.kind == "coral":
        return replace(done, reason=why_refused(look()))
    return done


def _probe_again(
    files: tuple[str, str, str],
    options: tuple[tuple[str, str], ...],
    runtime: str | None,
    stamps: tuple[int, ...],
) -> Probe:
    """Ask anew after a while where a device refused without a word.

    So does one that another program holds; that refusal is quick, and passes.
    """
    key, now = (files, options, runtime), time.monotonic()
    n_tries, since = _silent.get(key, (0, now))
    if now - since > RETRY_S:
        n_tries, since = n_tries + 1, now
    done = _probe_once(files, options, runtime, (*stamps, n_tries))
    if done.reason == SILENT:
        _silent[key] = (n_tries, since)
    return done


@lru_cache(maxsize=16)
def _probe_once(
    files: tuple[str, str, str],
    options: tuple[tuple[str, str], ...],
    runtime: str | None,
    stamps: tuple[int, ...],
) -> Probe:
    """One process tries the same files once; `stamps` tells whether they are."""
    return probe(Trial(*files, dict(options), runtime))


def forget_trials() -> None:
    """Try every device anew before it is used again: one has failed since."""
    _probe_once.cache_clear()


def _absent(device: Device) -> str:
    if device.kind == "delegate":
        return f"there is no file {device.libraries[0]}; check the path"
    return f"{device.libraries[0]} is not installed; {KINDS[device.kind].install}"
