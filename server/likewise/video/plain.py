"""What `compiled.py` has, in NumPy alone: several times slower, and the same to the last few bits."""

from __future__ import annotations

from typing import Any

import numpy as np

NAME = "numpy"
LANES, ROOM = 8, 1
TILED = False

Numbers = np.ndarray[Any, Any]
Pair = tuple[int, int]


def _listed(flags: Numbers, out: Numbers) -> int:
    (found,) = np.nonzero(flags)
    out[: len(found)] = found
    flags[:] = 0
    return len(found)


def reach(
    places: Numbers, width: int, kernel: Pair, stride: Pair, pads: Pair, dilation: Pair, height_out: int,
    width_out: int, flags: Numbers, out: Numbers,
) -> int:  # fmt: skip
    """See `compiled.reach`."""
    y, x = places // width + pads[0], places % width + pads[1]
    for ky in range(kernel[0]):
        oy, odd_y = np.divmod(y - ky * dilation[0], stride[0])
        for kx in range(kernel[1]):
            ox, odd_x = np.divmod(x - kx * dilation[1], stride[1])
            hit = (odd_y == 0) & (odd_x == 0) & (oy >= 0) & (oy < height_out) & (ox >= 0) & (ox < width_out)
            flags[oy[hit] * width_out + ox[hit]] = 1
    return _listed(flags, out)


def spread(
    places: Numbers, moves: Numbers, width: int, kernel: Pair, stride: Pair, pads: Pair, dilation: Pair, width_out: int,
    gains: Numbers, bound: float, debt: Numbers, flags: Numbers, out: Numbers,
) -> int:  # fmt: skip
    """See `compiled.spread`."""
    height_out = len(debt) // width_out
    y, x = places // width + pads[0], places % width + pads[1]
    touched = np.zeros(len(debt), bool)
    for ky in range(kernel[0]):
        oy, odd_y = np.divmod(y - ky * dilation[0], stride[0])
        for kx in range(kernel[1]):
            ox, odd_x = np.divmod(x - kx * dilation[1], stride[1])
            hit = (odd_y == 0) & (odd_x == 0) & (oy >= 0) & (oy < height_out) & (ox >= 0) & (ox < width_out)
            to = oy[hit] * width_out + ox[hit]
            debt[to] += moves[hit] * gains[ky, kx]
            touched[to] = True
    flags[: len(debt)] = touched & (debt > bound)
    return _listed(flags, out)


def merge(places: Numbers, others: Numbers, flags: Numbers, out: Numbers) -> int:
    """See `compiled.merge`."""
    found = np.union1d(places, others)
    out[: len(found)] = found
    return len(found)


def stretch(
    places: Numbers, width: int, spans_y: Numbers, spans_x: Numbers, width_out: int, flags: Numbers, out: Numbers
) -> int:
    """See `compiled.stretch`."""
    for place in places.tolist():
        (top, bottom), (left, right) = spans_y[place // width], spans_x[place % width]
        for row in range(top, bottom):
            flags[row * width_out + left : row * width_out + right] = 1
    return _listed(flags, out)


def _windows(places: Numbers, pad: int, width_out: int, stride: Pair, pads: Pair) -> tuple[Numbers, Numbers]:
    y = (places // width_out) * stride[0] + pad - pads[0]
    x = (places % width_out) * stride[1] + pad - pads[1]
    return y, x


def convolve(
    source: Numbers, places: Numbers, width: int, layout: Any, bend: Any, pad: int, limit: float, target: Numbers,
    out: Numbers, moves: Numbers, debt: Numbers, bases: Numbers, rows: Numbers,
) -> int:  # fmt: skip
    """See `compiled.convolve`."""
    stride, corner, lines, line, weights, bias, filters, pool = layout
    code, low, high = bend
    groups, _, k, _ = weights.shape
    _, wide, depth = source.shape
    inner = np.arange(pool)  # by place, all that is pooled to it
    y = ((places // width * pool)[:, None, None] + inner[:, None]) * stride[0] + corner[0]
    x = ((places % width * pool)[:, None, None] + inner) * stride[1] + corner[1]
    y, x = (each.ravel() for each in np.broadcast_arrays(y, x))
    windows = ((y * wide + x) * depth)[:, None] + (lines[:, None] + np.arange(line)).ravel()
    flat, found = source.reshape(-1), []
    for group in range(groups):
        matrix = weights[group].transpose(1, 0, 2).reshape(k, -1)[:, :filters]
        found.append(flat[windows + group * (depth // groups)] @ matrix + bias[group, :filters])
    values = np.concatenate(found, 1)
    values = np.ascontiguousarray(values.reshape(len(places), pool * pool, -1).max(1))
    none = np.zeros(0, np.float32)
    return settle(
        values, values.shape[1], none, code, low, high, places, width, pad, limit, 0, target, out, moves, debt
    )


def _activate(rows: Numbers, code: int, low: Any, high: Any) -> Numbers:
    one = np.float32(1.0)
    found: Numbers
    with np.errstate(over="ignore"):
        if code == 1:
            found = np.maximum(rows, np.float32(0.0))
        elif code == 2:
            found = np.where(rows >= 0, rows, rows * low)
        elif code == 3:
            found = np.clip(rows, low, high)
        elif code == 4:
            found = one / (one + np.exp(-rows))
        elif code == 5:
            found = rows / (one + np.exp(-rows))
        elif code == 6:
            found = np.clip(rows * low + high, np.float32(0.0), one)
        elif code == 7:
            found = rows * np.clip(rows * low + high, np.float32(0.0), one)
        elif code == 8:
            found = np.tanh(rows)
        else:
            found = np.where(rows >= 0, rows, low * (np.exp(np.minimum(rows, 0)) - one))
    return found


def settle(
    rows: Numbers, size: int, bias: Numbers, code: int, low: Any, high: Any, places: Numbers, width: int, pad: int,
    limit: float, channel: int, target: Numbers, out: Numbers, moves: Numbers, debt: Numbers,
) -> int:  # fmt: skip
    """See `compiled.settle`."""
    if len(bias):
        rows += bias
    if code:
        rows[...] = _activate(rows, code, low, high)
    y, x = places // width + pad, places % width + pad
    channels = slice(channel, channel + rows.shape[1])
    kept = target[y, x, channels]
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.square(rows - kept).sum(1)
    if limit > 0:
        over = ~(moved <= np.float32(limit * limit * rows.shape[1]))
    elif limit == 0:
        over = (rows != kept).any(1)
    else:
        over = np.ones(len(places), bool)
    if len(debt):
        debt[places] = np.where(over, np.float32(0.0), moved)
    target[y[over], x[over], channels] = rows[over]
    found = places[over]
    out[: len(found)] = found
    moves[: len(found)] = moved[over]
    return len(found)


def _at(source: Numbers, pad: int, places: Numbers, width: int) -> Numbers:
    return source[places // width + pad, places % width + pad]  # type: ignore[no-any-return]


def fetch(source: Numbers, pad: int, places: Numbers, width: int, out: Numbers) -> None:
    """See `compiled.fetch`."""
    out[...] = _at(source, pad, places, width)


def add(one: Numbers, pad_one: int, other: Numbers, pad_other: int, places: Numbers, width: int, out: Numbers) -> None:
    """See `compiled.add`."""
    out[...] = _at(one, pad_one, places, width) + _at(other, pad_other, places, width)


def combine(source: Numbers, pad: int, places: Numbers, width: int, times: bool, out: Numbers) -> None:
    """See `compiled.combine`."""
    values = _at(source, pad, places, width)
    (np.multiply if times else np.add)(out, values, out=out)


def scale(rows: Numbers, factor: Numbers) -> None:
    """See `compiled.scale`."""
    rows *= factor


def depthwise(
    source: Numbers, pad: int, places: Numbers, width_out: int, kernel: Pair, stride: Pair, pads: Pair, dilation: Pair,
    weights: Numbers, out: Numbers,
) -> None:  # fmt: skip
    """See `compiled.depthwise`."""
    y, x = _windows(places, pad, width_out, stride, pads)
    out[...] = 0
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            out += source[y + ky * dilation[0], x + kx * dilation[1]] * weights[ky * kernel[1] + kx]


def pool(
    source: Numbers, pad: int, places: Numbers, width_out: int, kernel: Pair, stride: Pair, pads: Pair, dilation: Pair,
    biggest: bool, padded: bool, out: Numbers,
) -> None:  # fmt: skip
    """See `compiled.pool`."""
    height, width = source.shape[0] - 2 * pad, source.shape[1] - 2 * pad
    y, x = _windows(places, 0, width_out, stride, pads)
    out[...] = -np.inf if biggest else 0
    count = np.zeros(len(places), np.int64)
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            ty, tx = y + ky * dilation[0], x + kx * dilation[1]
            inside = (ty >= 0) & (ty < height) & (tx >= 0) & (tx < width)
            values = source[ty[inside] + pad, tx[inside] + pad]
            out[inside] = np.maximum(out[inside], values) if biggest else out[inside] + values
            count += inside
    if not biggest:
        out *= (np.float32(1.0) / np.maximum(kernel[0] * kernel[1] if padded else count, 1).astype(np.float32)).reshape(
            -1, 1
        )


def resize(
    source: Numbers, pad: int, places: Numbers, width_out: int, rows_y: Numbers, rows_x: Numbers, share_y: Numbers,
    share_x: Numbers, out: Numbers,
) -> None:  # fmt: skip
    """See `compiled.resize`."""
    oy, ox = places // width_out, places % width_out
    wy, wx, one = share_y[oy][:, None], share_x[ox][:, None], np.float32(1.0)
    y0, y1 = rows_y[oy, 0] + pad, rows_y[oy, 1] + pad
    x0, x1 = rows_x[ox, 0] + pad, rows_x[ox, 1] + pad
    top = source[y0, x0] * (one - wx) + source[y0, x1] * wx
    out[...] = top * (one - wy) + (source[y1, x0] * (one - wx) + source[y1, x1] * wx) * wy


def _spread(values: Numbers, block: int, height: int, width: int) -> Numbers:
    return np.repeat(np.repeat(values, block, 0), block, 1)[:height, :width]


def equal(given: Numbers, kept: Numbers) -> bool:
    """See `compiled.equal`."""
    return bool(np.array_equal(given, kept))


def changed_blocks(
    given: Numbers, kept: Numbers, block: int, threshold: Numbers, pixels: int, mean: Numbers, unit: Numbers,
    flags: Numbers, blocks: Numbers,
) -> tuple[int, float]:  # fmt: skip
    """See `compiled.changed_blocks`."""
    channels, height, width = given.shape
    rows, columns = -(-height // block), -(-width // block)
    difference = np.zeros((channels, rows * block, columns * block), np.float32)
    difference[:, :height, :width] = given - kept
    over = (np.abs(difference) > threshold[:, None, None]).any(0)
    count = over.reshape(rows, block, columns, block).sum((1, 3))
    sums = np.abs(difference.reshape(channels, rows, block, columns, block).sum((2, 4)))
    tall = np.minimum(block, height - np.arange(rows) * block)
    wide = np.minimum(block, width - np.arange(columns) * block)
    dirty = (count >= pixels) | (sums > mean[:, None, None] * (tall[:, None] * wide)).any(0)
    blocks[:] = dirty.ravel()
    far = (sums / (unit[:, None, None] * (tall[:, None] * wide))).mean(0)
    clean = int((~dirty).sum())
    return int(dirty.sum()), float(far[~dirty].sum()) / max(clean, 1)


def take_over(
    given: Numbers, kept: Numbers, block: int, low: Numbers, blocks: Numbers, target: Numbers, pad: int, out: Numbers
) -> int:
    """See `compiled.take_over`."""
    _, height, width = given.shape
    rows, columns = -(-height // block), -(-width // block)
    inside = _spread(blocks.reshape(rows, columns).astype(bool), block, height, width)
    y, x = np.nonzero(inside & (np.abs(given - kept) > low[:, None, None]).any(0))
    kept[:, y, x] = given[:, y, x]
    target[y + pad, x + pad] = given[:, y, x].T
    out[: len(y)] = y * width + x
    return len(y)


def store(given: Numbers, target: Numbers, pad: int) -> float:
    """See `compiled.store`."""
    _, height, width = given.shape
    target[pad : pad + height, pad : pad + width] = given.transpose(1, 2, 0)
    return float(np.square(given).sum(dtype=np.float64))


def planes(source: Numbers, pad: int, out: Numbers) -> None:
    """See `compiled.planes`."""
    _, height, width = out.shape
    out[...] = source[pad : pad + height, pad : pad + width].transpose(2, 0, 1)
