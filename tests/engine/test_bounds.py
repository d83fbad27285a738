"""What a user may get wrong about models, threads and devices is one sentence."""

from __future__ import annotations

import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgestem
from edgestem import ModelError
from edgestem.live.realtime import prepare_thread
from edgestem.network.geometry import Geometry
from edgestem.network.model import open_on_cpu
from edgestem.network.reading import available_models, read_config
from edgestem.spectrum.spectral import Spectral

DATA = Path(__file__).parent.parent / "data"
VALUES = (None, True, "", "x", [], {}, [[]], 0, -1, 1e300, float("nan"), 10**30)


@pytest.mark.parametrize("key", sorted(json.loads((DATA / "tiny.json").read_text())))
def test_a_sidecar_is_a_config_or_a_model_error(key: str, tmp_path: Path) -> None:
    shutil.copy(DATA / "tiny.tflite", tmp_path)
    about = json.loads((DATA / "tiny.json").read_text())
    for value in VALUES:
        (tmp_path / "tiny.json").write_text(json.dumps(about | {key: value}))
        try:
            config = read_config(tmp_path / "tiny.tflite")
        except ModelError as error:
            assert error.code in ("model_mismatch", "model_not_found")
        else:
            Spectral(Geometry.of(config, 44100).tables(config, 2), backend="numpy")


@pytest.mark.parametrize("text", ["[]", "1", "null", "[" * 100_000, "\xff"])
def test_a_sidecar_that_is_no_object_is_said(text: str, tmp_path: Path) -> None:
    shutil.copy(DATA / "tiny.tflite", tmp_path)
    (tmp_path / "tiny.json").write_text(text, "latin-1")
    with pytest.raises(ModelError, match=r"tiny\.json"):
        read_config(tmp_path / "tiny.tflite")


@pytest.mark.parametrize("threads", [0, -3, 100_000, 99_999_999_999, 1.5])
def test_threads_have_bounds(threads: object, tiny_model: Path) -> None:
    with pytest.raises(edgestem.EdgestemError, match="threads: expected 1 to 64"):
        edgestem.Separator(44100, 2, model=tiny_model, threads=threads)


def test_a_lost_device_is_a_model_error(tiny_model: Path) -> None:
    class Unplugged:
        def invoke(self) -> None:
            raise RuntimeError("Node number 3 failed to invoke.")

    model = open_on_cpu(tiny_model)
    model._networks[0]._interpreter = Unplugged()
    with pytest.raises(ModelError, match="Node number 3") as caught:
        model.invoke()
    assert caught.value.code == "device_lost"


def test_models_loaded_at_once_leave_stderr_alone(tiny_model: Path) -> None:
    before = os.stat(2)

    def load() -> None:
        for _ in range(10):
            open_on_cpu(tiny_model)

    crew = [threading.Thread(target=load) for _ in range(4)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    after = os.stat(2)
    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)


def test_a_model_loads_without_a_temporary_folder(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    assert np.isfinite(open_on_cpu(tiny_model).mask()).all()


@pytest.mark.parametrize("cpu", [-1, 10**20])
def test_a_core_that_cannot_be_is_told(cpu: int) -> None:
    told: list[str] = []
    prepare_thread(0, cpu, told.append)
    assert f"not on core {cpu}" in told[0]


@pytest.mark.parametrize(
    ("field", "is_other"),
    [("max_gain_db", 1), ("mask_scale", 1), ("lookahead_frames", 1), ("licence", 0)],
)
def test_a_digest_names_all_that_changes_samples(field: str, is_other: bool) -> None:
    config = read_config(DATA / "tiny.tflite")
    value = getattr(config, field)
    other = replace(config, **{field: value + ("x" if field == "licence" else 1)})
    assert (other.digest != config.digest) == is_other


def test_a_separator_closes_at_the_end_of_with(tiny_model: Path) -> None:
    with edgestem.Separator(44100, 2, model=tiny_model) as separator:
        assert "tiny: 44100 Hz, 2 channels" in repr(separator)
    with pytest.raises(edgestem.StreamClosed):
        separator.push(np.zeros((1, 2), np.float32))


def test_a_sidecar_without_its_network_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for suffix in (".json", ".tflite"):
        shutil.copy(DATA / f"tiny{suffix}", tmp_path)
    shutil.copy(DATA / "tiny.json", tmp_path / "alone.json")
    for module in ("catalogue", "reading"):
        monkeypatch.setattr(f"edgestem.network.{module}.models_dir", lambda: tmp_path)
    with pytest.warns(RuntimeWarning, match="alone is left out"):
        assert [c.name for c in available_models()] == ["tiny"]
