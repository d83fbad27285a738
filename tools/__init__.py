"""Training, export, evaluation and benchmarks; run as `python -m tools.NAME`."""

from __future__ import annotations

import sys
from types import TracebackType

# Which extra of pyproject.toml brings a module; the rest comes with `train`.
_EXTRAS = {"pyfftw": "fftw", "tflite": "lint", "tensorflow": "teacher", "cffi": ""}


def _explain(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Say which extra is missing; anything else is a traceback as ever."""
    name = (getattr(error, "name", None) or "").split(".")[0]
    if not isinstance(error, ModuleNotFoundError) or name in ("tools", "edgestem"):
        sys.__excepthook__(kind, error, trace)
        return
    extra = _EXTRAS.get(name, "train")
    what = f'".[{extra}]"' if extra else "."
    print(f"{name} is not installed: pip install -e {what}", file=sys.stderr)


if sys.argv[:1] == ["-m"]:  # python -m tools.NAME, before NAME is imported
    sys.excepthook = _explain
