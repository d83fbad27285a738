"""The models that come with the package: their names, files and sidecars."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

from edgestem.errors import ModelError
from edgestem.network.reading import read_config
from edgestem.network.sidecar import ModelConfig

DEFAULT = "karaoke"
LIVE_DEFAULT = "live"  # the default where somebody plays along


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


def available_models() -> list[ModelConfig]:
    """Sidecars of the models that come with the package, by name.

    A damaged one, or one without its .tflite file, is left out with a RuntimeWarning.
    """
    found = (_read_or_warn(models_dir() / f"{name}.tflite") for name in model_names())
    return [config for config in found if config is not None]


def _read_or_warn(path: Path) -> ModelConfig | None:
    try:
        return read_config(path)
    except ModelError as error:
        text = f"{path.stem} is left out: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=4)
        return None
