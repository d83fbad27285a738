"""A model on the device that was asked for, or on the one that can."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestem.devices.choice import (
    AUTO,
    Device,
    find_library,
    forget_trials,
    model_for,
    parse_device,
    try_device,
)
from edgestem.errors import ModelError
from edgestem.network.catalogue import model_path
from edgestem.network.choices import DEFAULT
from edgestem.network.compute import ANY, Compute
from edgestem.network.model import Model, per_net
from edgestem.network.reading import check_digest, read_config
from edgestem.network.runtime import open_interpreter
from edgestem.network.sidecar import ModelConfig


@dataclass(frozen=True, slots=True)
class Opened:
    """An interpreter and where it runs."""

    interpreter: Any
    runtime: str
    """Its distribution."""
    device: str
    """`cpu`, or the device's name."""
    threads: int
    """Of each interpreter."""
    notes: tuple[str, ...] = ()
    """Why each device that was tried is not used, one sentence each."""


def open_model(model: str | Path = DEFAULT, compute: Compute = ANY) -> Model:
    """Load a model on the device asked for, or on the CPU with a warning.

    Parameters
    ----------
    model : str or Path
        A name (`karaoke`) or a .tflite file with its sidecar beside it.
    compute : Compute
        Where and how; its device is one of `devices.choice`'s docstring.

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
