"""ONNX nodes read into layers; what none of them is stays unread, and is computed in one piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper

from likewise.video.layers import (
    LINEAR,
    Activation,
    Concat,
    Conv,
    Function,
    Join,
    Layer,
    Pair,
    Pool,
    Resize,
    Scale,
    Size,
    Window,
)

Doubles = np.ndarray[Any, np.dtype[np.float64]]
Constant = Callable[[str], np.ndarray[Any, Any] | None]
EMPTY = np.zeros(0, np.float32)


def layer(
    node: onnx.NodeProto, given: Sequence[str], sizes: Sequence[Size], size: Size, constant: Constant
) -> Layer | None:
    """Return the layer of a node, None where there is none like it.

    given: its inputs that are no constants, with their sizes; size: its output's.
    """
    names = tuple(given)
    output = node.output[0]
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    kind = node.op_type
    if len(names) == 1:
        found = activation(node, constant)
        if found is not None and names[0] == node.input[0] and size == sizes[0]:
            return Scale(names, output, found, size.channels, EMPTY, EMPTY)
    if kind == "Conv":
        return _conv(node, names, sizes[0], size, attributes, constant)
    if kind in ("MaxPool", "AveragePool"):
        return _pool(kind, names, output, sizes[0], size, attributes)
    if kind == "GlobalAveragePool" or kind == "GlobalMaxPool":
        return None
    if kind in ("Add", "Mul", "Sub", "Div", "BatchNormalization") and len(names) == 1:
        return _scale(kind, node, names, size, attributes, constant)
    if kind in ("Add", "Sum", "Mul") and len(names) == len(node.input) >= 2 and all(each == size for each in sizes):
        return Join(names, output, LINEAR, size.channels * len(names), "multiply" if kind == "Mul" else "add")
    if kind == "Concat" and attributes.get("axis") in (1, -3) and len(names) == len(node.input):
        return Concat(names, output, LINEAR, size.channels)
    if kind in ("Resize", "Upsample"):
        return _resize(node, names, sizes[0], size, attributes, constant)
    return None


def replaced(layer: Layer, output: str, activation: Activation) -> Layer:
    """Return a layer with an activation at its end, under the name of that one's output."""
    return replace(layer, output=output, activation=activation)


def activation(node: onnx.NodeProto, constant: Constant) -> Activation | None:
    """Return the activation that a node is, or None."""
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    kind = node.op_type
    plain = {
        "Relu": Activation(Function.RELU),
        "Sigmoid": Activation(Function.SIGMOID),
        "Tanh": Activation(Function.TANH),
        "HardSwish": Activation(Function.HARD_SWISH, 1.0 / 6.0, 0.5),
    }
    if kind in plain:
        return plain[kind]
    if kind == "LeakyRelu":
        return Activation(Function.LEAKY, float(attributes.get("alpha", 0.01)))
    if kind == "HardSigmoid":
        return Activation(
            Function.HARD_SIGMOID, float(attributes.get("alpha", 0.2)), float(attributes.get("beta", 0.5))
        )
    if kind == "Elu":
        return Activation(Function.ELU, float(attributes.get("alpha", 1.0)))
    if kind == "Clip":
        return _clip(node, attributes, constant)
    if kind == "PRelu":
        slope = constant(node.input[1])
        if slope is not None and slope.size == 1:
            return Activation(Function.LEAKY, float(slope.ravel()[0]))
    return None


def gated(inner: Activation) -> Activation | None:
    """Return the activation x · f(x) for f, where there is one."""
    if inner.function is Function.SIGMOID:
        return Activation(Function.SILU)
    if inner.function is Function.HARD_SIGMOID:
        return Activation(Function.HARD_SWISH, inner.low, inner.high)
    return None


def _clip(node: onnx.NodeProto, attributes: dict[str, Any], constant: Constant) -> Activation | None:
    bounds = [float(attributes.get("min", -np.inf)), float(attributes.get("max", np.inf))]
    for place, name in enumerate(node.input[1:3]):
        if name:
            value = constant(name)
            if value is None:
                return None
            bounds[place] = float(value)
    most = float(np.finfo(np.float32).max)
    return Activation(Function.CLIP, max(bounds[0], -most), min(bounds[1], most))


def _pair(values: Sequence[int] | None) -> Pair:
    return (int(values[0]), int(values[1])) if values else (1, 1)


def _window(attributes: dict[str, Any], kernel: Pair, given: Size) -> Window | None:
    """Return what a node's outputs read; None where it is not two-dimensional, or pads by less than nothing."""
    stride, dilation = _pair(attributes.get("strides")), _pair(attributes.get("dilations"))
    pads = attributes.get("pads", [0, 0, 0, 0])
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    top, left = int(pads[0]), int(pads[1])
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sides = []
        for side, k, s, d in zip(given[:2], kernel, stride, dilation, strict=True):
            whole = max(0, (-(-side // s) - 1) * s + (k - 1) * d + 1 - side)
            sides.append(whole // 2 if auto == "SAME_UPPER" else whole - whole // 2)
        top, left = sides
    elif auto == "VALID":
        top = left = 0
    return None if min(top, left, *pads) < 0 else Window(kernel, stride, (top, left), dilation)


def _conv(
    node: onnx.NodeProto,
    names: tuple[str, ...],
    given: Size,
    size: Size,
    attributes: dict[str, Any],
    constant: Constant,
) -> Layer | None:
    weights = constant(node.input[1])
    bias = constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(size.channels, np.float32)
    if len(names) != 1 or weights is None or bias is None or weights.ndim != 4 or weights.dtype != np.float32:
        return None
    groups = int(attributes.get("group", 1))
    filters, channels, kh, kw = weights.shape
    window = _window(attributes, (kh, kw), given)
    if window is None or groups < 1 or channels * groups != given.channels or filters % groups:
        return None
    matrix = weights.reshape(groups, filters // groups, channels, kh * kw).transpose(0, 3, 2, 1)
    return Conv(
        names,
        node.output[0],
        LINEAR,
        kh * kw * channels * filters,
        window,
        np.ascontiguousarray(matrix.reshape(groups, kh * kw * channels, filters // groups), np.float32),
        np.ascontiguousarray(bias, np.float32),
    )


def _pool(
    kind: str, names: tuple[str, ...], output: str, given: Size, size: Size, attributes: dict[str, Any]
) -> Layer | None:
    kernel = attributes.get("kernel_shape", ())
    if len(kernel) != 2 or attributes.get("storage_order", 0):
        return None
    window = _window(attributes, _pair(kernel), given)
    padded = bool(attributes.get("count_include_pad", 0))
    if window is None or (padded and attributes.get("ceil_mode", 0)):
        return None
    return Pool(names, output, LINEAR, prod(kernel) * size.channels, window, kind == "MaxPool", padded)


def _scale(
    kind: str, node: onnx.NodeProto, names: tuple[str, ...], size: Size, attributes: dict[str, Any], constant: Constant
) -> Layer | None:
    output, work = node.output[0], size.channels
    if kind == "BatchNormalization":
        numbers = [constant(name) for name in node.input[1:5]]
        if node.input[0] != names[0] or any(each is None for each in numbers) or attributes.get("training_mode", 0):
            return None
        gain, shift, mean, variance = [np.asarray(each, np.float64) for each in numbers]
        factor = gain / np.sqrt(variance + float(attributes.get("epsilon", 1e-5)))
        return Scale(names, output, LINEAR, work, _floats(factor), _floats(shift - mean * factor))
    first = node.input[0] == names[0]
    value = constant(node.input[1 if first else 0])
    if value is None or value.dtype != np.float32 or (kind == "Div" and not first):
        return None
    wanted = (1, size.channels, 1, 1)
    if value.ndim > 4 or (value.size != 1 and tuple((1,) * (4 - value.ndim) + value.shape) != wanted):
        return None
    numbers_ = np.broadcast_to(value.ravel(), (size.channels,)).astype(np.float64)
    if kind == "Mul" or kind == "Div":
        return Scale(names, output, LINEAR, work, _floats(numbers_ if kind == "Mul" else 1.0 / numbers_), EMPTY)
    if kind == "Sub":
        factor = np.ones(size.channels) if first else -np.ones(size.channels)
        return Scale(
            names, output, LINEAR, work, EMPTY if first else _floats(factor), _floats(-numbers_ if first else numbers_)
        )
    return Scale(names, output, LINEAR, work, EMPTY, _floats(numbers_))


def _floats(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.ascontiguousarray(values, np.float32)


def _resize(
    node: onnx.NodeProto,
    names: tuple[str, ...],
    given: Size,
    size: Size,
    attributes: dict[str, Any],
    constant: Constant,
) -> Layer | None:
    kind, output = node.op_type, node.output[0]
    scales = [value for name in node.input[1:3] if name and (value := constant(name)) is not None and value.size == 4]
    if scales and not np.allclose(scales[-1].ravel()[2:] * given[:2], size[:2], rtol=0, atol=1e-6):
        return None
    mode = attributes.get("mode", b"nearest").decode()
    how = attributes.get(
        "coordinate_transformation_mode", b"asymmetric" if kind == "Upsample" else b"half_pixel"
    ).decode()
    nearest = attributes.get("nearest_mode", b"floor" if kind == "Upsample" else b"round_prefer_floor").decode()
    odd = attributes.get("antialias", 0) or attributes.get("axes") or attributes.get("exclude_outside", 0)
    if mode not in ("nearest", "linear") or odd or given.channels != size.channels:
        return None
    if mode == "nearest" and nearest not in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
        return None
    if attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        return None
    rows, shares, spans = [], [], []
    for side, target in zip(given[:2], size[:2], strict=True):
        if target % side:  # only where all that exporters may state as scale is the same number
            return None
        at = _positions(side, target, how)
        if at is None:
            return None
        if mode == "nearest":
            low = _rounded(at, nearest).clip(0, side - 1).astype(np.int32)
            high, share = low, np.zeros(target, np.float32)
        else:
            at = at.clip(0, side - 1)
            low = np.floor(at).astype(np.int32)
            high = np.minimum(low + 1, side - 1).astype(np.int32)
            share = (at - low).astype(np.float32)
        span = np.zeros((side, 2), np.int32)
        for source in range(side):
            (readers,) = np.nonzero((low == source) | (high == source))
            span[source] = (readers[0], readers[-1] + 1) if len(readers) else (0, 0)
        rows.append(np.ascontiguousarray(np.stack([low, high], 1)))
        shares.append(share)
        spans.append(span)
    return Resize(names, output, LINEAR, 4 * size.channels, tuple(rows), tuple(shares), tuple(spans))  # type: ignore[arg-type]


def _positions(side: int, target: int, how: str) -> Doubles | None:
    """Return where each output lies among the inputs. Source: the Resize operator of ONNX."""
    at = np.arange(target, dtype=np.float64)
    if how == "half_pixel" or (how == "pytorch_half_pixel" and target > 1):
        return (at + 0.5) * side / target - 0.5
    if how == "asymmetric":
        return at * side / target
    if how == "align_corners":
        return at * (side - 1) / (target - 1) if target > 1 else at * 0.0
    return None


def _rounded(at: Doubles, how: str) -> Doubles:
    steps: dict[str, Callable[[Doubles], Doubles]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda each: np.ceil(each - 0.5),
        "round_prefer_ceil": lambda each: np.floor(each + 0.5),
    }
    return steps[how](at)
