"""What a network fixes of a plan before it runs: padding, where small changes end, and how many rows go at once."""

from __future__ import annotations

import numpy as np

from likewise.video.graph import Plan
from likewise.video.layers import Conv, Floats, Function, Join, Layer


def rows_at_once(numbers: int, width: int) -> int:
    """Return how many rows of a width are computed at once, so that they hold so many numbers."""
    return max(32, numbers // width // 32 * 32)


def rounded(count: int) -> int:
    """Return a number of rows, at least `count`, of which there are few: each takes something to set up."""
    step = 8 if count <= 128 else 32
    return -(-count // step) * step


def gains(layer: Conv) -> Floats:
    """Return how much of the squared change of an input reaches an output, by tap, shape (kh, kw), in the mean."""
    groups, _, filters = layer.weights.shape
    taps = layer.weights.reshape(groups, *layer.window.kernel, -1, filters)
    half = 1.0 if layer.activation.function is Function.NONE else 0.5
    return np.ascontiguousarray(half * np.square(taps).sum((0, 3, 4)) / (groups * taps.shape[3]), np.float32)


def pads(plan: Plan) -> dict[str, int]:
    """Return how far each tensor is padded: as far as the convolutions that read it look beyond its edges."""
    pads = dict.fromkeys(plan.sizes, 0)
    for layer in plan.layers:
        if isinstance(layer, Conv):
            name = layer.inputs[0]
            given, size = plan.sizes[name], plan.sizes[layer.output]
            for side in (0, 1):
                window = layer.window
                reach = (size[side] - 1) * window.stride[side] + (window.kernel[side] - 1) * window.dilation[side]
                pads[name] = max(pads[name], window.pads[side], reach - window.pads[side] - given[side] + 1)
    return pads


def limited(plan: Plan) -> frozenset[str]:
    """Return the tensors at which small changes end: those activated, unless all that reads them is a sum."""
    readers: dict[str, list[Layer]] = {}
    for layer in plan.layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer)
    return frozenset(
        layer.output
        for layer in plan.layers
        if layer.activation.function is not Function.NONE
        and not (readers.get(layer.output) and all(isinstance(each, Join) for each in readers[layer.output]))
    )
