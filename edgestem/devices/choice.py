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
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgestem.devices.coral import look, why_refused
from edgestem.devices.probe import SILENT, Probe, Trial, probe
from edgestem.errors import ModelError
from edgestem.network.catalogue import DEFAULT, model_path
from edgestem.network.compute import ANY, Compute
from edgestem.network.model import Model, per_net
from edgestem.network.runtime import open_interpreter
from edgestem.network.sidecar import ModelConfig, check_digest, read_config

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


@dataclass(frozen=True, slots=True)
class Opened:
    """An interpreter and where it runs."""

    interpreter: Any
    runtime: str
    """ "distribution version"."""
    device: str
    """`cpu`, or the device's name."""
    threads: int
    """Of each interpreter."""
    notes: tuple[str, ...] = ()
    """Why each device that was tried is not used, one sentence each."""


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


def open_model(model: str | Path = DEFAULT, compute: Compute = ANY) -> Model:
    """Load a model on the device asked for, or on the CPU with a warning.

    Parameters
    ----------
    model : str or Path
        A name (`karaoke`) or a .tflite file with its sidecar beside it.
    compute : Compute
        Where and how; its device is one of the module's docstring.

    Raises
    ------
    ModelError
        Missing or damaged model, no such device, or refused without `fallback`; no
        runtime; tensors that differ from the sidecar.
    """
    config = read_config(model_path(model))
    check_digest(config)
    opened = _open(config, compute)
    nets = [opened.interpreter]
    nets += [_open_beside(opened, path, compute) for path, _ in config.files[1:]]
    found = Model(
        config,
        nets,
        compute,
        runtime=opened.runtime,
        device=opened.device,
        notes=opened.notes,
    )
    found.on_lost = forget_trials
    return found


def _open(config: ModelConfig, compute: Compute) -> Opened:
    if compute.device == "auto":
        return _open_auto(config, compute)
    wanted = parse_device(compute.device, compute.device_options)
    if wanted.kind == "cpu":
        return _open_cpu(config, compute)
    reason = try_device(wanted, config, compute.runtime).reason
    if not reason:
        try:
            return _open_delegate(wanted, config, compute)
        except ModelError as error:
            reason = _lost(error)
    note = f"{compute.device}: {reason}"
    if not compute.fallback:
        raise ModelError(note, code="device_refused", path=str(config.path))
    warnings.warn(f"{note}; running on the CPU", RuntimeWarning, stacklevel=4)
    return _open_cpu(config, compute, (note,))


def _open_beside(opened: Opened, path: Path, compute: Compute) -> Any:
    """Load another network of a model where the first one runs.

    On the CPU, where the device has no compiled copy of it.
    """
    library, compiled, options = None, None, None
    if opened.device != "cpu":
        device = parse_device(opened.device, compute.device_options)
        library, compiled = find_library(device), model_for(device, path)
        options = device.options
    on_device = library is not None and compiled is not None
    interpreter, _ = open_interpreter(
        compiled if on_device and compiled else path,
        threads=opened.threads,
        distribution=compute.runtime,
        library=library if on_device else None,
        options=options if on_device else None,
    )
    return interpreter


def _open_auto(config: ModelConfig, compute: Compute) -> Opened:
    notes: list[str] = []
    for name in AUTO:
        device = parse_device(name)
        if find_library(device) is None or model_for(device, config.path) is None:
            continue
        done = try_device(device, config, compute.runtime)
        reason = done.reason
        if not reason and done.device_ms < done.cpu_ms:
            try:
                return _open_delegate(device, config, compute, tuple(notes))
            except ModelError as error:
                reason = _lost(error)
        if reason:
            text = f"{name}: {reason}; not used"
            warnings.warn(text, RuntimeWarning, stacklevel=5)
        slow = f"it is slower than the CPU ({done.device_ms:.1f} ms a call against "
        slow += f"{done.cpu_ms:.1f})"
        notes.append(f"{name}: {reason or slow}")
    return _open_cpu(config, compute, tuple(notes))


def _lost(error: ModelError) -> str:
    """Say that a device which passed its trial is gone since: unplugged, taken."""
    cause = " ".join(str(error.__cause__).split()).rstrip(".")
    return (
        f"it worked when it was tried and does not load now ({cause}); see whether it "
        "is still plugged in and no other program has it"
    )


def _open_cpu(
    config: ModelConfig, compute: Compute, notes: tuple[str, ...] = ()
) -> Opened:
    threads = per_net(config, compute)
    interpreter, name = open_interpreter(
        config.path, threads=threads, distribution=compute.runtime
    )
    return Opened(interpreter, name, "cpu", threads, notes)


def _open_delegate(
    device: Device,
    config: ModelConfig,
    compute: Compute,
    notes: tuple[str, ...] = (),
) -> Opened:
    path = model_for(device, config.path)
    assert path is not None  # the probe has seen it
    interpreter, name = open_interpreter(
        path,
        threads=compute.n_threads,
        distribution=compute.runtime,
        library=find_library(device),
        options=device.options,
    )
    return Opened(interpreter, name, device.name, compute.n_threads, notes)
