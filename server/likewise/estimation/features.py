"""What a layer's time depends on: its kind, amounts of work that time grows with, and shapes that decide how fast.

Kinds are those of ONNX Runtime's kernels on a CPU: convolutions in blocks of channels (NCHWc) or by a matrix product of
columns, matrix products with packed weights or without, recurrent cells, pools, moves, and arithmetic on each number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2, prod

from likewise.estimation.description import Description, Layer, Value

TERMS = 7
"""Amounts of work: 1, multiply-adds or numbers, bytes of weights, bytes of tensors, pieces that begin anew; then 1 and
the bytes of weights again, as far as the network is too large for the processor's caches."""
WARM, COLD = 20, 23
"""Logarithms to base 2 of a network's bytes: all in a cache of the second level below, no weights there above."""

_VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape", "Size", "Dropout"})
_MOVES = frozenset(
    {"Transpose", "Concat", "Slice", "Split", "Pad", "Gather", "GatherElements", "GatherND", "Expand", "Tile"}
    | {"Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "ReorderInput", "ReorderOutput", "Cast", "ScatterND"}
    | {"Where", "OneHot", "QLinearConcat"}
)
_ROWS = frozenset(
    {"Softmax", "LogSoftmax", "LayerNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization"}
    | {"InstanceNormalization", "GroupNormalization", "BatchNormalization", "LpNormalization", "ArgMax", "ArgMin"}
    | {"TopK", "CumSum"}
)
_QUANTIZED_PRODUCTS = frozenset(
    {"QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm"}
)
_PRODUCTS = frozenset({"Gemm", "FusedGemm", "MatMul", "FusedMatMul"})
_CONVOLUTIONS = frozenset({"Conv", "FusedConv", "QLinearConv", "ConvInteger", "ConvTranspose"})
_CELLS = frozenset({"LSTM", "GRU", "RNN"})


@dataclass(frozen=True, slots=True)
class Features:
    """What is known of a layer's time before it is measured."""

    kind: str
    """The finest kind, such as `conv.direct` or `Sigmoid`."""
    group: str
    """The kinds that it is like: conv, product, quantized, cell, pool, move, rows, numbers, view."""
    terms: tuple[float, ...]
    """`TERMS` amounts of work."""
    shape: tuple[float, ...]
    """Logarithms to base 2 of what decides how fast; as many for all of a kind."""


def coldness(footprint: int) -> float:
    """Return how far a network of so many bytes is out of the processor's caches, in [0, 1]."""
    return min(1.0, max(0.0, (log2(max(footprint, 1)) - WARM) / (COLD - WARM)))


def features(layer: Layer, network: Description, cold: float) -> Features | None:
    """Return a layer's features; None where its shapes are not known. cold: see `coldness`."""
    found = _features(layer, network)
    if found is None:
        return None
    terms = (*found.terms, cold, cold * found.terms[2])
    return Features(found.kind, found.group, terms, (*found.shape, 2 * cold))


def _features(layer: Layer, network: Description) -> Features | None:
    operator = layer.operator.rpartition("::")[2]
    given = [network.values.get(name) if name else None for name in layer.inputs]
    made = network.values.get(layer.outputs[0]) if layer.outputs and layer.outputs[0] else None
    if layer.unknown or made is None or made.shape is None:
        return None
    if any(each is not None and each.shape is None for each in given[:1]):
        return None
    weights = float(sum(each.size_bytes for each in given if each is not None and each.weight))
    moving = [each for each in given if each is not None and not each.weight]
    moved = float(sum(each.size_bytes for each in moving) + made.size_bytes)
    if operator in _CONVOLUTIONS:
        return _convolution(operator, layer, given, made, weights, moved)
    if operator in _PRODUCTS or operator in _QUANTIZED_PRODUCTS:
        return _product(operator, layer, given, made, weights, moved)
    if operator in _CELLS and given[0] is not None and given[1] is not None and given[0].shape and given[1].shape:
        steps, batch = given[0].shape[:2]
        terms = (1.0, float(layer.macs), weights, moved, float(steps))
        return Features(operator, "cell", terms, _logs(steps, batch, given[1].shape[1], given[1].shape[2]))
    count = float(max(made.count, max((each.count for each in moving), default=0)))
    if operator in _VIEWS:
        return Features("view", "view", (1.0, 0.0, 0.0, 0.0, 0.0), ())
    if "Pool" in operator:
        window = prod(layer.attributes.get("kernel_shape", [1])) if "Global" not in operator else 1
        shape = made.shape if "Global" not in operator else (given[0].shape or () if given[0] else ())
        kind = f"{operator}.blocks" if "nchwc" in layer.operator else operator
        terms = (1.0, float(made.count * window if window > 1 else count), weights, moved, float(made.count))
        return Features(kind, "pool", terms, _logs(count, shape[-1] if shape else 1, window))
    if operator in _MOVES:
        inner = _inner(operator, layer, made, given)
        terms = (1.0, count, weights, moved, count / max(inner, 1))
        return Features(operator, "move", terms, _logs(count, inner))
    if operator in _ROWS or operator.startswith("Reduce"):
        length, last = _reduced(operator, layer, made, given)
        kind = operator if last or operator in _ROWS else f"{operator}.across"
        return Features(kind, "rows", (1.0, count, weights, moved, count / max(length, 1)), _logs(count, length))
    return _arithmetic(operator, given, made, weights, moved)


def _logs(*numbers: float) -> tuple[float, ...]:
    return tuple(log2(max(each, 1.0)) for each in numbers)


def _convolution(
    operator: str, layer: Layer, given: Sequence[Value | None], made: Value, weights: float, moved: float
) -> Features | None:
    place = 3 if operator == "QLinearConv" else 1
    kernel = given[place] if len(given) > place else None
    if kernel is None or not kernel.shape or len(kernel.shape) < 3 or made.shape is None:
        return None
    filters, channels, *window = kernel.shape
    groups = int(layer.attributes.get("group", 1))
    out = made.shape[2:] if operator != "QLinearConv" or not layer.attributes.get("channels_last") else made.shape[1:-1]
    stride = layer.attributes.get("strides", [1])
    wide = window[-1] if window else 1
    if operator == "ConvTranspose":
        kind = "conv.transposed"
    elif operator in ("QLinearConv", "ConvInteger"):
        kind = "conv.quantized" if groups == 1 else "conv.quantized.groups"
    elif "nchwc" in layer.operator:
        kind = "conv.direct"
        if groups > 1 and channels == 1:
            kind = "conv.depthwise"
        elif channels < 16 and groups == 1:
            kind = "conv.first"
        elif prod(window) == 1 and not any(layer.attributes.get("pads", [0])):
            kind = "conv.pointwise"
    else:
        kind = "conv.columns" if groups == 1 else "conv.columns.groups"
        if groups > 1 and channels == 1:
            kind = "conv.columns.depthwise"
    group = "quantized" if "quantized" in kind else "conv"
    edges = layer.macs * min(1.0, (wide - 1) / max(1, out[-1] if out else 1))
    shape = _logs(channels, filters / groups, groups, prod(out[:-1]), out[-1] if out else 1, prod(window), prod(stride))
    return Features(kind, group, (1.0, layer.macs, weights, moved, edges), shape)


def _product(
    operator: str, layer: Layer, given: Sequence[Value | None], made: Value, weights: float, moved: float
) -> Features | None:
    left = given[0]
    if left is None or left.shape is None or made.shape is None or not made.shape:
        return None
    columns = made.shape[-1]
    depth = layer.macs // max(1, made.count)
    right = given[3 if operator in ("QLinearMatMul", "QGemm") and len(given) > 3 else 1]
    packed = right is not None and right.weight
    if operator in _QUANTIZED_PRODUCTS:
        kind, group = "product.quantized", "quantized"
    else:
        kind, group = ("product.packed" if packed else "product.batched"), "product"
    if packed:
        rows, batch = made.count // max(1, columns), 1
    else:
        rows = made.shape[-2] if len(made.shape) > 1 else 1
        batch = made.count // max(1, rows * columns)
    if rows == 1 and batch == 1:
        kind += ".row"
    terms = (1.0, float(layer.macs), weights, moved, float(batch * rows * columns))
    return Features(kind, group, terms, _logs(batch, rows, columns, depth))


def _inner(operator: str, layer: Layer, made: Value, given: Sequence[Value | None]) -> float:
    """Return how many numbers lie next to each other before and after a move."""
    first = given[0]
    if made.shape is None or first is None or first.shape is None:
        return 1.0
    if operator == "Transpose":
        order = layer.attributes.get("perm", list(range(len(first.shape)))[::-1])
        inner, at = 1, len(order)
        while at and order[at - 1] == at - 1:
            at -= 1
            inner *= first.shape[at]
        return float(inner)
    if operator in ("Concat", "Split"):
        whole = made.shape if operator == "Concat" else first.shape
        axis = int(layer.attributes.get("axis", 0)) % max(1, len(whole))
        return float(prod(first.shape[axis:]) if operator == "Concat" else prod(made.shape[axis:]))
    if operator in ("Gather", "GatherND"):
        return float(prod(first.shape[int(layer.attributes.get("axis", 0)) % max(1, len(first.shape)) + 1 :]))
    if operator in ("ReorderInput", "ReorderOutput") and len(made.shape) == 4:
        return float(prod(made.shape[2:]))
    if operator in ("Slice", "Pad") and len(first.shape) == len(made.shape):
        inner = 1
        for before, after in zip(reversed(first.shape), reversed(made.shape), strict=True):
            inner *= min(before, after)
            if before != after:
                break
        return float(inner)
    return float(made.shape[-1] if made.shape else 1)


def _reduced(operator: str, layer: Layer, made: Value, given: Sequence[Value | None]) -> tuple[float, bool]:
    """Return how many numbers become one, and whether they lie next to each other."""
    first = given[0]
    if first is None or not first.shape:
        return 1.0, True
    if operator.startswith("Reduce"):
        length = first.count / max(1, made.count)
        return length, made.shape is None or prod(made.shape[-1:]) == 1 or made.shape[-1] != first.shape[-1]
    axis = int(layer.attributes.get("axis", -1)) % len(first.shape)
    return float(prod(first.shape[axis:]) if operator != "BatchNormalization" else prod(first.shape[2:])), True


def _arithmetic(operator: str, given: Sequence[Value | None], made: Value, weights: float, moved: float) -> Features:
    shapes = [each.shape for each in given[:2] if each is not None and each.shape is not None]
    kind, runs = operator, 1.0
    if len(shapes) == 2 and shapes[0] != shapes[1] and min(map(prod, shapes)) != 1:
        kind = f"{operator}.spread"
        runs = _runs(shapes[0], shapes[1], made.shape or ())
    return Features(
        kind, "numbers", (1.0, float(made.count), weights, moved, runs), _logs(made.count, made.count / max(1.0, runs))
    )


def _runs(left: tuple[int, ...], right: tuple[int, ...], made: tuple[int, ...]) -> float:
    """Return how many pieces a broadcast falls into: within each, both sides run on or one stands still."""
    rank = len(made)
    sides = [(1,) * (rank - len(each)) + each for each in (left, right)]
    state: tuple[bool, bool] | None = None
    at = rank
    while at:
        now = (sides[0][at - 1] == 1 and made[at - 1] != 1, sides[1][at - 1] == 1 and made[at - 1] != 1)
        if made[at - 1] != 1:
            if state is not None and now != state:
                break
            state = now
        at -= 1
    return float(prod(made[:at]))
