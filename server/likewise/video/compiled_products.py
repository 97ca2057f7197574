"""Products of windows with weights, for places that lie anywhere: gathered and multiplied in blocks that stay in cache.

After K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
"""

from __future__ import annotations

from typing import Any

from numba import njit

from likewise.video.compiled_vectors import FEW, LINE, ROWS, STRIDE, WIDTH, copy, few_rows, many_rows

jit: Any = njit(cache=True, nogil=True, error_model="numpy")

DEPTH = 256
"""Numbers of a row that are gathered at once, at most: with one panel of weights they fill the first level cache."""
CHUNK = 240
"""Rows that are gathered at once: what stays in the second level cache. A multiple of `ROWS`."""


@jit
def gather(flat, places, width_out, stride, corner, wide, depth, lines, line, first, last, out):  # type: ignore[no-untyped-def]
    """Write numbers `first` to `last` of the windows of outputs to rows of `out`, `STRIDE` apart.

    flat: the source; wide, depth: its columns with padding, and channels. corner: (y, x) in the padded source of the
    first window. lines: where each run of `line` numbers of a window begins, from the window's corner.
    """
    sh, sw = stride
    oy, ox = corner
    begin = first // line
    before = first - begin * line
    y, left = -1, -width_out
    for at in range(len(places)):
        while places[at] >= left + width_out:
            y += 1
            left += width_out
        base = ((y * sh + oy) * wide + (places[at] - left) * sw + ox) * depth
        to = at * STRIDE
        k, each, skip = first, begin, before
        while k < last:
            count = min(line - skip, last - k)
            copy(flat, base + lines[each] + skip, out, to, count)
            to += count
            k += count
            each += 1
            skip = 0


@jit
def products(flat, places, width_out, stride, corner, wide, depth, lines, line, weights, bias, gathered, out):  # type: ignore[no-untyped-def]
    """Write windows times weights plus bias to rows of `out`, as long as `bias`: a multiple of `WIDTH`.

    weights: shape (panels, k, WIDTH). gathered: room for `CHUNK` rows of `STRIDE`; out: for as many as places, and
    `ROWS` more; what becomes of those has no meaning. For the others see `gather`.
    """
    panels, k, _ = weights.shape
    count, size = len(places), len(bias)
    packed = weights.reshape(-1)
    for at in range(count):
        copy(bias, 0, out, at * size, size)
    parts = (k + DEPTH - 1) // DEPTH
    part = (k + parts - 1) // parts
    for first in range(0, k, part):
        last = min(k, first + part)
        gather(flat, places, width_out, stride, corner, wide, depth, lines, line, first, last, gathered)
        for panel in range(panels):
            start = (panel * k + first) * WIDTH
            ahead = start + k * WIDTH if panel + 1 < panels else last * WIDTH
            at = 0
            while at < count:
                to = at * size + panel * WIDTH
                if count - at > 2 * FEW:
                    many_rows(gathered, at * STRIDE, packed, start, out, to, last - first, size, ahead)
                    at += ROWS
                else:
                    few_rows(gathered, at * STRIDE, packed, start, out, to, last - first, size, ahead)
                    at += FEW
                ahead += (last - first) * LINE
