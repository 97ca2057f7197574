"""Whole convolutions of 3 × 3 in tiles of 4 × 4 outputs, by 36 products for each channel and filter in place of 144.

Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016: Winograd's minimal
filtering F(4 × 4, 3 × 3). `tiling.whole` makes the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from likewise.video.compiled_products import products
from likewise.video.compiled_rows import activate
from likewise.video.compiled_turns import from_large, pooled_from_large, to_large
from likewise.video.compiled_vectors import ROWS, copy

jit: Any = njit(cache=True, nogil=True, error_model="numpy")

LARGE = 6
"""Inputs of a tile, down and to the right."""
TAPS = LARGE * LARGE


@jit
def convolve_whole(source, layout, bend, pad, target, height, width, inputs, results):  # type: ignore[no-untyped-def]
    """Compute a convolution at all places of its output, which has so many rows and columns, and write it to `target`.

    layout: a `tiling.Whole`. bend, pad: as in `compiled.convolve`. inputs, results: room for `TAPS` matrices, each
    its `apart` from the next.
    """
    corner, line, lines, weights, bias, blank, at_once, apart, pool = layout
    code, low, high = bend
    step, beside = apart
    slope = low if code == 2 else np.float32(code != 1)
    long, wide, depth = source.shape
    groups, filters, columns = len(weights), len(bias), len(blank)
    side = 4 // pool
    across, down = -(-width // side), -(-height // side)
    flat, kept = source.reshape(-1), target.reshape(-1)
    below = target.shape[1] * filters
    bases = np.empty(at_once + 2 * ROWS, np.int64)
    patch = np.empty(LARGE * LARGE * depth, np.float32)
    edge = np.empty(side * side * columns, np.float32)
    for first in range(0, across * down, at_once):
        count = min(at_once, across * down - first)
        for at in range(count):
            tile = first + at
            y, x = 4 * (tile // across) + corner[0], 4 * (tile % across) + corner[1]
            rows, beyond = min(LARGE, long - y), min(LARGE, wide - x)
            if rows == LARGE and beyond == LARGE:
                to_large(flat, (y * wide + x) * depth, wide * depth, depth, inputs, at * depth, step)
                continue
            patch[:] = 0
            for row in range(rows):
                copy(flat, ((y + row) * wide + x) * depth, patch, row * LARGE * depth, beyond * depth)
            to_large(patch, 0, LARGE * depth, depth, inputs, at * depth, step)
        for at in range(count + 2 * ROWS):
            bases[at] = min(at, count - 1) * depth
        for group in range(groups):
            for tap in range(TAPS):
                products(
                    inputs[tap * step :], bases, count, lines, line, weights[group, tap], blank,
                    results[tap * beside :],
                )  # fmt: skip
            channel = group * columns
            size = min(columns, filters - channel)
            for at in range(count):
                tile = first + at
                y, x = side * (tile // across), side * (tile % across)
                to = (y + pad) * below + (x + pad) * filters + channel
                begin = at * columns
                if y + side > height or x + side > width:
                    _write(pool, results, begin, beside, bias, channel, slope, edge, 0, side * columns, columns, size)
                    for oy in range(min(side, height - y)):
                        for ox in range(min(side, width - x)):
                            copy(edge, (oy * side + ox) * columns, kept, to + oy * below + ox * filters, size)
                else:
                    _write(pool, results, begin, beside, bias, channel, slope, kept, to, below, filters, size)
                if code > 2:
                    for oy in range(min(side, height - y)):
                        for ox in range(min(side, width - x)):
                            place = to + oy * below + ox * filters
                            activate(kept[place : place + size], code, low, high)


@jit
def _write(pool, results, at, step, bias, first, slope, out, to, below, beside, count):  # type: ignore[no-untyped-def]
    if pool == 2:
        pooled_from_large(results, at, step, bias, first, slope, out, to, below, beside, count)
    else:
        from_large(results, at, step, bias, first, slope, out, to, below, beside, count)
