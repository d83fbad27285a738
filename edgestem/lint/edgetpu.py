# ruff: noqa: E501 - a rule is one line, as in a table
"""The Edge TPU's rules, as data.

From Google's compiler and model pages, and from compiler logs that its users have
published; where the two disagree the rule is a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from edgestem.lint.graph import Op, Tensor

# Compiler logs show 6.9 to 7.5 MiB of the 8 for weights.
CACHE_BYTES = int(6.9 * 2**20)
LARGE_BYTES = 2**20
ERROR, WARNING = "error", "warning"

ELEMENTWISE = ("ADD", "MUL", "SUB", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")
CONVS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
REDUCTIONS = ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")
RESIZES = ("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR")
OTHERS = """
    CONCATENATION EXPAND_DIMS FULLY_CONNECTED L2_NORMALIZATION LOGISTIC LSTM PACK PAD
    PRELU QUANTIZE RELU RELU6 RELU_N1_TO_1 RESHAPE RSQRT SLICE SOFTMAX SPACE_TO_DEPTH
    SPLIT SQUEEZE STRIDED_SLICE TANH TRANSPOSE UNIDIRECTIONAL_SEQUENCE_LSTM
"""
SUPPORTED = {*ELEMENTWISE, *CONVS, *POOLS, *REDUCTIONS, *RESIZES, *OTHERS.split()}
INSTEAD = {
    "LEAKY_RELU": "RELU, PRELU, or MAXIMUM of x and a * x",
    "HARD_SWISH": "RELU6",
    "ELU": "RELU",
    "DEPTH_TO_SPACE": "RESIZE_NEAREST_NEIGHBOR and a convolution",
    "DEQUANTIZE": "int8 inputs and outputs",
    "edgetpu-custom-op": "the file before it was compiled",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to leave the TPU, or to lose speed on it."""

    ops: tuple[str, ...]
    """Whom it concerns; empty: every operator."""
    is_broken: Callable[[Op], bool]
    level: str
    """`error`: the operator leaves the TPU; `warning`: it may, or it is slow."""
    text: str


def _deep(t: Tensor) -> bool:
    return any(n != 1 for n in t.shape[:-3])


def _option(op: Op, name: str, otherwise: Any = 0) -> Any:
    return op.options.get(name, otherwise)


def _dilations_differ(op: Op) -> bool:
    return bool(_option(op, "DilationHFactor", 1) != _option(op, "DilationWFactor", 1))


def _odd_type(op: Op) -> bool:
    return any(t.dtype not in ("INT8", "UINT8") for t in op.computed)


def _bad_constant_part(op: Op) -> bool:
    constant = [t for t in op.inputs if t.data]
    return bool(constant) and (
        len(op.inputs) != 2 or any(any(t.data) for t in constant)
    )


def _pads_batch(op: Op) -> bool:
    amounts = op.inputs[1].integers()
    return len(amounts) == 8 and any(amounts[:2])


def _axes(op: Op) -> list[int]:
    rank = len(op.inputs[0].shape)
    return [a % rank for a in op.inputs[-1].integers()]


def _odd_depth_sum(op: Op) -> bool:
    x = op.inputs[0].shape
    return len(x) - 1 in _axes(op) and x[-1] % 4 != 0


def _wide_softmax(op: Op) -> bool:
    x = op.inputs[0].shape
    return any(n != 1 for n in x[:-1]) or x[-1] > 16_000


def _steps(op: Op) -> bool:
    return any(step != 1 for step in op.inputs[3].integers())


def _large(op: Op) -> bool:
    return max((t.n_bytes for t in op.outputs), default=0) > LARGE_BYTES


def _scales_differ(op: Op) -> bool:
    return len({t.scale for t in op.computed}) > 1


RULES = (
    Rule((), lambda op: not all(t.is_static for t in op.computed), ERROR, "a shape is not fixed; export with fixed frames per call"),
    Rule((), lambda op: any(_deep(t) for t in op.computed), ERROR, "more than the 3 innermost dimensions exceed 1; fold them, batch 1"),
    Rule((), _odd_type, ERROR, "a tensor is not 8-bit; quantise to full int8, inputs and outputs too"),
    Rule(CONVS, lambda op: not op.inputs[1].data, ERROR, "the kernel is computed; only constant kernels map"),
    Rule(("CONV_2D", "DEPTHWISE_CONV_2D"), _dilations_differ, ERROR, "dilation differs in x and y"),
    Rule(("TRANSPOSE_CONV",), lambda op: True, WARNING, "mapped since runtime 13, but logs show it left out at many channels or large maps; resize x2 and CONV_2D is safe"),
    Rule(RESIZES, lambda op: bool(_option(op, "AlignCorners") or _option(op, "HalfPixelCenters")), WARNING, "align_corners or half_pixel_centers may keep it off; use neither"),
    Rule(RESIZES, _large, WARNING, "large maps are left out to avoid loss of precision"),
    Rule(("CONCATENATION", *POOLS), lambda op: _option(op, "FusedActivationFunction") != 0, ERROR, "has a fused activation; make it an operator of its own"),
    Rule(("CONCATENATION",), _bad_constant_part, ERROR, "a constant part must be all zeros, beside one other part"),
    Rule(("CONCATENATION",), _scales_differ, WARNING, "parts of different scale are requantised; give them one scale"),
    Rule(("PAD",), _pads_batch, ERROR, "pads the batch"),
    Rule(("SPLIT",), lambda op: 0 in op.inputs[0].integers(), ERROR, "splits the batch"),
    Rule(("PACK",), lambda op: _option(op, "Axis") == 0, ERROR, "packs along the batch"),
    Rule(REDUCTIONS, lambda op: 0 in _axes(op), ERROR, "reduces the batch"),
    Rule(REDUCTIONS, _odd_depth_sum, ERROR, "reduces a depth that is no multiple of 4"),
    Rule(("FULLY_CONNECTED",), lambda op: _option(op, "WeightsFormat") != 0, ERROR, "weights in a shuffled format"),
    Rule(("FULLY_CONNECTED",), lambda op: prod(op.outputs[0].shape[:-1]) != 1, ERROR, "its output has more than one dimension; use a 1x1 CONV_2D"),
    Rule(("SOFTMAX",), _wide_softmax, ERROR, "only over one dimension of 16,000 or less; use LOGISTIC and the complement"),
    Rule(("STRIDED_SLICE",), _steps, ERROR, "strides other than 1"),
    Rule(("STRIDED_SLICE",), lambda op: bool(_option(op, "EllipsisMask") or _option(op, "NewAxisMask")), ERROR, "ellipsis or new-axis mask"),
    Rule(("RESHAPE",), _large, WARNING, "large reshapes may be left out"),
    Rule(("TRANSPOSE",), lambda op: True, WARNING, "mapped since runtime 14, but logs often show it left out"),
)  # fmt: skip
