"""Products of windows with weights, for places that lie anywhere: windows are read where they are, nothing is gathered.

What a register block holds is after K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
(2008).
"""

from __future__ import annotations

from typing import Any

from numba import njit

from likewise.video.compiled_vectors import FEW, LANES, LINE, ROWS, few_narrow, few_wide, many_narrow, many_wide

jit: Any = njit(cache=True, nogil=True, error_model="numpy")

CHUNK = 240
"""Rows that are computed before they are settled: what stays in the second level cache. A multiple of `2 * ROWS`."""
DEPTH = 256
"""Numbers of a window that are multiplied at once, about: their weights fill the first level cache."""
ROOM = CHUNK + 2 * ROWS
"""Rows that there has to be room for."""


@jit
def windows(places, width_out, stride, corner, wide, depth, pool, out):  # type: ignore[no-untyped-def]
    """Write where the windows of outputs begin to `out`; the last one again, up to `2 * ROWS` times.

    wide, depth: columns of the source, with padding, and its channels. corner: (y, x) of the first window in it. pool:
    side of the squares of windows that are pooled to an output, which are written one after another.
    """
    sh, sw = stride
    oy, ox = corner
    row, first, count = 0, 0, 0
    for at in range(len(places)):
        while places[at] >= first + width_out:
            row += 1
            first += width_out
        y, x = row * pool * sh + oy, (places[at] - first) * pool * sw + ox
        for down in range(pool):
            for right in range(pool):
                out[count] = ((y + down * sh) * wide + x + right * sw) * depth
                count += 1
    for at in range(count, count + 2 * ROWS):
        out[at] = out[count - 1]


@jit
def products(flat, bases, count, lines, line, weights, bias, out):  # type: ignore[no-untyped-def]
    """Write so many windows times weights plus bias to rows of `out`, as long as `bias`.

    bases: see `windows`. lines: where each run of `line` numbers of a window begins, from there. weights: shape
    (panels, k, `LANES` or 2 * `LANES`). What becomes of the rows of `out` after those has no meaning.
    """
    panels, k, columns = weights.shape
    packed, size = weights.reshape(-1), len(bias)
    together = max(1, DEPTH // line)
    for first in range(0, len(lines), together):
        last = min(len(lines), first + together)
        given, step = (out, size) if first else (bias, 0)
        depth = (last - first) * line
        for panel in range(panels):
            start, column = (panel * k + first * line) * columns, panel * columns
            ahead = start + k * columns if panel + 1 < panels else last * line * columns
            at = 0
            while at < count:
                to, begin = at * size + column, at * step + column
                few = count - at <= FEW * (2 if columns == LANES else 1)
                if columns == LANES and few:
                    few_narrow(
                        flat, bases, at, lines, first, last, line, packed, start, ahead, given, begin, step, out, to,
                        size,
                    )  # fmt: skip
                    at += 2 * FEW
                elif columns == LANES:
                    many_narrow(
                        flat, bases, at, lines, first, last, line, packed, start, ahead, given, begin, step, out, to,
                        size,
                    )  # fmt: skip
                    at += 2 * ROWS
                elif few:
                    few_wide(
                        flat, bases, at, lines, first, last, line, packed, start, ahead, given, begin, step, out, to,
                        size,
                    )  # fmt: skip
                    at += FEW
                else:
                    many_wide(
                        flat, bases, at, lines, first, last, line, packed, start, ahead, given, begin, step, out, to,
                        size,
                    )  # fmt: skip
                    at += ROWS
                ahead += depth * LINE
