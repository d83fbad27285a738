"""Write .tflite files directly: every scale is ours, so a trained int8 net stays it.

The usual converter decides on scales by itself; here quantisation-aware training
decides, and the T variants of a stateful net share one set to the last digit.
`Graph` collects tensors and operators in order; activations are NHWC =
(1, n_frames, n_bands, channels).  The flatbuffer schema is ai-edge-litert's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = {
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
}
NONE = schema.ActivationFunctionType.NONE
RELU = schema.ActivationFunctionType.RELU


@dataclass(frozen=True)
class Quant:
    """Affine int8: real = scale * (code - zero_point)."""

    scale: float
    zero_point: int


def quant_for(low: float, high: float) -> Quant:
    """Affine int8 covering [low, high], with 0 exactly representable."""
    low, high = min(low, 0.0), max(high, 1e-6)
    scale = float(np.float32((high - low) / 255))
    return Quant(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


@dataclass
class Tensor:
    index: int
    shape: tuple[int, ...]
    quant: Quant | None


class Graph:
    """A model under construction; `quantised` decides between int8 and float."""

    def __init__(self, description: str) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = description
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self._buffers: dict[bytes, int] = {}
        self.graph = schema.SubGraphT()
        self.graph.name = "main"
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.subgraphs = [self.graph]

    # ---- tensors ------------------------------------------------------------

    def _add(self, name: str, shape, dtype, buffer: int, quantization) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name, list(shape)
        tensor.type, tensor.buffer = TYPES[np.dtype(dtype)], buffer
        tensor.quantization = quantization
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def activation(self, name: str, shape, quant: Quant | None) -> Tensor:
        """A tensor that is computed; int8 when it has a Quant, else float32."""
        parameters = None
        if quant is not None:
            parameters = schema.QuantizationParametersT()
            parameters.scale = [quant.scale]
            parameters.zeroPoint = [quant.zero_point]
        dtype = np.float32 if quant is None else np.int8
        index = self._add(name, shape, dtype, 0, parameters)
        return Tensor(index, tuple(shape), quant)

    def constant(self, name: str, data: np.ndarray, scales=None, axis: int = 0) -> int:
        """A constant, per-channel quantised along `axis` when scales are given."""
        index = self._buffer(np.ascontiguousarray(data).tobytes())
        parameters = None
        if scales is not None:
            parameters = schema.QuantizationParametersT()
            parameters.scale = [float(s) for s in np.atleast_1d(scales)]
            parameters.zeroPoint = [0] * len(parameters.scale)
            parameters.quantizedDimension = axis
        return self._add(name, data.shape, data.dtype, index, parameters)

    def _buffer(self, data: bytes) -> int:
        """Index of a buffer with this content; equal constants share one."""
        if data not in self._buffers:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data, np.uint8)
            self.model.buffers.append(buffer)
            self._buffers[data] = len(self.model.buffers) - 1
        return self._buffers[data]

    def input(self, name: str, shape, quant: Quant | None) -> Tensor:
        tensor = self.activation(name, shape, quant)
        self.graph.inputs.append(tensor.index)
        return tensor

    def output(self, tensor: Tensor) -> None:
        self.graph.outputs.append(tensor.index)

    # ---- operators ----------------------------------------------------------

    def op(self, code: str, inputs, outputs, options=None, version: int = 1) -> None:
        builtin = getattr(schema.BuiltinOperator, code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(builtin, version)
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        self.graph.operators.append(operator)

    def _code(self, builtin: int, version: int) -> int:
        for i, known in enumerate(self.model.operatorCodes):
            if (known.builtinCode, known.version) == (builtin, version):
                return i
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = builtin, version
        code.deprecatedBuiltinCode = min(builtin, 127)
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def _weights(self, name: str, x: Tensor, w: np.ndarray, b: np.ndarray, axis: int):
        """Constants of a kernel and its bias: per-channel int8 / int32, or float."""
        if x.quant is None:
            w, b = np.float32(w), np.float32(b)
            return self.constant(f"{name}/w", w), self.constant(f"{name}/b", b)
        codes, scales = quantise_kernel(w, axis)
        bias_scales = scales.astype(np.float64) * x.quant.scale
        bias = np.round(b / bias_scales).astype(np.int32)
        return (
            self.constant(f"{name}/w", codes, scales, axis),
            self.constant(f"{name}/b", bias, bias_scales),
        )

    def conv(
        self,
        name: str,
        x: Tensor,
        w,
        b,
        quant,
        *,
        stride=1,
        dilation=1,
        fused=NONE,
        padding: str = "SAME",
    ) -> Tensor:
        """Conv2D; w is (out, height, width, in)."""
        options = schema.Conv2DOptionsT()
        options.padding = getattr(schema.Padding, padding)
        options.strideH, options.strideW = np.broadcast_to(stride, 2).tolist()
        options.dilationHFactor = options.dilationWFactor = dilation
        options.fusedActivationFunction = fused
        size = []
        for n, k, s in zip(
            x.shape[1:3], w.shape[1:3], (options.strideH, options.strideW), strict=True
        ):
            span = (k - 1) * dilation
            size.append(-(-n // s) if padding == "SAME" else -(-(n - span) // s))
        shape = (1, *size, w.shape[0])
        y = self.activation(name, shape, quant)
        inputs = (x.index, *self._weights(name, x, w, b, 0))
        self.op("CONV_2D", inputs, [y.index], options, 1 if quant is None else 3)
        return y

    def depthwise(self, name: str, x: Tensor, w, b, quant, *, fused=NONE) -> Tensor:
        """DepthwiseConv2D, "same", stride 1; w is (1, height, width, channels)."""
        options = schema.DepthwiseConv2DOptionsT()
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = options.depthMultiplier = 1
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = fused
        y = self.activation(name, x.shape, quant)
        inputs = (x.index, *self._weights(name, x, w, b, 3))
        version = 1 if quant is None else 3
        self.op("DEPTHWISE_CONV_2D", inputs, [y.index], options, version)
        return y

    def transpose_conv(
        self, name: str, x: Tensor, w, b, quant, *, stride=2, fused=NONE
    ) -> Tensor:
        """TransposeConv, "same"; w is (out, height, width, in)."""
        options = schema.TransposeConvOptionsT()
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = stride
        options.fusedActivationFunction = fused
        shape = (1, x.shape[1] * stride, x.shape[2] * stride, w.shape[0])
        y = self.activation(name, shape, quant)
        size = self.constant(f"{name}/shape", np.int32(shape))
        w_index, b_index = self._weights(name, x, w, b, 0)
        version = 4 if fused != NONE else 3
        self.op(
            "TRANSPOSE_CONV",
            (size, w_index, x.index, b_index),
            [y.index],
            options,
            version,
        )
        return y

    def leaky_relu(self, name: str, x: Tensor, slope: float, quant) -> Tensor:
        options = schema.LeakyReluOptionsT()
        options.alpha = slope
        y = self.activation(name, x.shape, quant)
        self.op("LEAKY_RELU", [x.index], [y.index], options, 1 if quant is None else 2)
        return y

    def relu(self, name: str, x: Tensor, quant) -> Tensor:
        y = self.activation(name, x.shape, quant)
        self.op("RELU", [x.index], [y.index], None, 1 if quant is None else 2)
        return y

    def concat(self, name: str, parts: list[Tensor], axis: int = 3) -> Tensor:
        """Concatenation; every part must have the same Quant, as TFLite demands."""
        assert len({p.quant for p in parts}) == 1, "concat parts differ in scale"
        options = schema.ConcatenationOptionsT()
        options.axis, options.fusedActivationFunction = axis, NONE
        shape = list(parts[0].shape)
        shape[axis] = sum(p.shape[axis] for p in parts)
        y = self.activation(name, shape, parts[0].quant)
        version = 1 if y.quant is None else 2
        indices = [p.index for p in parts]
        self.op("CONCATENATION", indices, [y.index], options, version)
        return y

    def pad(self, name: str, x: Tensor, paddings) -> Tensor:
        """Pad with zeros; paddings is ((before, behind), ...) of all four axes."""
        shape = [n + a + b for n, (a, b) in zip(x.shape, paddings, strict=True)]
        y = self.activation(name, shape, x.quant)
        amounts = self.constant(f"{name}/paddings", np.int32(paddings))
        version = 1 if x.quant is None else 2
        self.op("PAD", (x.index, amounts), [y.index], schema.PadOptionsT(), version)
        return y

    def slice(self, name: str, x: Tensor, begin, size) -> Tensor:
        y = self.activation(name, size, x.quant)
        at = self.constant(f"{name}/begin", np.int32(begin))
        n = self.constant(f"{name}/size", np.int32(size))
        options = schema.SliceOptionsT()
        version = 1 if x.quant is None else 2
        self.op("SLICE", (x.index, at, n), [y.index], options, version)
        return y

    def rows(self, name: str, x: Tensor, first: int, end: int) -> Tensor:
        """Rows [first, end) of x; x itself if these are all."""
        _, n_rows, n_columns, n_channels = x.shape
        if (first, end) == (0, n_rows):
            return x
        size = (1, end - first, n_columns, n_channels)
        return self.slice(name, x, (0, first, 0, 0), size)

    def reshape(self, name: str, x: Tensor, shape) -> Tensor:
        """The same values in the same order."""
        y = self.activation(name, shape, x.quant)
        wanted = self.constant(f"{name}/shape", np.int32(shape))
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        self.op("RESHAPE", (x.index, wanted), [y.index], options)
        return y

    def resize_nearest(self, name: str, x: Tensor, height: int, width: int) -> Tensor:
        options = schema.ResizeNearestNeighborOptionsT()
        options.alignCorners = options.halfPixelCenters = False
        shape = (1, x.shape[1] * height, x.shape[2] * width, x.shape[3])
        y = self.activation(name, shape, x.quant)
        size = self.constant(f"{name}/size", np.int32(shape[1:3]))
        version = 1 if x.quant is None else 2
        self.op("RESIZE_NEAREST_NEIGHBOR", (x.index, size), [y.index], options, version)
        return y

    def logistic(self, name: str, x: Tensor) -> Tensor:
        quant = None if x.quant is None else Quant(1 / 256, -128)
        y = self.activation(name, x.shape, quant)
        self.op("LOGISTIC", [x.index], [y.index], None, 1 if quant is None else 2)
        return y

    def multiply(self, name: str, a: Tensor, b: int, quant=None) -> Tensor:
        return self._of_two("MUL", schema.MulOptionsT(), name, a, b, quant)

    def subtract(self, name: str, a: Tensor, b: int, quant=None) -> Tensor:
        options = schema.SubOptionsT()
        options.potScaleInt16 = False
        return self._of_two("SUB", options, name, a, b, quant)

    def add(self, name: str, a: Tensor, b: int, quant=None, fused=NONE) -> Tensor:
        options = schema.AddOptionsT()
        options.potScaleInt16 = False
        return self._of_two("ADD", options, name, a, b, quant, fused)

    def _of_two(
        self, code: str, options, name: str, a: Tensor, b: int, quant, fused=NONE
    ) -> Tensor:
        """An operator on two tensors of one shape, element by element."""
        options.fusedActivationFunction = fused
        y = self.activation(name, a.shape, quant)
        version = 1 if quant is None else 2
        self.op(code, (a.index, b), [y.index], options, version)
        return y

    def write(self, path: Path) -> None:
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))


def quantise_kernel(w: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 codes and float32 scales per channel along `axis`."""
    other = tuple(i for i in range(w.ndim) if i != axis)
    scales = np.maximum(np.abs(w).max(axis=other), 1e-12) / 127
    scales = scales.astype(np.float32)
    shape = [1] * w.ndim
    shape[axis] = -1
    codes = np.clip(np.round(w / scales.reshape(shape)), -127, 127)
    return codes.astype(np.int8), scales
