"""Index work of the incremental executor, compiled by numba; `plain.py` has the same in NumPy, for where it is not.

Activations are float32 of shape (height + 2·pad, width + 2·pad, channels), C-contiguous, with zeros around the picture.
A place is y·width + x without the padding, int32; lists of places are ascending.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from likewise.video.compiled_frames import changed_blocks, equal, planes, store, take_over
from likewise.video.compiled_places import merge, reach, spread, stretch
from likewise.video.compiled_products import CHUNK, ROOM, products, windows
from likewise.video.compiled_rows import expect, settle
from likewise.video.compiled_tiles import convolve_in_tiles, tiles
from likewise.video.compiled_vectors import LANES, ROWS, best, copy, highest, plus
from likewise.video.compiled_whole import convolve_whole

__all__ = [
    "LANES", "NAME", "ROOM", "ROWS", "TILED", "add", "changed_blocks", "combine", "convolve", "convolve_in_tiles",
    "convolve_whole", "depthwise", "equal", "fetch", "merge", "planes", "pool", "reach", "resize", "scale", "settle",
    "spread", "store", "stretch", "take_over", "tiles",
]  # fmt: skip

NAME = "numba"
TILED = True
"""Whether convolutions may be computed in tiles."""

_NO_BIAS = np.zeros(0, np.float32)

jit: Any = njit(cache=True, nogil=True, error_model="numpy")


@jit
def convolve(source, places, width, layout, bend, pad, limit, target, out, moves, debt, bases, rows):  # type: ignore[no-untyped-def]
    """Compute a convolution at places, and write what changed enough; return how many places those are.

    layout: a `layout.Windows`, its weights of shape (groups, panels, k, columns), its bias of (groups,
    panels * columns), zeros where a group has fewer filters. bend: code, low and high of `settle`, as is the rest.
    bases: int64, `ROOM`; rows: room for as many rows of a group's bias.
    """
    stride, corner, lines, line, weights, bias, filters, pool = layout
    code, low, high = bend
    groups, columns = bias.shape
    _, wide, depth = source.shape
    flat = source.reshape(-1)
    written = 0
    square = pool * pool
    for start in range(0, len(places), CHUNK // square):
        part = places[start : start + CHUNK // square]
        expect(part, width, pad, target)
        windows(part, width, stride, corner, wide, depth, pool, bases)
        if groups == 1:
            products(flat, bases, square * len(part), lines, line, weights[0], bias[0], rows)
            for at in range(len(part) if pool > 1 else 0):
                best(rows, at * square * columns, square, columns, 1, 0, rows, at * columns, columns)
            found = rows[: len(part) * columns].reshape(len(part), columns)
        else:
            found = np.empty((len(part), groups * filters), np.float32)
            for group in range(groups):
                given = flat[group * (depth // groups) :]
                products(given, bases, len(part), lines, line, weights[group], bias[group], rows)
                for at in range(len(part)):
                    copy(rows, at * columns, found.reshape(-1), at * groups * filters + group * filters, filters)
        written += settle(
            found, groups * filters, _NO_BIAS, code, low, high, part, width, pad, limit, 0, target, out[written:],
            moves[written:], debt,
        )  # fmt: skip
    return written


@jit
def fetch(source, pad, places, width, out):  # type: ignore[no-untyped-def]
    """Write the activations at places to the rows of `out`, shape (n, channels)."""
    size = source.shape[2]
    for at in range(len(places)):
        row = source[places[at] // width + pad, places[at] % width + pad]
        for j in range(size):
            out[at, j] = row[j]


@jit
def combine(source, pad, places, width, times, out):  # type: ignore[no-untyped-def]
    """Add the activations at places to the rows of `out`, or multiply them with those."""
    size = source.shape[2]
    for at in range(len(places)):
        row = source[places[at] // width + pad, places[at] % width + pad]
        if times:
            for j in range(size):
                out[at, j] *= row[j]
        else:
            for j in range(size):
                out[at, j] += row[j]


@jit
def add(one, pad_one, other, pad_other, places, width, out):  # type: ignore[no-untyped-def]
    """Write the sum of the activations of two tensors at places to the rows of `out`."""
    size = one.shape[2]
    a, b, rows = one.reshape(-1), other.reshape(-1), out.reshape(-1)
    row, first = 0, 0
    for at in range(len(places)):
        while places[at] >= first + width:
            row += 1
            first += width
        x, to = places[at] - first, at * size
        here = ((row + pad_one) * one.shape[1] + x + pad_one) * size
        there = ((row + pad_other) * other.shape[1] + x + pad_other) * size
        copy(a, here, rows, to, size)
        plus(b, there, rows, to, size)


@jit
def scale(rows, factor):  # type: ignore[no-untyped-def]
    """Multiply rows by one factor for each channel."""
    for at in range(len(rows)):
        for j in range(len(factor)):
            rows[at, j] *= factor[j]


@jit
def depthwise(source, pad, places, width_out, kernel, stride, pads, dilation, weights, out):  # type: ignore[no-untyped-def]
    """Write convolutions of each channel by itself to the rows of `out`; weights: shape (kh·kw, channels)."""
    kh, kw = kernel
    sh, sw = stride
    dh, dw = dilation
    oy, ox = pad - pads[0], pad - pads[1]
    size = source.shape[2]
    for at in range(len(places)):
        y = (places[at] // width_out) * sh + oy
        x = (places[at] % width_out) * sw + ox
        row = out[at]
        for j in range(size):
            row[j] = np.float32(0.0)
        for ky in range(kh):
            for kx in range(kw):
                given = source[y + ky * dh, x + kx * dw]
                weight = weights[ky * kw + kx]
                for j in range(size):
                    row[j] += given[j] * weight[j]


@jit
def pool(source, pad, places, width_out, kernel, stride, pads, dilation, biggest, padded, out):  # type: ignore[no-untyped-def]
    """Write pooled windows to the rows of `out`: the largest, or the mean; padded: the mean counts the padding."""
    kh, kw = kernel
    sh, sw = stride
    dh, dw = dilation
    wide, size = source.shape[1], source.shape[2]
    height, width = source.shape[0] - 2 * pad, wide - 2 * pad
    flat, rows = source.reshape(-1), out.reshape(-1)
    row, first = 0, 0
    for at in range(len(places)):
        while places[at] >= first + width_out:
            row += 1
            first += width_out
        y, x = row * sh - pads[0], (places[at] - first) * sw - pads[1]
        if biggest and y >= 0 and x >= 0 and y + (kh - 1) * dh < height and x + (kw - 1) * dw < width:
            start = ((y + pad) * wide + x + pad) * size
            best(flat, start, kh, dh * wide * size, kw, dw * size, rows, at * size, size)
            continue
        count = 0
        for ky in range(kh):
            ty = y + ky * dh
            if ty < 0 or ty >= height:
                continue
            for kx in range(kw):
                tx = x + kx * dw
                if tx < 0 or tx >= width:
                    continue
                start = ((ty + pad) * wide + tx + pad) * size
                if not count:
                    copy(flat, start, rows, at * size, size)
                elif biggest:
                    highest(flat, start, rows, at * size, size)
                else:
                    plus(flat, start, rows, at * size, size)
                count += 1
        if not biggest:
            share = np.float32(1.0) / np.float32(kh * kw if padded else max(count, 1))
            for j in range(size):
                rows[at * size + j] *= share
        elif not count:
            for j in range(size):
                rows[at * size + j] = np.float32(-np.inf)


@jit
def resize(source, pad, places, width_out, rows_y, rows_x, share_y, share_x, out):  # type: ignore[no-untyped-def]
    """Write resized activations to the rows of `out`.

    rows_y, rows_x: by output row or column, the two that it reads, int32, (n, 2); share_y, share_x: weight of the
    second one, float32.
    """
    size = source.shape[2]
    for at in range(len(places)):
        oy = places[at] // width_out
        ox = places[at] % width_out
        wy, wx = share_y[oy], share_x[ox]
        y0, y1 = rows_y[oy, 0] + pad, rows_y[oy, 1] + pad
        x0, x1 = rows_x[ox, 0] + pad, rows_x[ox, 1] + pad
        a, b, c, d = source[y0, x0], source[y0, x1], source[y1, x0], source[y1, x1]
        row = out[at]
        if wy == 0 and wx == 0:
            for j in range(size):
                row[j] = a[j]
        else:
            one = np.float32(1.0)
            for j in range(size):
                row[j] = (a[j] * (one - wx) + b[j] * wx) * (one - wy) + (c[j] * (one - wx) + d[j] * wx) * wy
