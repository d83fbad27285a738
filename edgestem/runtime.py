"""The one place that imports a TFLite runtime.

`ai_edge_litert` is preferred where it is installed (about twice as fast on the
same file), `tflite_runtime` is fully supported.  Both have the same Interpreter.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

from edgestem.errors import ModelError

# (import name of the interpreter's module, distribution that brings it)
RUNTIMES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
)


def installed() -> dict[str, str]:
    """Distribution -> version of each installed runtime, the preferred one first."""
    found = {}
    for _, distribution in RUNTIMES:
        try:
            found[distribution] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _advice() -> str:
    if sys.version_info >= (3, 12):
        return "pip install ai-edge-litert"
    return 'pip install "tflite-runtime" "numpy<2"'


def _check_numpy(distribution: str) -> None:
    """Refuse tflite-runtime beside numpy 2: it imports, then fails when used."""
    if distribution != "tflite-runtime":
        return
    major = int(importlib.metadata.version("numpy").split(".")[0])
    if major >= 2:
        raise ModelError(
            f"tflite-runtime does not work with numpy {major}; "
            'pip install "numpy<2" (or ai-edge-litert)',
            code="runtime_missing",
        )


def interpreter_class(distribution: str | None = None) -> tuple[Any, str]:
    """Return (Interpreter class, "distribution version").

    Parameters
    ----------
    distribution : str, optional
        `ai-edge-litert` or `tflite-runtime`; default the preferred one.

    Raises
    ------
    ModelError
        No runtime is installed, or the installed one cannot work.
    """
    versions = installed()
    for module, name in RUNTIMES:
        if name not in versions or distribution not in (None, name):
            continue
        _check_numpy(name)
        try:
            cls = importlib.import_module(module).Interpreter
        except ImportError as cause:
            raise ModelError(
                f"{name} {versions[name]} does not load here: {cause}",
                code="runtime_missing",
            ) from cause
        return cls, f"{name} {versions[name]}"
    raise ModelError(
        f"no TFLite runtime is installed; {_advice()}", code="runtime_missing"
    )


def open_interpreter(
    path: Path, *, threads: int = 1, distribution: str | None = None
) -> tuple[Any, str]:
    """Load a model and allocate its tensors.

    Returns
    -------
    interpreter, runtime : the Interpreter, and "distribution version"

    Raises
    ------
    ModelError
        No runtime, or the runtime refuses the file.
    """
    cls, name = interpreter_class(distribution)
    try:
        interpreter = cls(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError, OSError, SystemError) as cause:
        raise ModelError(
            f"{name} cannot load {path}: {cause}",
            code="model_mismatch",
            path=str(path),
        ) from cause
    return interpreter, name
