"""Frames and whole activations: what `compiled` has for comparing, taking over and bringing into another order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

jit: Any = njit(cache=True, nogil=True, error_model="numpy")


@jit
def equal(given, kept):  # type: ignore[no-untyped-def]
    """Say whether two pictures, shape (channels, height, width), are the same; a difference near the top ends it."""
    for c in range(given.shape[0]):
        for y in range(given.shape[1]):
            same = True
            for x in range(given.shape[2]):
                same &= given[c, y, x] == kept[c, y, x]
            if not same:
                return False
    return True


@jit
def changed_blocks(given, kept, block, threshold, pixels, mean, unit, flags, blocks):  # type: ignore[no-untyped-def]
    """Mark the blocks of block × block pixels of a picture that differ from the stored one.

    Returns how many, and the drift: how far the means of the other blocks are from the
    stored ones, on average, in units of `unit`.

    given, kept: float32, shape (channels, height, width). threshold: by channel, above which a pixel differs; pixels:
    of a block that differ for the block to be dirty. mean: by channel, how far the mean of a block differs at least for
    it to be dirty whatever its pixels do; inf: never. flags: uint8, one for each column of the picture.
    blocks: uint8, one for each block; all are written.
    """
    channels, height, width = given.shape
    columns = (width + block - 1) // block
    sums = np.empty((channels, width), np.float32)
    counts = np.empty(width, np.uint8)
    dirty = 0
    drift = 0.0
    for by in range((height + block - 1) // block):
        top, bottom = by * block, min(height, (by + 1) * block)
        counts[:] = 0
        sums[:] = 0
        for y in range(top, bottom):
            for x in range(width):
                flags[x] = 0
            for c in range(channels):
                new, old, bound, total = given[c, y], kept[c, y], threshold[c], sums[c]
                for x in range(width):
                    d = new[x] - old[x]
                    total[x] += d
                    flags[x] |= abs(d) > bound
            for x in range(width):
                counts[x] += flags[x]
        for bx in range(columns):
            left, right = bx * block, min(width, (bx + 1) * block)
            count = 0
            for x in range(left, right):
                count += counts[x]
            over = count >= pixels
            if not over:
                area = (bottom - top) * (right - left)
                far = 0.0
                for c in range(channels):
                    total_ = np.float32(0.0)
                    for x in range(left, right):
                        total_ += sums[c, x]
                    over |= abs(total_) > mean[c] * area
                    far += abs(total_) / (unit[c] * area)
                if not over:
                    drift += far / channels
            blocks[by * columns + bx] = over
            dirty += over
    return dirty, drift / max(len(blocks) - dirty, 1)


@jit
def take_over(given, kept, block, low, blocks, target, pad, out):  # type: ignore[no-untyped-def]
    """Write the pixels of dirty blocks to the stored pictures and their places to `out`; return how many.

    given, kept: float32, shape (channels, height, width); target: the same as kept, channels last and padded.
    low: by channel, how far a pixel has to differ to be taken over; below 0: all are.
    """
    channels, height, width = given.shape
    columns = (width + block - 1) // block
    over = np.empty(width, np.uint8)
    count = 0
    for by in range((height + block - 1) // block):
        first, last = columns, -1
        for bx in range(columns):
            if blocks[by * columns + bx]:
                first, last = min(first, bx), bx
        left, right = first * block, min(width, (last + 1) * block)
        for y in range(by * block, min(height, (by + 1) * block) if last >= 0 else 0):
            for x in range(left, right):
                over[x] = 0
            for c in range(channels):
                new, old, bound = given[c, y], kept[c, y], low[c]
                for x in range(left, right):
                    over[x] |= abs(new[x] - old[x]) > bound
            for bx in range(first, last + 1):
                if not blocks[by * columns + bx]:
                    continue
                for x in range(bx * block, min(width, (bx + 1) * block)):
                    if over[x]:
                        for c in range(channels):
                            kept[c, y, x] = given[c, y, x]
                            target[y + pad, x + pad, c] = given[c, y, x]
                        out[count] = y * width + x
                        count += 1
    return count


@jit
def store(given, target, pad):  # type: ignore[no-untyped-def]
    """Write activations of shape (channels, height, width) to stored ones; return the sum of their squares."""
    channels, height, width = given.shape
    total: Any = 0.0
    for y in range(height):
        line = target[y + pad, pad : pad + width]
        for start in range(0, width, 16):
            part = line[start : start + 16]
            for c in range(channels):
                row = given[c, y, start : start + 16]
                squares = np.float32(0.0)
                for x in range(len(row)):
                    value = row[x]
                    part[x, c] = value
                    squares += value * value
                total += squares
    return total


@jit
def planes(source, pad, out):  # type: ignore[no-untyped-def]
    """Write activations to `out`, shape (channels, height, width), without padding."""
    channels, height, width = out.shape
    for y in range(height):
        line = source[y + pad, pad : pad + width]
        for c in range(channels):
            row = out[c, y]
            for x in range(width):
                row[x] = line[x, c]
