"""Convolutions of 3 × 3 in tiles of 2 × 2 outputs, by 16 products for each channel and filter in place of 36.

Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016: Winograd's minimal
filtering F(2 × 2, 3 × 3). `tiling.transformed` makes the weights. Where all of a picture is computed,
the larger tiles of `compiled_whole` take fewer products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from likewise.video.compiled_products import CHUNK, products
from likewise.video.compiled_rows import expect, settle
from likewise.video.compiled_turns import bottom_left, bottom_right, largest, to_tile, top_left, top_right
from likewise.video.compiled_vectors import ROWS

jit: Any = njit(cache=True, nogil=True, error_model="numpy")

TAPS = 16


@jit
def tiles(places, width, across, flags, out):  # type: ignore[no-untyped-def]
    """Write the tiles that hold one of `places` to `out`, ascending; return how many.

    across: tiles side by side. flags: zeros, uint8, at least one for each tile; left so.
    """
    row, first = 0, 0
    low, high = len(flags), -1
    for at in range(len(places)):
        while places[at] >= first + width:
            row += 1
            first += width
        tile = (row >> 1) * across + ((places[at] - first) >> 1)
        flags[tile] = 1
        low, high = min(low, tile), max(high, tile)
    count = 0
    for tile in range(low, high + 1):
        if flags[tile]:
            flags[tile] = 0
            out[count] = tile
            count += 1
    return count


@jit
def convolve_in_tiles(  # type: ignore[no-untyped-def]
    source, places, found, width, layout, bend, pad, limit, target, out, moves, debt, inputs, results, rows
):  # fmt: skip
    """Do what `compiled.convolve` does. found: the tiles of the places, see `tiles`. layout: a `tiling.Tiles`.

    inputs, results: room for 16 matrices, each `layout.apart` from the next. rows: room for `CHUNK` rows of the
    target's channels.
    """
    corner, line, lines, weights, blank, bias, across, room, apart, pooled = layout
    code, low, high = bend
    filters, columns = len(bias), len(blank)
    _, _, depth = source.shape
    numbers = np.empty((found[-1] // across + 1) * across, np.int32)  # by tile, its place among those of a chunk
    step, beside = apart
    written = start = first = 0
    while first < len(found):
        last = _rows_of(found, first, across, room - 2 * ROWS)
        count = last - first
        for at in range(count):
            tile = found[first + at]
            numbers[tile] = at
            y, x = 2 * (tile // across) + corner[0], 2 * (tile % across) + corner[1]
            to_tile(
                source.reshape(-1), (y * source.shape[1] + x) * depth, source.shape[1] * depth, depth, inputs,
                at * depth, step,
            )  # fmt: skip
        bases = np.empty(count + 2 * ROWS, np.int64)
        for at in range(len(bases)):
            bases[at] = min(at, count - 1) * depth
        for tap in range(TAPS):
            products(
                inputs[tap * step :], bases, count, lines, line, weights[tap], blank, results[tap * beside :],
            )  # fmt: skip
        beyond = (1 if pooled else 2) * width * (found[last - 1] // across + 1)
        while start < len(places) and places[start] < beyond:
            stop = min(start + CHUNK, len(places))
            while places[stop - 1] >= beyond:
                stop -= 1
            part = places[start:stop]
            expect(part, width, pad, target)
            if pooled:
                for at in range(len(part)):
                    begin = numbers[part[at]] * columns
                    largest(results, begin, beside, rows, at * filters, filters)
            else:
                _outputs(part, width, across, numbers, results, beside, columns, filters, rows)
            new = rows[: len(part) * filters].reshape(len(part), filters)
            written += settle(
                new, filters, bias, code, low, high, part, width, pad, limit, 0, target, out[written:],
                moves[written:], debt,
            )  # fmt: skip
            start = stop
        first = last
    return written


@jit
def _rows_of(found, first, across, most):  # type: ignore[no-untyped-def]
    """Return the end of as many whole rows of tiles as there is room for, at least one."""
    last = first
    while last < len(found):
        beyond = (found[last] // across + 1) * across
        end = last
        while end < len(found) and found[end] < beyond:
            end += 1
        if end - first > most and last > first:
            break
        last = end
    return last


@jit
def _outputs(places, width, across, numbers, results, step, columns, filters, out):  # type: ignore[no-untyped-def]
    """Write the outputs at places to rows of `out`. step: from one of the 16 products of a tile to the next."""
    row, first = 0, 0
    for at in range(len(places)):
        while places[at] >= first + width:
            row += 1
            first += width
        x = places[at] - first
        begin = numbers[(row >> 1) * across + (x >> 1)] * columns
        if row & 1:
            if x & 1:
                bottom_right(results, begin, step, out, at * filters, filters)
            else:
                bottom_left(results, begin, step, out, at * filters, filters)
        elif x & 1:
            top_right(results, begin, step, out, at * filters, filters)
        else:
            top_left(results, begin, step, out, at * filters, filters)
