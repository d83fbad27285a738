"""What is in a .tflite file: operators, tensors, options, work.

Read with the generated schema of the `tflite` package or of ai-edge-litert; this
module is the only one that knows it.  A file of more than one subgraph is told
(`Graph.n_subgraphs`), but only the first one is read.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgestem.errors import ModelError
from edgestem.missing import way_to_install

# What the accessors raise, or trip over, on a file that is cut or no model.
_DAMAGE = (
    AttributeError, LookupError, MemoryError, TypeError, ValueError, struct.error
)  # fmt: skip
SCHEMAS = ("tflite", "ai_edge_litert.schema_py_generated")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file."""

    name: str
    shape: tuple[int, ...]
    is_static: bool
    """Its shape is a constant of the file."""
    dtype: str
    """The schema's word: INT8, FLOAT32 ..."""
    scale: float
    """First scale; 0.0: not quantised."""
    data: bytes
    """Of a constant; empty: computed."""

    @property
    def n_values(self) -> int:
        """Values it holds."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes it takes."""
        return self.n_values * _WIDTHS.get(self.dtype, 4)

    def integers(self) -> list[int]:
        """Values of an int32 constant; empty if it is computed."""
        if self.dtype != "INT32":
            return []
        return [int(v) for v in np.frombuffer(self.data, np.int32)]


_WIDTHS = {"INT8": 1, "UINT8": 1, "BOOL": 1, "INT16": 2, "FLOAT16": 2, "INT64": 8}


@dataclass(frozen=True, slots=True)
class Op:
    """One operator, in the order of execution."""

    index: int
    name: str
    """The schema's word: CONV_2D ..., or the name of a custom operator."""
    inputs: tuple[Tensor, ...]
    """Without those that were left out."""
    outputs: tuple[Tensor, ...]
    options: dict[str, Any]
    """The schema's names: StrideH, FusedActivationFunction ..."""

    @property
    def computed(self) -> list[Tensor]:
        """Inputs that are no constants, then the outputs."""
        return [t for t in self.inputs if not t.data] + list(self.outputs)

    @property
    def weight_bytes(self) -> int:
        """Constants it reads: kernels and biases, not the sizes of a reshape."""
        return sum(t.n_bytes for t in self.inputs if t.data and t.scale)

    @property
    def macs(self) -> int:
        """Multiplications with accumulation in one call."""
        return _macs(self)


@dataclass(frozen=True, slots=True)
class Graph:
    """A model file."""

    path: Path
    n_subgraphs: int
    ops: tuple[Op, ...]


def _macs(op: Op) -> int:
    if op.name == "TRANSPOSE_CONV":  # every input pixel meets the whole kernel
        kernel, x = op.inputs[1], op.inputs[2]
        return math.prod(x.shape[1:3]) * kernel.n_values
    if op.name == "CONV_2D":
        return math.prod(op.outputs[0].shape[:-1]) * op.inputs[1].n_values
    if op.name == "DEPTHWISE_CONV_2D":
        return op.outputs[0].n_values * math.prod(op.inputs[1].shape[1:3])
    if op.name == "FULLY_CONNECTED":
        n_rows = op.outputs[0].n_values // max(op.inputs[1].shape[0], 1)
        return n_rows * op.inputs[1].n_values
    return 0


def _schema() -> Any:
    for name in SCHEMAS:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise ModelError(
        "reading .tflite files needs a schema: "
        + way_to_install("tflite", debian="python3-flatbuffers"),
        code="runtime_missing",
    )


def read_graph(path: Path) -> Graph:
    """Read a .tflite file.

    Raises
    ------
    ModelError
        No such file, not a .tflite file, or the extra is not installed.
    """
    schema = _schema()
    try:
        data = path.read_bytes()
    except OSError as cause:
        text = f"{path} cannot be read: {cause.strerror}"
        raise ModelError(text, code="model_not_found", path=str(path)) from cause
    if data[4:8] != b"TFL3":
        raise _damaged(path)
    try:
        return _Reader(schema, data).graph(path)
    except _DAMAGE as cause:
        raise _damaged(path) from cause


def _damaged(path: Path) -> ModelError:
    return ModelError(
        f"{path} is damaged or no .tflite file", code="model_mismatch", path=str(path)
    )


class _Reader:
    """Turns the schema's accessors into plain data."""

    def __init__(self, schema: Any, data: bytes) -> None:
        self.schema = schema
        self.model = schema.Model.GetRootAs(data, 0)
        self.op_names = _words(schema.BuiltinOperator)
        self.type_names = _words(schema.TensorType)
        self.option_names = _words(schema.BuiltinOptions)

    def graph(self, path: Path) -> Graph:
        graph = self.model.Subgraphs(0)
        tensors = [self.tensor(graph.Tensors(i)) for i in range(graph.TensorsLength())]
        n_ops = graph.OperatorsLength()
        ops = tuple(self.op(i, graph.Operators(i), tensors) for i in range(n_ops))
        return Graph(path, self.model.SubgraphsLength(), ops)

    def tensor(self, t: Any) -> Tensor:
        shape = [t.Shape(i) for i in range(t.ShapeLength())]
        signature = [t.ShapeSignature(i) for i in range(t.ShapeSignatureLength())]
        buffer = self.model.Buffers(t.Buffer())
        q = t.Quantization()
        return Tensor(
            name=(t.Name() or b"").decode(errors="replace"),
            shape=tuple(shape),
            is_static=min([1, *shape, *signature]) > 0,
            dtype=self.type_names[t.Type()],
            scale=q.Scale(0) if q is not None and q.ScaleLength() else 0.0,
            data=buffer.DataAsNumpy().tobytes() if buffer.DataLength() else b"",
        )

    def op(self, index: int, op: Any, tensors: list[Tensor]) -> Op:
        code = self.model.OperatorCodes(op.OpcodeIndex())
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        name = self.op_names[number]
        if name == "CUSTOM":
            name = (code.CustomCode() or b"CUSTOM").decode(errors="replace")
        inputs = [op.Inputs(i) for i in range(op.InputsLength())]
        return Op(
            index=index,
            name=name,
            inputs=tuple(tensors[i] for i in inputs if i >= 0),
            outputs=tuple(tensors[op.Outputs(i)] for i in range(op.OutputsLength())),
            options=self.options(op),
        )

    def options(self, op: Any) -> dict[str, Any]:
        """Return every scalar option by the schema's name."""
        kind = self.option_names.get(op.BuiltinOptionsType(), "NONE")
        if kind == "NONE":
            return {}
        cls, table = getattr(self.schema, kind), op.BuiltinOptions()
        options = cls()
        options.Init(table.Bytes, table.Pos)
        getters = {
            name: function
            for name, function in vars(cls).items()
            if name[0].isupper() and getattr(function, "__code__", None) is not None
        }
        return {
            name: function(options)
            for name, function in getters.items()
            if function.__code__.co_argcount == 1
        }


def _words(enum: Any) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int)}
