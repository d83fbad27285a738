"""A model's sidecar and files, read and compared with their digests."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgestem.errors import ModelError
from edgestem.network.catalogue import model_names, models_dir
from edgestem.network.sidecar import ModelConfig

_PIECE = 1 << 18  # bytes


def read_config(path: Path) -> ModelConfig:
    """Read the sidecar of a model.

    Parameters
    ----------
    path : Path
        `<name>.tflite`; the sidecar is `<name>.json` and may name another .tflite
        file beside it.  What it does not say, that file's own sidecar does.

    Raises
    ------
    ModelError
        The model or its sidecar is missing, or a field is wrong.
    """
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        raise _not_found(sidecar if path.is_file() else path)
    try:
        data = _fields(read_file(sidecar))
        network = path.with_name(Path(data.get("file") or path.name).name)
        if not network.is_file():
            raise _not_found(network)
        shared = network.with_suffix(".json")
        if network != path and shared.is_file():
            data = _fields(read_file(shared)) | data
        data["rest_file"] = Path(data.get("rest_file") or "").name
        if data["rest_file"] and not path.with_name(data["rest_file"]).is_file():
            raise _not_found(path.with_name(data["rest_file"]))
        data["bands"] = tuple((int(c), int(w)) for c, w in data["bands"])
        data["states"] = tuple((str(a), str(b)) for a, b in data["states"])
        data["target_rms_db"] = _levels(data["target_rms_db"])
        known = {f.name for f in fields(ModelConfig)} - {"path", "model"}
        kept = {k: v for k, v in data.items() if k in known}
        return ModelConfig(**kept, path=network, model=path)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as cause:
        raise ModelError(
            f"{sidecar} is not a sidecar of this version: {cause}",
            code="model_mismatch",
            path=str(sidecar),
        ) from cause


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


def _fields(text: bytes) -> dict[str, Any]:
    data = json.loads(text)
    if not isinstance(data, dict):
        raise TypeError(f"expected an object, got {type(data).__name__}")
    return data


def _levels(value: Any) -> tuple[float, ...]:
    """One level, a list of them, or null for none."""
    if value is None:
        return ()
    return tuple(float(v) for v in (value if isinstance(value, list) else [value]))


def _not_found(path: Path) -> ModelError:
    return ModelError(
        f"no model file {path}; `edgestem info` lists the models",
        code="model_not_found",
        path=str(path),
    )


def check_digest(config: ModelConfig) -> None:
    """Compare the .tflite files with the digests in their sidecar."""
    for path, sha256 in config.files:
        if _sha256(path) != sha256:
            raise ModelError(
                f"{path} is not the file its sidecar describes; reinstall the model",
                code="model_mismatch",
                path=str(path),
            )


def _sha256(path: Path) -> str:
    """Digest of a file, read in pieces: it is as large as a network."""
    found = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                found.update(piece)
    except OSError as cause:
        raise _unreadable(path, cause) from cause
    return found.hexdigest()


def read_file(path: Path) -> bytes:
    """Read one of a model's files; a daemon may have no descriptor left for it."""
    try:
        return path.read_bytes()
    except OSError as cause:
        raise _unreadable(path, cause) from cause


def _unreadable(path: Path, cause: OSError) -> ModelError:
    return ModelError(
        f"{path} cannot be read: {cause.strerror}",
        code="model_not_found",
        path=str(path),
    )
