"""Lists of places: what `compiled` has for finding which outputs a change reaches."""

from __future__ import annotations

from typing import Any

from numba import njit

jit: Any = njit(cache=True, nogil=True, error_model="numpy")


@jit
def _output(at, stride, size):  # type: ignore[no-untyped-def]
    """Return where along an axis the output is whose window begins at a padded place; -1: there is none."""
    out = at // stride
    return out if 0 <= out < size and out * stride == at else -1


@jit
def reach(places, width, kernel, stride, pads, dilation, height_out, width_out, flags, out):  # type: ignore[no-untyped-def]
    """Write to `out` the places of outputs whose window holds one of `places`; return how many.

    kernel, stride, dilation: (y, x); pads: (top, left). flags: zeros, uint8, at least one for each output; left so.
    """
    kh, kw = kernel
    sh, sw = stride
    dh, dw = dilation
    top, left = pads
    if dh == 1 and dw == 1:
        return _reach_runs(places, width, kernel, stride, pads, height_out, width_out, flags, out)
    low, high = height_out, -1
    for at in range(len(places)):
        y = places[at] // width + top
        x = places[at] % width + left
        for ky in range(kh):
            oy = _output(y - ky * dh, sh, height_out)
            if oy < 0:
                continue
            low, high = min(low, oy), max(high, oy)
            for kx in range(kw):
                ox = _output(x - kx * dw, sw, width_out)
                if ox >= 0:
                    flags[oy * width_out + ox] = 1
    return _collect(low * width_out, (high + 1) * width_out, flags, out)


@jit
def _reach_runs(places, width, kernel, stride, pads, height_out, width_out, flags, out):  # type: ignore[no-untyped-def]
    """Do what `reach` does without dilation, for places side by side at once."""
    kh, kw = kernel
    sh, sw = stride
    top, left = pads
    low, high = height_out, -1
    at, count = 0, len(places)
    row, first = 0, 0
    while at < count:
        begin = places[at]
        while begin >= first + width:
            row += 1
            first += width
        end = at + 1
        while end < count and places[end] == places[end - 1] + 1 and places[end] < first + width:
            end += 1
        x0 = max(0, (begin - first + left - kw + sw) // sw)
        x1 = min(width_out - 1, (places[end - 1] - first + left) // sw)
        y0, y1 = max(0, (row + top - kh + sh) // sh), min(height_out - 1, (row + top) // sh)
        if x0 <= x1 and y0 <= y1:
            low, high = min(low, y0), max(high, y1)
            for oy in range(y0, y1 + 1):
                for to in range(oy * width_out + x0, oy * width_out + x1 + 1):
                    flags[to] = 1
        at = end
    return _collect(low * width_out, (high + 1) * width_out, flags, out)


@jit
def spread(places, moves, width, kernel, stride, pads, dilation, width_out, gains, bound, debt, flags, out):  # type: ignore[no-untyped-def]
    """Write to `out` the places of outputs that the changes of their windows may have moved by much; return how many.

    moves: squared change of each of `places`. gains: by tap, (kh, kw), how much of that reaches an output. debt: by
    output, squared change that is expected since it was last computed; what exceeds `bound` is listed.
    """
    kh, kw = kernel
    sh, sw = stride
    dh, dw = dilation
    top, left = pads
    height_out = len(debt) // width_out
    low, high = height_out, -1
    row, first = 0, 0
    for at in range(len(places)):
        while places[at] >= first + width:
            row += 1
            first += width
        y, x = row + top, places[at] - first + left
        move = moves[at]
        if dh == 1 and dw == 1:
            y0, y1 = max(0, (y - kh + sh) // sh), min(height_out - 1, y // sh)
            x0, x1 = max(0, (x - kw + sw) // sw), min(width_out - 1, x // sw)
            low, high = min(low, y0), max(high, y1)
            for oy in range(y0, y1 + 1):
                for ox in range(x0, x1 + 1):
                    to = oy * width_out + ox
                    debt[to] += move * gains[y - oy * sh, x - ox * sw]
                    flags[to] = debt[to] > bound
            continue
        for ky in range(kh):
            oy = _output(y - ky * dh, sh, height_out)
            if oy < 0:
                continue
            low, high = min(low, oy), max(high, oy)
            for kx in range(kw):
                ox = _output(x - kx * dw, sw, width_out)
                if ox >= 0:
                    to = oy * width_out + ox
                    debt[to] += move * gains[ky, kx]
                    flags[to] = debt[to] > bound
    return _collect(low * width_out, (high + 1) * width_out, flags, out)


@jit
def _collect(start, stop, flags, out):  # type: ignore[no-untyped-def]
    count = 0
    for at in range(start, stop):
        if flags[at]:
            out[count] = at
            count += 1
            flags[at] = 0
    return count


@jit
def merge(places, others, flags, out):  # type: ignore[no-untyped-def]
    """Write to `out` the places that are in one of two lists; return how many."""
    low, high = len(flags), -1
    for each in (places, others):
        if len(each):
            low = min(low, each[0])
            high = max(high, each[-1])
        for at in range(len(each)):
            flags[each[at]] = 1
    return _collect(low, high + 1, flags, out)


@jit
def stretch(places, width, spans_y, spans_x, width_out, flags, out):  # type: ignore[no-untyped-def]
    """Write to `out` the outputs of a resize that read one of `places`; return how many.

    spans_y, spans_x: by input row or column, the first output that reads it and the one after the last, int32, (n, 2).
    """
    low, high = len(flags), -1
    for at in range(len(places)):
        y = places[at] // width
        x = places[at] % width
        for oy in range(spans_y[y, 0], spans_y[y, 1]):
            low = min(low, oy * width_out)
            high = max(high, (oy + 1) * width_out)
            for ox in range(spans_x[x, 0], spans_x[x, 1]):
                flags[oy * width_out + ox] = 1
    return _collect(min(low, max(high, 0)), high, flags, out)
