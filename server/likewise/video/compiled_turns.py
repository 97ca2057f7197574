"""What the inputs of a tile become before they are multiplied, and outputs from the products.

See `compiled_tiles` for tiles of 4 × 4 inputs, and `compiled_whole` for those of 6 × 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from llvmlite import ir
from numba import types

from likewise.video.compiled_vectors import (
    INT64,
    LONG,
    address,
    along,
    bent,
    constant,
    everywhere,
    intrinsic,
    larger,
    plus_product,
)  # fmt: skip


def _to_tile(side: int, turned: Callable[..., Sequence[Any]]) -> Any:
    """Return what writes the inputs of a tile, side × side, as they are multiplied. turned: makes a line of them so."""

    @intrinsic
    def write(typing, given, at, below, beside, out, to, step):  # type: ignore[no-untyped-def]
        """Write what a tile of inputs becomes, `beside` channels, `step` apart.

        at: where the first input is; below, beside: from there to the next one, down and to the right.
        """

        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            def corner(i: int, row: Any, column: Any, down: int, right: int) -> Any:
                place = builder.add(args[i], builder.mul(row, ir.Constant(LONG, down)))
                place = builder.add(place, builder.mul(column, ir.Constant(LONG, right)))
                return address(context, builder, signature.args[i - 1], args[i - 1], place)

            sources = [[corner(1, args[2], args[3], y, x) for x in range(side)] for y in range(side)]
            none = ir.Constant(LONG, 0)
            targets = [corner(5, args[6], none, tap, 0) for tap in range(side * side)]

            def turn(load: Any, store: Any) -> None:
                lines = zip(*([load(each) for each in row] for row in sources), strict=True)  # by column
                rows = zip(*(turned(builder, *line) for line in lines), strict=True)
                for y, row in enumerate(rows):
                    for x, value in enumerate(turned(builder, *row)):
                        store(value, targets[side * y + x])

            along(builder, args[3], turn)
            return context.get_dummy_value()

        return types.void(given, INT64, INT64, INT64, out, INT64, INT64), generate

    return write


def _turned(builder: Any, a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    return builder.fsub(a, c), builder.fadd(b, c), builder.fsub(c, b), builder.fsub(b, d)


to_tile = _to_tile(4, _turned)


def _from_tile(*outputs: tuple[int, int]) -> Any:
    @intrinsic
    def write(typing, given, at, step, out, to, count):  # type: ignore[no-untyped-def]
        """Write the numbers of one of the four outputs of a tile, or the largest ones of several.

        step: from one of the 16 products to the next.
        """

        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            def product(tap: int) -> Any:
                place = builder.add(args[1], builder.mul(args[2], ir.Constant(LONG, tap)))
                return address(context, builder, signature.args[0], args[0], place)

            taps = [[product(4 * y + x) for x in range(4)] for y in range(4)]
            target = address(context, builder, signature.args[3], args[3], args[4])

            def total(parts: list[Any], later: int) -> Any:
                a, b, c = parts
                return builder.fsub(builder.fsub(a, b), c) if later else builder.fadd(builder.fadd(a, b), c)

            def turn(load: Any, store: Any) -> None:
                loaded = [[load(each) for each in row] for row in taps]
                found = [
                    total([total(row[right : right + 3], right) for row in loaded[down : down + 3]], down)
                    for down, right in outputs
                ]
                store(reduce(lambda one, other: larger(builder, other, one), found), target)

            along(builder, args[5], turn)
            return context.get_dummy_value()

        return types.void(given, INT64, INT64, out, INT64, INT64), generate

    return write


_CORNERS = (0, 0), (0, 1), (1, 0), (1, 1)
top_left, top_right, bottom_left, bottom_right = map(_from_tile, _CORNERS)
largest = _from_tile(*_CORNERS)


def _weighted(builder: Any, first: tuple[float, Any], *others: tuple[float, Any]) -> Any:
    """Return a sum of vectors, each times a number; the first one's is 1."""
    total = first[1]
    for factor, value in others:
        total = plus_product(builder, value, constant(factor), total)
    return total


def _turned_large(builder: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Sequence[Any]:
    even, odd = _weighted(builder, (1, e), (-4, c)), _weighted(builder, (1, d), (-4, b))
    near, far = builder.fsub(e, c), builder.fsub(d, b)
    return (
        _weighted(builder, (1, e), (4, a), (-5, c)),
        builder.fadd(even, odd),
        builder.fsub(even, odd),
        _weighted(builder, (1, near), (2, far)),
        _weighted(builder, (1, near), (-2, far)),
        _weighted(builder, (1, f), (4, b), (-5, d)),
    )


def _returned_large(builder: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Sequence[Any]:
    plus, minus = builder.fadd(b, c), builder.fsub(b, c)
    more, less = builder.fadd(d, e), builder.fsub(d, e)
    return (
        builder.fadd(builder.fadd(a, plus), more),
        _weighted(builder, (1, minus), (2, less)),
        _weighted(builder, (1, plus), (4, more)),
        _weighted(builder, (1, builder.fadd(minus, f)), (8, less)),
    )


to_large = _to_tile(6, _turned_large)


def _from_large(pool: int) -> Any:
    @intrinsic
    def write(typing, given, at, step, bias, first, slope, out, to, below, beside, count):  # type: ignore[no-untyped-def]
        """Write the outputs of a tile of 4 × 4, or of each square of 2 × 2 of them the largest ones.

        step: from one of the 36 products to the next. bias: added, from `first` on; slope: what results below zero are
        multiplied by then. below, beside: from one output to the next, down and to the right.
        """

        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            def spot(i: int, offset: Any) -> Any:
                return address(context, builder, signature.args[i], args[i], offset)

            def several(i: int, down: Any, right: Any, side: int) -> list[list[Any]]:
                steps = [ir.Constant(LONG, at) for at in range(side)]
                rows = [builder.add(args[i + 1], builder.mul(down, each)) for each in steps]
                return [[spot(i, builder.add(row, builder.mul(right, each))) for each in steps] for row in rows]

            taps = several(0, builder.mul(args[2], ir.Constant(LONG, 6)), args[2], 6)
            side = 4 // pool
            targets = several(6, args[8], args[9], side)
            offset = spot(3, args[4])
            bend = everywhere(builder, args[5])

            def turn(load: Any, store: Any) -> None:
                lines = zip(*([load(each) for each in row] for row in taps), strict=True)
                turned = zip(*(_returned_large(builder, *line) for line in lines), strict=True)
                found = [_returned_large(builder, *row) for row in turned]
                added = load(offset)
                for y in range(side):
                    for x in range(side):
                        square = [found[pool * y + i][pool * x + j] for i in range(pool) for j in range(pool)]
                        best = reduce(lambda one, other: larger(builder, other, one), square)
                        store(bent(builder, builder.fadd(best, added), bend), targets[y][x])

            along(builder, args[10], turn)
            return context.get_dummy_value()

        kinds = (given, INT64, INT64, bias, INT64, types.float32, out, INT64, INT64, INT64, INT64)
        return types.void(*kinds), generate

    return write


from_large, pooled_from_large = _from_large(1), _from_large(2)
