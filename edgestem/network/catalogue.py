"""The models that come with the package: their names and files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from edgestem.errors import ModelError


def models_dir() -> Path:
    """Folder of the models that come with the package."""
    spec = importlib.util.find_spec("_edgestem_models")
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(__file__).parents[2] / "models"


def model_path(model: str | Path) -> Path:
    """Turn a model's name or a path to a .tflite file into a path.

    Raises
    ------
    ModelError
        `model_not_found`: no model has this name.
    """
    text = str(model)
    if text.endswith(".tflite"):
        return Path(text)
    names = model_names()
    if text not in names:
        raise ModelError(
            f"there is no model {text[:80]!r}: name one of {', '.join(names)}, or a "
            ".tflite file",
            code="model_not_found",
            path=text,
        )
    return models_dir() / f"{text}.tflite"


def model_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.stem for path in models_dir().glob("*.json"))
