"""Rows of new activations: what is made of them, and which of them are written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from likewise.video.compiled_vectors import bring, moved, put

_FAST: Any = {"nsz", "reassoc", "contract", "arcp"}
jit: Any = njit(cache=True, nogil=True, error_model="numpy")
fast: Any = njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)


@fast
def activate(row, code, low, high):  # type: ignore[no-untyped-def]
    """Apply a `layers.Function` to a row of numbers."""
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
def _change(given, at, flat, to, size):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for j in range(size):
        d = given[at + j] - flat[to + j]
        total += d * d
    return total


@jit
def _same(given, at, flat, to, size):  # type: ignore[no-untyped-def]
    same = True
    for j in range(size):
        same &= given[at + j] == flat[to + j]
    return same


@jit
def settle(rows, size, bias, code, low, high, places, width, pad, limit, channel, target, out, moves, debt):  # type: ignore[no-untyped-def]
    """Add bias and activate rows in place; write those that changed enough to `target` and their places to `out`.

    size: numbers of a row that are meant. limit: root mean square of the change of a row above which it is written; 0:
    any change; below 0: all are written. channel: of `target`, where a row begins. moves: gets the squared change of
    each row that was written, or 0 where all are. debt: where not empty, that of each row that was not; see `spread`.
    Returns how many were written.
    """
    count = 0
    bound = np.float32(limit * limit * size)
    bent = code <= 2
    slope = low if code == 2 else np.float32(code == 0)
    long, wide, depth = rows.shape[1], target.shape[1], target.shape[2]
    given, flat = rows.reshape(-1), target.reshape(-1)
    y, first = -1, -width
    for at in range(len(places)):
        while places[at] >= first + width:
            y += 1
            first += width
        to = ((y + pad) * wide + places[at] - first + pad) * depth + channel
        begin = at * long
        for j in range(len(bias)):
            given[begin + j] += bias[j]
        if bent and limit < 0:
            change = np.float32(0.0)
        elif bent:
            change = moved(given, begin, flat, to, size, slope)
        else:
            activate(given[begin : begin + size], code, low, high)
            change = _change(given, begin, flat, to, size)
        if limit > 0:
            write = not change <= bound
        elif limit == 0 and change == 0:  # or so small that its square is
            if bent:
                put(given, begin, given, begin, size, slope)
            write = not _same(given, begin, flat, to, size)
        else:
            write = True
        if len(debt):
            debt[places[at]] = np.float32(0.0) if write else change
        if write:
            put(given, begin, flat, to, size, slope if bent else np.float32(1.0))
            out[count] = places[at]
            moves[count] = change
            count += 1
    return count


@jit
def expect(places, width, pad, target):  # type: ignore[no-untyped-def]
    """Have the activations at places brought near, for `settle`."""
    flat, wide, size = target.reshape(-1), target.shape[1], target.shape[2]
    row, first = 0, 0
    for at in range(len(places)):
        while places[at] >= first + width:
            row += 1
            first += width
        bring(flat, ((row + pad) * wide + places[at] - first + pad) * size, size)
