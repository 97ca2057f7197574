"""Convolutions of 3 × 3 in tiles: which ones gain, and how their weights and inputs are laid out.

Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from likewise.video.layers import Conv, Floats, Layer, Pair, Size, Window


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


LONGEST = 256
"""Numbers that lie together and are multiplied at once, at most; see `compiled_products.DEPTH`."""
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


def _is_deep(layer: Layer, deep: int) -> TypeGuard[Conv]:
    """Say whether a layer is a plain convolution of 3 × 3 with at least so many channels and filters."""
    return (
        isinstance(layer, Conv)
        and layer.window._replace(pads=(0, 0)) == Window((3, 3))
        and len(layer.weights) == 1
        and layer.weights.shape[1] >= 9 * deep
        and layer.weights.shape[2] >= deep
    )


def tiled(layer: Layer) -> bool:
    """Return whether a layer is a convolution that may be computed in tiles, at a gain."""
    return _is_deep(layer, DEEP)


def transformed(layer: Conv, size: Size, pad: int, kernels: Any) -> Tiles:
    """Lay out a convolution of 3 × 3. size: of its output; pad: how far its input is padded."""
    _, k, filters = layer.weights.shape
    channels = k // 9
    taps = layer.weights.astype(np.float64).reshape(3, 3, channels, filters)
    panel = kernels.LANES if filters <= kernels.LANES else 2 * kernels.LANES
    panels = -(-filters // panel)
    weights = np.zeros((16, channels, panels * panel), np.float32)
    weights[:, :, :filters] = np.einsum("ay,yxcf,bx->abcf", _SPREAD, taps, _SPREAD, optimize=True).reshape(
        16, channels, filters
    )
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


class Whole(NamedTuple):
    """A convolution as `compiled.convolve_whole` takes it."""

    corner: Pair
    """Of the first tile's inputs, in the padded source."""
    line: int
    lines: NDArray[np.int64]
    """Where each run of `line` channels begins."""
    weights: Floats
    """Shape (groups of panels, 36, panels, channels, columns)."""
    bias: Floats
    blank: Floats
    """A zero for each column of a group."""
    at_once: int
    """Tiles that are multiplied together."""
    apart: Pair
    """As in `Tiles`."""
    pool: int


_LARGE_SPREAD = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
LARGE_SIDE = 4
LARGE_DEEP = 16
"""As `DEEP`, for tiles of 4 × 4 outputs."""
LARGE_FEW = 12
"""Tiles that all of it has at least: fewer would not make up for reading their weights."""
LARGE_MOST = 20 << 20
"""Bytes of weights of one convolution, four times what it has otherwise."""
AT_ONCE_BYTES = 1 << 17
"""Of what tiles become, and of products, that are made before outputs follow: both stay in the second level cache."""


def whole_tiled(layer: Layer, size: Size) -> bool:
    """Return whether a layer is a convolution that gains by tiles of 4 × 4 outputs where all of it is computed.

    size: of its output.
    """
    return (
        _is_deep(layer, LARGE_DEEP)
        and size.height * size.width * layer.pool**2 >= LARGE_FEW * LARGE_SIDE**2
        and 4 * layer.weights.nbytes <= LARGE_MOST
    )


def whole(layer: Conv, size: Size, pad: int, kernels: Any) -> Whole:
    """Lay out a convolution of 3 × 3 for `compiled.convolve_whole`; see `transformed`."""
    _, k, filters = layer.weights.shape
    channels = k // 9
    panel = kernels.LANES if filters <= kernels.LANES else 2 * kernels.LANES
    panels = -(-filters // panel)
    side = LARGE_SIDE // layer.pool
    count = -(-size.height // side) * -(-size.width // side)
    at_once = min(count, max(AT_ONCE_BYTES // (144 * channels * kernels.ROWS), 4) * kernels.ROWS)
    most = panels if channels > 128 else max(1, AT_ONCE_BYTES // (144 * at_once * panel))
    group = next(each for each in range(min(most, panels), 0, -1) if panels % each == 0)
    taps = layer.weights.astype(np.float64).reshape(3, 3, channels, filters)
    weights = np.zeros((36, channels, panels * panel), np.float32)
    spread = np.einsum("ay,yxcf,bx->abcf", _LARGE_SPREAD, taps, _LARGE_SPREAD, optimize=True)
    weights[:, :, :filters] = spread.reshape(36, channels, filters)
    weights = weights.reshape(36, channels, panels // group, group, panel).transpose(2, 0, 3, 1, 4)
    parts = next(count for count in range(-(-channels // LONGEST), channels + 1) if channels % count == 0)
    room = at_once + kernels.ROOM
    return Whole(
        (pad - layer.window.pads[0], pad - layer.window.pads[1]),
        channels // parts,
        np.arange(parts, dtype=np.int64) * (channels // parts),
        np.ascontiguousarray(weights),
        layer.bias if len(layer.bias) else np.zeros(filters, np.float32),
        np.zeros(group * panel, np.float32),
        at_once,
        (room * channels + LINE, room * group * panel + LINE),
        layer.pool,
    )
