"""Sidecars: what is read, what is refused, and the tables made from them."""

from __future__ import annotations

import contextlib
import gc
import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgestem.errors import ModelError
from edgestem.network.model import open_on_cpu
from edgestem.network.reading import check_digest, read_config

DATA = Path(__file__).parent.parent / "data"


def copy_net(folder: Path, **changes: object) -> Path:
    path = folder / "tiny.tflite"
    shutil.copy(DATA / "tiny.tflite", path)
    data = json.loads((DATA / "tiny.json").read_text()) | changes
    path.with_suffix(".json").write_text(json.dumps(data))
    return path


def test_thresholds_are_the_inverse_of_the_compression() -> None:
    c = read_config(DATA / "tiny.tflite")
    power = np.geomspace(1e-9, 1e6, 5000)
    value = (np.sqrt(power) + c.compression_offset) ** c.compression_power
    value *= c.compression_pivot ** (1 - c.compression_power)
    exact = value / c.feature_scale + c.feature_zero_point
    codes = np.clip(np.round(exact), -128, 127)
    counted = -128 + np.searchsorted(c.thresholds(), power.astype(np.float32), "right")
    clear = np.abs(exact - np.floor(exact) - 0.5) > 1e-4
    assert np.array_equal(codes[clear], counted[clear])
    assert np.all(np.diff(c.thresholds()) >= 0)


def test_mask_table_runs_from_nothing_to_all() -> None:
    table = read_config(DATA / "tiny.tflite").mask_table()
    assert table.dtype == np.float32
    assert table[0] == 0.0
    assert table[255] == 1.0
    assert np.all(np.diff(table) > 0)


def test_bands_cover_bins_from_zero_upwards() -> None:
    c = read_config(DATA / "tiny.tflite")
    edges = c.band_edges()
    assert edges[0] == 0
    assert len(edges) == c.n_bands + 1
    assert np.all(np.diff(edges) > 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_fft": 1000, "hop": 300},
        {"synthesis_length": 384},
        {"synthesis_length": 2048},
        {"n_features": 4},
        {"bands": []},
        {"bands": [[69, 1], [-5, 1]]},
        {"bands": [[64, 2**31]]},
        {"left_context": 8},
        {"feature_scale": 0.0},
        {"bands": "all"},
        {"n_fft": None},
    ],
)
def test_nonsense_in_a_sidecar_is_a_model_mismatch(tmp_path: Path, changes) -> None:
    with pytest.raises(ModelError) as caught:
        read_config(copy_net(tmp_path, **changes))
    assert caught.value.code == "model_mismatch"
    assert "\n" not in str(caught.value)


def test_a_missing_model_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model file .*nothing\.tflite") as caught:
        open_on_cpu(tmp_path / "nothing.tflite")
    assert caught.value.code == "model_not_found"


def test_a_changed_model_file_is_refused(tmp_path: Path) -> None:
    path = copy_net(tmp_path)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ModelError, match="not the file its sidecar describes"):
        check_digest(read_config(path))


def test_a_tensor_whose_name_is_no_text_is_a_model_mismatch(tmp_path: Path) -> None:
    path = copy_net(tmp_path)
    net = path.read_bytes()
    path.write_bytes(net.replace(b"features", b"\xa6eatures"))
    with pytest.raises(ModelError) as caught:
        open_on_cpu(path)
    assert caught.value.code == "model_mismatch"


@pytest.mark.parametrize("changes", [{"frames_per_call": 16}, {"n_features": 3}])
def test_tensors_that_differ_from_the_sidecar_are_refused(tmp_path: Path, changes):
    with pytest.raises(ModelError) as caught:
        open_on_cpu(copy_net(tmp_path, **changes))
    assert caught.value.code == "model_mismatch"


def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    assert read_config(copy_net(tmp_path, colour="blue")).name == "tiny"


def test_without_descriptors_a_model_is_a_clear_refusal(tmp_path: Path) -> None:
    """What a daemon under attack runs into: it must be an error of ours."""
    path = copy_net(tmp_path)
    config = read_config(path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    gc.collect()  # what it found later would give descriptors back
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
        with contextlib.suppress(OSError):
            while True:
                held.append(path.open("rb"))
        for read in (lambda: read_config(path), lambda: check_digest(config)):
            with pytest.raises(ModelError, match="cannot be read: Too many open"):
                read()
    finally:
        for file in held:
            file.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
