"""Every Edge TPU rule, once broken and once kept; reports of whole files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgestem.errors import ModelError
from edgestem.lint import graph as reader
from edgestem.lint.edgetpu import ERROR, RULES, SUPPORTED, WARNING
from edgestem.lint.graph import Op, Tensor, read_graph
from edgestem.lint.report import check, lint, to_lines

DATA = Path(__file__).parent.parent / "data"
MODELS = Path(__file__).parent.parent.parent / "models"


def tensor(*shape: int, dtype: str = "INT8", scale: float = 0.1, **more: Any) -> Tensor:
    return Tensor("t", shape, **{"is_static": True, "data": b""} | more,
                  dtype=dtype, scale=scale)  # fmt: skip


def constant(*values: int) -> Tensor:
    data = np.array(values, np.int32).tobytes()
    return tensor(len(values), dtype="INT32", scale=0.0, data=data)


X = tensor(1, 8, 16, 4)
KERNEL = tensor(4, 3, 3, 4, data=b"w")


def op(name: str, *inputs: Tensor, out: Tensor = X, **options: Any) -> Op:
    return Op(0, name, inputs or (X,), (out,), options)


# (what is broken, an operator that breaks it)
BROKEN = [
    ("a shape is not fixed", op("ADD", X, tensor(1, 8, 16, 4, is_static=False))),
    ("3 innermost", op("ADD", X, tensor(2, 8, 16, 4))),
    ("not 8-bit", op("ADD", X, tensor(1, 8, 16, 4, dtype="INT16"))),
    ("not 8-bit", op("LOGISTIC", out=tensor(1, 8, dtype="FLOAT32"))),
    ("the kernel is computed", op("CONV_2D", X, tensor(4, 3, 3, 4))),
    (
        "dilation differs",
        op("CONV_2D", X, KERNEL, DilationHFactor=2, DilationWFactor=1),
    ),
    ("logs show it left out at many", op("TRANSPOSE_CONV", X, KERNEL, X)),
    ("align_corners", op("RESIZE_BILINEAR", X, HalfPixelCenters=True)),
    ("large maps", op("RESIZE_NEAREST_NEIGHBOR", X, out=tensor(1, 1024, 1024, 2))),
    ("fused activation", op("CONCATENATION", X, X, FusedActivationFunction=1)),
    ("must be all zeros", op("CONCATENATION", X, tensor(1, 8, 16, 4, data=b"\1"))),
    ("different scale", op("CONCATENATION", X, tensor(1, 8, 16, 4, scale=0.2))),
    ("pads the batch", op("PAD", X, constant(1, 0, 0, 0, 0, 0, 0, 0))),
    ("splits the batch", op("SPLIT", constant(0), X)),
    ("packs along the batch", op("PACK", X, Axis=0)),
    ("reduces the batch", op("MEAN", X, constant(0, 1))),
    ("multiple of 4", op("SUM", tensor(1, 8, 16, 6), constant(3))),
    ("shuffled", op("FULLY_CONNECTED", X, KERNEL, WeightsFormat=1)),
    ("more than one dimension", op("FULLY_CONNECTED", X, KERNEL)),
    ("only over one dimension", op("SOFTMAX")),
    ("strides other", op("STRIDED_SLICE", X, *[constant(1)] * 2, constant(1, 2))),
    ("ellipsis", op("STRIDED_SLICE", X, *[constant(1)] * 3, EllipsisMask=1)),
    ("large reshapes", op("RESHAPE", X, out=tensor(1, 2**21))),
    ("since runtime 14", op("TRANSPOSE")),
    ("has no LEAKY_RELU; use RELU", op("LEAKY_RELU")),
    ("has no DEPTH_TO_SPACE", op("DEPTH_TO_SPACE")),
    ("has no FlexFFT", op("FlexFFT")),
]


@pytest.mark.parametrize(("said", "broken"), BROKEN, ids=[said for said, _ in BROKEN])
def test_broken_rules_are_found(said: str, broken: Op) -> None:
    assert any(said in finding.text for finding in check(broken))


def test_every_rule_has_an_operator_that_breaks_it() -> None:
    said = " ".join(f.text for _, broken in BROKEN for f in check(broken))
    for rule in RULES:
        assert rule.text in said
        assert rule.level in (ERROR, WARNING)
        assert set(rule.ops) <= SUPPORTED


def test_kept_rules_say_nothing() -> None:
    for good in (
        op("CONV_2D", X, KERNEL, DilationHFactor=2, DilationWFactor=2),
        op("CONCATENATION", X, X, FusedActivationFunction=0),
        op("CONCATENATION", X, tensor(1, 8, 16, 4, data=b"\0\0")),
        op("PAD", X, constant(0, 0, 1, 1, 1, 1, 0, 0)),
        op("MEAN", X, constant(1, 2)),
        op("FULLY_CONNECTED", X, KERNEL, out=tensor(1, 12)),
        op("SOFTMAX", tensor(1, 16)),
        op("STRIDED_SLICE", X, *[constant(1)] * 3),
        op("RESIZE_NEAREST_NEIGHBOR", X, AlignCorners=False),
    ):
        assert check(good) == []


def test_macs_by_hand() -> None:
    conv = op("CONV_2D", X, KERNEL)
    assert conv.macs == 8 * 16 * 4 * 3 * 3 * 4
    up = op("TRANSPOSE_CONV", constant(1), KERNEL, X, out=tensor(1, 16, 32, 4))
    assert up.macs == conv.macs  # each input pixel meets the whole kernel
    depth = op("DEPTHWISE_CONV_2D", X, tensor(1, 3, 3, 4, data=b"w"))
    assert depth.macs == 8 * 16 * 4 * 9
    dense = op("FULLY_CONNECTED", X, tensor(12, 512, data=b"w"), out=tensor(1, 12))
    assert dense.macs == 12 * 512
    assert op("ADD").macs == 0


# ---- whole files ------------------------------------------------------------


@pytest.fixture(params=reader.SCHEMAS)
def schema(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read with each of the schemas that are installed."""
    pytest.importorskip(request.param)
    monkeypatch.setattr(reader, "SCHEMAS", (request.param,))


@pytest.mark.usefixtures("schema")
@pytest.mark.parametrize("name", ["stateful1", "stateful64", "tiny"])
def test_small_nets_lint_clean(name: str) -> None:
    report = lint(DATA / f"{name}.tflite")
    assert report.is_clean
    assert report.share == 1.0
    assert report.n_on_tpu == len(report.graph.ops)
    assert 0 < report.weight_bytes < 9000
    assert to_lines(report)[-1].startswith(f"{name}.tflite: clean by the published")


@pytest.mark.usefixtures("schema")
def test_file_is_read_as_written() -> None:
    conv, _, last = read_graph(DATA / "tiny.tflite").ops
    assert conv.name == "CONV_2D"
    assert conv.inputs[0].shape == (1, 8, 64, 2)
    assert conv.inputs[1].shape == (8, 3, 3, 2)
    assert conv.options["FusedActivationFunction"] == 1
    assert conv.options["StrideH"] == 1
    assert conv.macs == 8 * 64 * 8 * 3 * 3 * 2
    assert last.name == "LOGISTIC"
    assert last.outputs[0].scale == pytest.approx(1 / 256)


@pytest.mark.usefixtures("schema")
def test_shipped_models_are_reported_as_they_are() -> None:
    for path in MODELS.glob("*.tflite"):
        report = lint(path)
        assert report.macs > 0
        assert report.to_json()["operators"] == len(report.graph.ops)


@pytest.mark.usefixtures("schema")
@pytest.mark.parametrize("data", [b"", b"RIFF0000", b"\0\0\0\0TFL3", b"\xff" * 99])
def test_damaged_files_are_model_errors(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="is damaged or no"):
        lint(path)


@pytest.mark.usefixtures("schema")
def test_truncated_files_are_model_errors(tmp_path: Path) -> None:
    data = (DATA / "tiny.tflite").read_bytes()
    path = tmp_path / "x.tflite"
    for n in range(8, len(data) - 64, 41):
        path.write_bytes(data[:n])
        with pytest.raises(ModelError):
            lint(path)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tflite", "ai_edge_litert", "ai_edge_litert.schema_py_generated"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModelError, match="pip install tflite") as caught:
        lint(DATA / "tiny.tflite")
    assert caught.value.code == "runtime_missing"


def test_missing_file_is_a_model_error(tmp_path: Path) -> None:
    pytest.importorskip("tflite")
    with pytest.raises(ModelError, match="No such file") as caught:
        lint(tmp_path / "x.tflite")
    assert caught.value.code == "model_not_found"
