"""The one place that imports a TFLite runtime.

`ai_edge_litert` is preferred where it is installed (docs/hardware.md has how much
faster it is), `tflite_runtime` is fully supported.  Both have the same Interpreter.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import os
import platform
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from edgestem.errors import ModelError
from edgestem.network.choices import RUNTIMES

# Descriptor 2 belongs to the whole process: one load at a time borrows it.
_BORROWED = threading.Lock()
_MADV_DONTNEED = 4  # of sys/mman.h


def version(distribution: str) -> str:
    """Version of an installed distribution, or an empty text."""
    import importlib.metadata  # 20 ms, so not before it is needed

    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(distribution)
    return ""


def installed() -> dict[str, str]:
    """Distribution -> version of each installed runtime, the preferred one first."""
    found = (name for module, name in RUNTIMES if _is_there(module))
    return {name: version(name) or "unknown" for name in found}


def named(distribution: str) -> str:
    """Name an installed runtime: "distribution version"."""
    return f"{distribution} {version(distribution) or 'unknown'}"


def _is_there(module: str) -> bool:
    """Look for a package without asking which version it is, which is slower."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    return spec is not None and spec.origin is not None  # else a folder left behind


INSTALL = {
    "ai-edge-litert": "pip install ai-edge-litert",
    "tflite-runtime": 'pip install "tflite-runtime" "numpy<2"',
}


def advice() -> str:
    """Say which runtime to install here: setup.py asks for the same."""
    if sys.maxsize > 2**32 and platform.machine() in ("x86_64", "aarch64"):
        return INSTALL["ai-edge-litert"]
    if sys.version_info < (3, 12):
        return INSTALL["tflite-runtime"]
    return (
        f"there is none for {platform.machine()} and Python "
        f"{platform.python_version()}: use a 64-bit system, or Python 3.11"
    )


def _check_numpy(distribution: str) -> None:
    """Refuse tflite-runtime beside numpy 2: it imports, then fails when used."""
    if distribution != "tflite-runtime":
        return
    import numpy as np

    major = int(np.__version__.split(".")[0])
    if major >= 2:
        raise ModelError(
            f"tflite-runtime does not work with numpy {major}; "
            'pip install "numpy<2", or pip install ai-edge-litert',
            code="runtime_missing",
        )


def runtime_module(distribution: str | None = None) -> tuple[Any, str]:
    """Return (interpreter module, distribution).

    Parameters
    ----------
    distribution : str, optional
        `ai-edge-litert` or `tflite-runtime`; default the preferred one.

    Raises
    ------
    ModelError
        No runtime is installed, or the installed one cannot work.
    """
    for module, name in RUNTIMES:
        if distribution not in (None, name) or not _is_there(module):
            continue
        _check_numpy(name)
        try:
            return importlib.import_module(module), name
        except ImportError as cause:
            raise ModelError(
                f"{named(name)} does not load here: {cause}",
                code="runtime_missing",
            ) from cause
    raise _missing(distribution)


def _missing(distribution: str | None) -> ModelError:
    if distribution is None:
        text = f"no TFLite runtime is installed; {advice()}"
    elif distribution in INSTALL:
        text = f"no {distribution} is installed; {INSTALL[distribution]}"
    else:
        names = " and ".join(INSTALL)
        text = f"there is no runtime {distribution!r}: edgestem knows {names}"
    return ModelError(text, code="runtime_missing")


def open_interpreter(
    path: Path,
    *,
    threads: int = 1,
    distribution: str | None = None,
    library: str | None = None,
    options: Mapping[str, str] | None = None,
) -> tuple[Any, str]:
    """Load a model and allocate its tensors.

    Parameters
    ----------
    library, options : str and mapping, optional
        A delegate and its options.  It runs inside this process and may crash
        it: `edgestem.devices.probe` tries it in another one first.

    Returns
    -------
    interpreter, distribution : the Interpreter, and what brought it

    Raises
    ------
    ModelError
        No runtime, or the runtime or the delegate refuses the file.
    """
    module, name = runtime_module(distribution)
    try:
        delegates = []
        if library is not None:
            delegates.append(module.load_delegate(library, dict(options or {})))
        with _without_chatter():
            interpreter = module.Interpreter(
                model_path=str(path),
                num_threads=threads,
                experimental_delegates=delegates,
            )
            interpreter.allocate_tensors()
        # Names of damaged files may be no text, which is a ValueError.
        interpreter.get_input_details(), interpreter.get_output_details()
        _let_go_of(path)
    except (ValueError, RuntimeError, OSError, SystemError) as cause:
        using = f" with {library}" if library else ""
        raise ModelError(
            f"{named(name)}{using} cannot load {path}: {cause}",
            code="model_mismatch",
            path=str(path),
        ) from cause
    return interpreter, name


def _let_go_of(path: Path) -> None:
    """Hand a mapped file's pages back: the runtime has packed what it multiplies by.

    They count as memory of this process as long as they are there, 7 MB a network.
    What is read once more comes from the file again.
    """
    file = os.path.realpath(path)
    with contextlib.suppress(OSError, AttributeError):  # not Linux: they stay
        madvise = ctypes.CDLL(None).madvise
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, access, *_ = fields = line.split(maxsplit=5)
            if fields[-1] != file or "w" in access:
                continue
            start, end = (int(place, 16) for place in span.split("-"))
            n_bytes = ctypes.c_size_t(end - start)
            madvise(ctypes.c_void_p(start), n_bytes, _MADV_DONTNEED)


def constants(
    path: Path, prefix: str, distribution: str | None = None
) -> dict[str, Any]:
    """Read constants of a file that loads, those that no operator takes included.

    By name, as arrays; those alone whose names begin so, as all are a whole network.
    """
    module, _ = runtime_module(distribution)
    interpreter = module.Interpreter(model_path=str(path))
    found = {}
    try:
        details = interpreter.get_tensor_details()
    except ValueError as cause:
        raise ModelError(
            f"{path} is damaged: {cause}", code="model_mismatch", path=str(path)
        ) from cause
    for detail in (d for d in details if d["name"].startswith(prefix)):
        with contextlib.suppress(ValueError):  # it is computed
            found[detail["name"]] = interpreter.get_tensor(detail["index"])
    return found


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep "INFO: Created TensorFlow Lite XNNPACK delegate" off stderr.

    The runtime writes it to the file descriptor; anything else is passed on, also what
    a delegate says, which `edgestem.devices.probe` has seen load before.
    """
    # A memory file needs no folder: boards run with all of / read-only.
    with _BORROWED, _memory_file() as heard:
        stderr = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            heard.seek(0)
            lines = [line for line in heard if not line.startswith(b"INFO: ")]
            if lines:
                os.write(2, b"".join(lines))


def _memory_file() -> BinaryIO:
    return os.fdopen(os.memfd_create("edgestem-chatter"), "w+b")


def n_partitions(
    path: Path, library: str, options: Mapping[str, str], distribution: str | None
) -> int:
    """Pieces of the model that a delegate takes; 0 means it does nothing."""
    module, _ = runtime_module(distribution)
    plain = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = module.Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=plain,
        experimental_delegates=[module.load_delegate(library, dict(options))],
    )
    # The only place that lists what a delegate has replaced; in both runtimes.
    details = interpreter._get_ops_details()
    return sum(op["op_name"] == "DELEGATE" for op in details)
