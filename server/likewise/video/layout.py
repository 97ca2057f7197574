"""What a network fixes of a plan before it runs: padding, where small changes end, and how many rows go at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.video.graph import Plan
from likewise.video.layers import Conv, Floats, Function, Join, Layer, Pair, Size
from likewise.video.tiling import LONGEST, SIDE, tiled

ROWS_BYTES = 1 << 17
"""Of rows that are computed before they are settled: what stays in the second level cache."""


def rows_at_once(width: int) -> int:
    """Return how many rows of a width are computed at once."""
    return max(32, ROWS_BYTES // 4 // width)


SHORTEST = 64
"""Numbers of a window that lie together and are multiplied at once, at least; see `tiling.LONGEST`."""


class Windows(NamedTuple):
    """A convolution as `compiled.convolve` takes it."""

    stride: Pair
    corner: Pair
    """Of the first window, in the padded source."""
    lines: NDArray[np.int64]
    """Where each run of numbers of a window begins, from its corner."""
    line: int
    weights: Floats
    bias: Floats
    filters: int
    pool: int
    """See `Conv.pool`."""


def windows(layer: Conv, source: Size, pad: int, lanes: int) -> Windows:
    """Lay out a convolution. source, pad: size of its input, and how far that is padded; lanes: see `compiled`."""
    (kh, kw), (dh, dw) = layer.window.kernel, layer.window.dilation
    groups, k, filters = layer.weights.shape
    depth, wide = source.channels, source.width + 2 * pad
    down, right = np.arange(kh) * dh * wide * depth, np.arange(kw) * dw * depth
    together = groups == 1 and dw == 1
    panel = lanes if filters <= lanes else 2 * lanes
    panels = -(-filters // panel)
    weights = np.zeros((groups, k, panels * panel), np.float32)
    bias = np.zeros((groups, panels * panel), np.float32)
    weights[:, :, :filters] = layer.weights
    bias[:, :filters] = layer.bias.reshape(groups, filters) if len(layer.bias) else 0.0
    lines, line = (down, kw * depth) if together else ((down[:, None] + right).ravel(), depth // groups)
    parts = (
        1
        if line <= LONGEST
        else next((count for count in range(-(-line // LONGEST), line // SHORTEST + 1) if line % count == 0), 1)
    )
    lines = (lines[:, None] + np.arange(parts) * (line // parts)).ravel()
    return Windows(
        layer.window.stride,
        (pad - layer.window.pads[0], pad - layer.window.pads[1]),
        np.ascontiguousarray(lines, np.int64),
        line // parts,
        np.ascontiguousarray(weights.reshape(groups, k, panels, panel).transpose(0, 2, 1, 3)),
        bias,
        filters,
        layer.pool,
    )


def gains(layer: Conv) -> Floats:
    """Return how much of the squared change of an input reaches an output, by tap, shape (kh, kw), in the mean."""
    groups, _, filters = layer.weights.shape
    taps = layer.weights.reshape(groups, *layer.window.kernel, -1, filters)
    half = 1.0 if layer.activation.function is Function.NONE else 0.5
    single = half * np.square(taps).sum((0, 3, 4)) / (groups * taps.shape[3])
    (kh, kw), (sh, sw) = layer.window.kernel, layer.window.stride
    most = np.zeros(layer.reads.kernel)
    for y, x in np.ndindex(layer.pool, layer.pool):  # of the results that are pooled, the one that it reaches most
        part = most[y * sh : y * sh + kh, x * sw : x * sw + kw]
        np.maximum(part, single, out=part)
    return np.ascontiguousarray(most, np.float32)


def pads(plan: Plan) -> dict[str, int]:
    """Return how far each tensor is padded: as far as the convolutions that read it look beyond its edges.

    Tiles look one further where an edge cuts them in two; what they see there reaches no output.
    """
    pads = dict.fromkeys(plan.sizes, 0)
    for layer in plan.layers:
        if isinstance(layer, Conv):
            name = layer.inputs[0]
            given, size = plan.sizes[name], plan.sizes[layer.output]
            for side in (0, 1):
                window = layer.reads
                last = size[side] + (size[side] % SIDE if tiled(layer) and layer.pool == 1 else 0) - 1
                reach = last * window.stride[side] + (window.kernel[side] - 1) * window.dilation[side]
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
