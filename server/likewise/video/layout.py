"""What a network fixes of a plan before it runs: padding, where small changes end, and how many rows go at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.video.graph import Plan
from likewise.video.layers import Conv, Floats, Function, Join, Layer, Pair, Size, Window

ROWS_BYTES = 1 << 17
"""Of rows that are computed before they are settled: what stays in the second level cache."""


def rows_at_once(width: int) -> int:
    """Return how many rows of a width are computed at once."""
    return max(32, ROWS_BYTES // 4 // width)


SHORTEST, LONGEST = 64, 256
"""Numbers of a window that lie together and are multiplied at once; see `compiled_products.DEPTH`."""


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


class Tiles(NamedTuple):
    """A convolution as `compiled.convolve_in_tiles` takes it."""

    corner: Pair
    """Of the first tile's inputs, in the padded source."""
    line: int
    lines: NDArray[np.int64]
    """Where each run of `line` channels begins."""
    weights: Floats
    """Shape (16, panels, channels, columns)."""
    blank: Floats
    """A zero for each column of all panels."""
    bias: Floats
    across: int
    """Tiles side by side."""
    room: int
    """Tiles that there has to be room for."""
    apart: Pair
    """Numbers from one of 16 matrices of so many rows to the next, of channels and of columns: a line of the cache
    further than they are long, as they would all lie on one line where that is a power of two."""
    pooled: bool
    """Whether the largest of each tile's outputs is all that is wanted."""


SIDE = 2
"""Outputs of a tile, down and to the right."""
DEEP = 32
"""Channels from which on tiles are worth what it takes to make them."""
FULL = 2.0
"""Places of a tile that have to be computed, in the mean, for the same."""
LINE = 16
"""Numbers in a line of the cache."""
TILES_AT_ONCE = 96
"""Tiles whose products are made before outputs follow from them, unless a row of tiles has more."""
_SPREAD = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def tiled(layer: Layer) -> bool:
    """Return whether a layer is a convolution that may be computed in tiles, at a gain."""
    return (
        isinstance(layer, Conv)
        and layer.window._replace(pads=(0, 0)) == Window((3, 3))
        and len(layer.weights) == 1
        and layer.weights.shape[1] >= 9 * DEEP
        and layer.weights.shape[2] >= DEEP
    )


def transformed(layer: Conv, size: Size, pad: int, kernels: Any) -> Tiles:
    """Lay out a convolution of 3 × 3. size: of its output; pad: how far its input is padded."""
    _, k, filters = layer.weights.shape
    channels = k // 9
    taps = layer.weights.astype(np.float64).reshape(3, 3, channels, filters)
    panel = kernels.LANES if filters <= kernels.LANES else 2 * kernels.LANES
    panels = -(-filters // panel)
    weights = np.zeros((16, channels, panels * panel), np.float32)
    weights[:, :, :filters] = np.einsum("ay,yxcf,bx->abcf", _SPREAD, taps, _SPREAD).reshape(16, channels, filters)
    parts = next(count for count in range(-(-channels // LONGEST), channels + 1) if channels % count == 0)
    across = size.width if layer.pool > 1 else -(-size.width // SIDE)
    room = max(TILES_AT_ONCE, across) + kernels.ROOM
    return Tiles(
        (pad - layer.window.pads[0], pad - layer.window.pads[1]),
        channels // parts,
        np.arange(parts, dtype=np.int64) * (channels // parts),
        np.ascontiguousarray(weights.reshape(16, channels, panels, panel).transpose(0, 2, 1, 3)),
        np.zeros(panels * panel, np.float32),
        layer.bias if len(layer.bias) else np.zeros(filters, np.float32),
        across,
        room,
        (room * channels + LINE, room * panels * panel + LINE),
        layer.pool > 1,
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
