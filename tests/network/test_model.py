"""Model: quantisation, states, and sidecars that do not fit."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgestem.errors import ModelError
from edgestem.network.catalogue import model_path, models_dir
from edgestem.network.compute import Compute
from edgestem.network.model import Model, open_on_cpu
from edgestem.network.reading import available_models, read_config

DATA = Path(__file__).parent.parent / "data"


def changed(folder: Path, model: str = "tiny", **fields: object) -> Path:
    """Copy a test model with other values in its sidecar."""
    path = folder / f"{model}.tflite"
    shutil.copy(DATA / path.name, path)
    data = json.loads((DATA / f"{model}.json").read_text())
    path.with_suffix(".json").write_text(json.dumps(data | fields))
    return path


def test_mask_codes_round_trip_within_half_a_step() -> None:
    config = read_config(DATA / "tiny.tflite")
    gains = np.linspace(0, 1, 999)
    codes = np.round(gains * 255).astype(int)  # 0..255 are codes -128..127
    assert np.abs(config.mask_table()[codes] - gains).max() <= 0.5 / 255 + 1e-6


def test_feature_thresholds_invert_the_compression() -> None:
    c = read_config(DATA / "tiny.tflite")
    magnitude = np.geomspace(1e-4, 1e3, 500)
    p, pivot = c.compression_power, c.compression_pivot
    value = (magnitude + c.compression_offset) ** p * pivot ** (1 - p)
    exact = value / c.feature_scale + c.feature_zero_point
    power = (magnitude**2).astype(np.float32)
    codes = np.searchsorted(c.thresholds(), power, side="right") - 128
    inside = (exact > -127) & (exact < 126)
    assert np.abs(codes - exact)[inside].max() <= 0.5 + 1e-3


def run(model: Model, rng: np.random.Generator) -> np.ndarray:
    view = model.features()
    view[...] = rng.integers(-128, 128, view.shape)
    del view  # a view must not outlive the next call
    model.invoke()
    return np.array(model.mask())


def test_reset_is_as_good_as_new() -> None:
    model, other = (open_on_cpu(DATA / "stateful1.tflite") for _ in range(2))
    first = [run(model, rng) for rng in [np.random.default_rng(0)] for _ in range(9)]
    model.reset()
    again = [run(model, rng) for rng in [np.random.default_rng(0)] for _ in range(9)]
    new = [run(other, rng) for rng in [np.random.default_rng(0)] for _ in range(9)]
    assert np.array_equal(first, again) and np.array_equal(first, new)


def test_states_carry_the_past() -> None:
    model = open_on_cpu(DATA / "stateful1.tflite")
    silence, loud = np.int8(-128), np.int8(60)
    masks = []
    for past in (silence, loud):
        model.reset()
        for value in (past, past, silence):
            model.features()[...] = value
            model.invoke()
        masks.append(np.array(model.mask()))
    assert not np.array_equal(*masks)


def test_frames_per_call_do_not_change_the_masks() -> None:
    rng = np.random.default_rng(5)
    features = rng.integers(-128, 128, (64, 64, 3)).astype(np.int8)
    results = []
    for n in (1, 2, 8, 64):
        model = open_on_cpu(DATA / f"stateful{n}.tflite")
        masks = []
        for at in range(0, 64, n):
            model.features()[...] = features[at : at + n]
            model.invoke()
            masks.append(np.array(model.mask()))
        results.append(np.concatenate(masks))
    for other in results[1:]:
        assert np.array_equal(results[0], other)


@pytest.mark.parametrize("views", [2, 3, 6])
def test_views_of_a_frame_are_averaged(tmp_path: Path, views: int) -> None:
    """A call moves on by a share of what it masks; so does what its masks add to."""
    one = open_on_cpu(changed(tmp_path, right_context=1))
    (tmp_path / "more").mkdir()
    more = open_on_cpu(changed(tmp_path / "more", right_context=1, views=views))
    group, n_calls = 6 // views, 9
    assert (one.config.group, more.config.group) == (6, group)
    assert one.config.frames_ahead + 6 == more.config.frames_ahead + group == 7
    rng = np.random.default_rng(7)
    features = rng.integers(-128, 128, (8 + n_calls * group, 64, 2)).astype(np.int8)
    for _ in range(2):
        heard = np.zeros((n_calls * group + 6, 64, 2), int)
        for call in range(n_calls):
            at = call * group
            for model in (one, more):
                model.features()[...] = features[at : at + 8]
                model.invoke()
            masks = one.mask().astype(int)
            heard[at : at + 6] += masks
            if call == 0:  # it stands for the calls that were not
                for i in range(views):
                    rows = slice(i * group, (i + 1) * group)
                    heard[rows] += (views - 1 - i) * masks[rows]
            expected = heard[at : at + group] // views
            assert np.array_equal(more.mask(), expected)
        more.reset()  # what an earlier stream heard does not count


def heard(model: Model, magnitudes: np.ndarray) -> np.ndarray:
    model.features()[...] = magnitudes
    model.invoke()
    return model.mask().astype(int)


@pytest.mark.parametrize("views", [1, 2])
def test_two_networks_say_the_mean_of_a_mask_and_of_what_the_other_leaves(
    tmp_path: Path, views: int
) -> None:
    for name in ("front", "rest", "pair"):
        for path in DATA.glob(f"{name}.*"):
            shutil.copy(path, tmp_path)
    alone = {"file": "rest.tflite", "sha256": sha256(DATA / "rest.tflite")}
    about = json.loads((DATA / "front.json").read_text())
    (tmp_path / "rest.json").write_text(json.dumps(about | alone))
    pair = json.loads((DATA / "pair.json").read_text()) | {"views": views}
    (tmp_path / "pair.json").write_text(json.dumps(pair))
    vocals, rest, both = (
        open_on_cpu(tmp_path / f"{name}.tflite") for name in ("front", "rest", "pair")
    )
    rng = np.random.default_rng(0)
    earlier = None
    for _ in range(3):
        x = rng.exponential(1.0, (8, 64, 2)).astype(np.float32)
        sung, left = heard(vocals, x), -1 - heard(rest, x)
        assert sung.std() > 5 < left.std()
        if views == 1:
            assert np.array_equal(heard(both, x), (sung + left) // 2)
            continue
        first, later = np.split(sung + left, 2)
        sums = 2 * first if earlier is None else first + earlier
        assert np.array_equal(heard(both, x), sums // 4)
        earlier = later


@pytest.mark.parametrize("threads", [1, 2])
def test_who_gives_way_is_asked_between_two_networks(threads: int) -> None:
    x = np.random.default_rng(0).exponential(1.0, (8, 64, 2)).astype(np.float32)
    model = open_on_cpu(DATA / "pair.tflite", Compute(device="cpu", threads=threads))
    at_once, pauses = heard(model, x), list[int]()
    model.reset()
    model.pause = lambda: pauses.append(1)
    assert np.array_equal(heard(model, x), at_once)
    assert len(pauses) == 1


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "fields", "said", "code"),
    [
        ("tiny", {"levels": 2}, "no kernel of level 0", "model_mismatch"),
        ("front", {"levels": 0}, "no int8 tensor 'features'", "model_mismatch"),
        ("front", {"levels": 3}, "no kernel of level 2", "model_mismatch"),
        ("front", {"levels": 1}, "no int8 tensor 'r0'", "model_mismatch"),
        ("front", {"levels": 5}, "levels makes no sense", "model_mismatch"),
        ("front", {"slope": 2.0}, "slope makes no sense", "model_mismatch"),
        ("front", {"n_features": 3}, "no kernel of level 0", "model_mismatch"),
        ("front", {"rest_file": "front.tflite"}, "rest_sha256 makes", "model_mismatch"),
        (
            "front",
            {"rest_file": "gone.tflite", "rest_sha256": "0" * 64},
            "no model file .*gone.tflite",
            "model_not_found",
        ),
        (
            "front",
            {"rest_file": "../front.tflite", "rest_sha256": "0" * 64},
            "front.tflite is not the file its sidecar describes",
            "model_mismatch",
        ),
    ],
)
def test_levels_and_a_second_network_must_fit(
    tmp_path: Path, name: str, fields: dict[str, object], said: str, code: str
) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        open_on_cpu(changed(tmp_path, name, **fields))
    assert caught.value.code == code


def test_a_second_network_is_part_of_what_names_a_model() -> None:
    front, pair = (read_config(DATA / f"{name}.tflite") for name in ("front", "pair"))
    assert front.digest != pair.digest
    assert [path.name for path, _ in pair.files] == ["front.tflite", "rest.tflite"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"frames_per_call": 9}, r"features is \(1, 8, 64, 2\), not \(1, 9, 64, 2\)"),
        ({"n_features": 3}, "features is"),
        ({"states": [["a", "b"]]}, "no int8 tensor 'a'"),
        ({"sha256": "0" * 64}, "is not the file its sidecar describes"),
        ({"hop": 0}, "the sidecar's hop makes no sense"),
        ({"views": 2}, "the sidecar's views makes no sense"),
        ({"views": 4, "right_context": 1}, "the sidecar's views makes no sense"),
        ({"target_rms_db": [-21.0, 3.0]}, "the sidecar's target_rms_db makes no sense"),
        ({"past_s": -1.0}, "the sidecar's past_s makes no sense"),
        ({"past_s": 61}, "the sidecar's past_s makes no sense"),
    ],
)
def test_sidecar_that_does_not_fit_is_a_model_error(
    tmp_path: Path, fields: dict[str, object], said: str
) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        open_on_cpu(changed(tmp_path, **fields))
    assert caught.value.code == "model_mismatch"
    assert "tiny" in caught.value.path


def test_a_sidecar_may_use_another_models_network(tmp_path: Path) -> None:
    tiny = changed(tmp_path, right_context=1, views=2)
    data = json.loads(tiny.with_suffix(".json").read_text())
    other = tmp_path / "other.json"
    other.write_text(
        json.dumps(data | {"name": "other", "views": 1, "file": tiny.name})
    )
    model = open_on_cpu(other.with_suffix(".tflite"))
    assert (model.config.name, model.config.path) == ("other", tiny)
    assert model.config.digest != read_config(tiny).digest
    brief = tmp_path / "brief.json"
    brief.write_text(json.dumps({"name": "other", "views": 1, "file": tiny.name}))
    said = read_config(brief.with_suffix(".tflite"))
    assert said == replace(model.config, model=brief.with_suffix(".tflite"))
    for name, code in (("none.tflite", "model_not_found"), (7, "model_mismatch")):
        other.write_text(json.dumps(data | {"file": name}))
        with pytest.raises(ModelError) as caught:
            read_config(other.with_suffix(".tflite"))
        assert caught.value.code == code


def test_missing_model_is_a_model_error() -> None:
    with pytest.raises(ModelError) as caught:
        open_on_cpu("no such model")
    assert caught.value.code == "model_not_found"


def test_models_by_name_and_by_path() -> None:
    assert model_path("karaoke") == models_dir() / "karaoke.tflite"
    assert model_path("/a/b.tflite") == Path("/a/b.tflite")
    names = {config.name for config in available_models()}
    assert not any(name.endswith("_edgetpu") for name in names)
