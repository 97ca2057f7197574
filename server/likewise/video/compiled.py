"""Index work of the incremental executor, compiled by numba; `plain.py` has the same in NumPy, for where it is not.

Activations are float32 of shape (height + 2·pad, width + 2·pad, channels), C-contiguous, with zeros around the picture.
A place is y·width + x without the padding, int32; lists of places are ascending.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from likewise.video.compiled_frames import changed_blocks, equal, planes, store, take_over
from likewise.video.compiled_places import merge, reach, spread, stretch

__all__ = [
    "NAME", "add", "changed_blocks", "combine", "depthwise", "equal", "fetch", "gather", "merge", "planes", "pool",
    "reach", "resize", "scale", "settle", "spread", "store", "stretch", "take_over",
]  # fmt: skip

NAME = "numba"

_FAST: Any = {"nsz", "reassoc", "contract", "arcp"}
jit: Any = njit(cache=True, nogil=True, error_model="numpy")
fast: Any = njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)


@jit
def gather(source, pad, places, width_out, kernel, stride, pads, dilation, channel, channels, out):  # type: ignore[no-untyped-def]
    """Write the windows of outputs to the beginning of `out`, flat, rows of kh·kw·channels one after another.

    channel, channels: the first one that is read, and how many.
    """
    kh, kw = kernel
    sh, sw = stride
    dh, dw = dilation
    oy, ox = pad - pads[0], pad - pads[1]
    depth = source.shape[2]
    wide = source.shape[1]
    flat = source.reshape(-1)
    size = kh * kw * channels
    whole = dw == 1 and channels == depth
    line = kw * channels if whole else channels
    count = 1 if whole else kw
    for at in range(len(places)):
        y = (places[at] // width_out) * sh + oy
        x = (places[at] % width_out) * sw + ox
        to = at * size
        for ky in range(kh):
            start = ((y + ky * dh) * wide + x) * depth + channel
            for _ in range(count):
                given, row = (
                    flat[start : start + line],
                    out[to : to + line],
                )  # what may be negative is copied one by one
                for j in range(line):
                    row[j] = given[j]
                to += line
                start += dw * depth


@fast
def _activate(row, code, low, high):  # type: ignore[no-untyped-def]
    if code == 1:
        for j in range(len(row)):
            row[j] = max(row[j], np.float32(0.0))
    elif code == 2:
        for j in range(len(row)):
            row[j] = row[j] if row[j] >= 0 else row[j] * low
    elif code == 3:
        for j in range(len(row)):
            row[j] = min(max(row[j], low), high)
    elif code == 4:
        for j in range(len(row)):
            row[j] = np.float32(1.0) / (np.float32(1.0) + math.exp(-row[j]))
    elif code == 5:
        for j in range(len(row)):
            row[j] = row[j] / (np.float32(1.0) + math.exp(-row[j]))
    elif code == 6:
        for j in range(len(row)):
            row[j] = min(max(row[j] * low + high, np.float32(0.0)), np.float32(1.0))
    elif code == 7:
        for j in range(len(row)):
            row[j] = row[j] * min(max(row[j] * low + high, np.float32(0.0)), np.float32(1.0))
    elif code == 8:
        for j in range(len(row)):
            row[j] = math.tanh(row[j])
    elif code == 9:
        for j in range(len(row)):
            row[j] = row[j] if row[j] >= 0 else low * (math.exp(row[j]) - np.float32(1.0))


@fast
def _rectify(row, bias, kept):  # type: ignore[no-untyped-def]
    """Do in one pass what most layers need: the bias, ReLU, and the squared change."""
    total = np.float32(0.0)
    for j in range(len(row)):
        value = max(row[j] + bias[j], np.float32(0.0))
        d = value - kept[j]
        row[j] = value
        total += d * d
    return total


@fast
def _change(row, kept):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for j in range(len(row)):
        d = row[j] - kept[j]
        total += d * d
    return total


@jit
def _same(row, kept):  # type: ignore[no-untyped-def]
    same = True
    for j in range(len(row)):
        same &= row[j] == kept[j]
    return same


@jit
def settle(rows, bias, code, low, high, places, width, pad, limit, channel, target, out, moves, debt):  # type: ignore[no-untyped-def]
    """Add bias and activate rows in place; write those that changed enough to `target` and their places to `out`.

    limit: root mean square of the change of a row above which it is written; 0: any change; below 0: all are written.
    channel: of `target`, where a row begins. moves: gets the squared change of each row that was written. debt: where
    not empty, that of each row that was not; see `spread`. Returns how many were written.
    """
    count = 0
    size = rows.shape[1]
    bound = np.float32(limit * limit * size)
    for at in range(len(places)):
        row = rows[at]
        kept = target[places[at] // width + pad, places[at] % width + pad, channel : channel + size]
        if code == 1 and len(bias):
            moved = _rectify(row, bias, kept)
        else:
            if len(bias):
                for j in range(size):
                    row[j] += bias[j]
            if code:
                _activate(row, code, low, high)
            moved = _change(row, kept)
        if limit > 0:
            if moved <= bound:
                if len(debt):
                    debt[places[at]] = moved
                continue
        elif limit == 0 and _same(row, kept):
            if len(debt):
                debt[places[at]] = np.float32(0.0)
            continue
        if len(debt):
            debt[places[at]] = np.float32(0.0)
        for j in range(size):
            kept[j] = row[j]
        out[count] = places[at]
        moves[count] = moved
        count += 1
    return count


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
    for at in range(len(places)):
        y, x = places[at] // width, places[at] % width
        a, b, row = one[y + pad_one, x + pad_one], other[y + pad_other, x + pad_other], out[at]
        for j in range(size):
            row[j] = a[j] + b[j]


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
    height = source.shape[0] - 2 * pad
    width = source.shape[1] - 2 * pad
    size = source.shape[2]
    for at in range(len(places)):
        y = (places[at] // width_out) * sh - pads[0]
        x = (places[at] % width_out) * sw - pads[1]
        row = out[at]
        for j in range(size):
            row[j] = np.float32(-np.inf) if biggest else np.float32(0.0)
        count = 0
        for ky in range(kh):
            ty = y + ky * dh
            for kx in range(kw):
                tx = x + kx * dw
                if ty < 0 or ty >= height or tx < 0 or tx >= width:
                    continue
                count += 1
                given = source[ty + pad, tx + pad]
                if biggest:
                    for j in range(size):
                        row[j] = max(row[j], given[j])
                else:
                    for j in range(size):
                        row[j] += given[j]
        if not biggest:
            share = np.float32(1.0) / np.float32(kh * kw if padded else max(count, 1))
            for j in range(size):
                row[j] *= share


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
