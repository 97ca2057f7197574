"""What the inputs of a tile become before they are multiplied, and outputs from the products; see `compiled_tiles`."""

from __future__ import annotations

from functools import reduce
from typing import Any

from llvmlite import ir
from numba import types

from likewise.video.compiled_vectors import INT64, LONG, address, along, intrinsic, larger


@intrinsic
def to_tile(typing, given, at, below, beside, out, to, step):  # type: ignore[no-untyped-def]
    """Write what a tile of 4 × 4 inputs becomes for `compiled_tiles`, `beside` channels, `step` apart.

    at: where the first input is; below, beside: from there to the next one, down and to the right.
    """

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        def corner(i: int, row: Any, column: Any, down: int, right: int) -> Any:
            place = builder.add(args[i], builder.mul(row, ir.Constant(LONG, down)))
            return builder.add(place, builder.mul(column, ir.Constant(LONG, right)))

        sources = [
            [address(context, builder, signature.args[0], args[0], corner(1, args[2], args[3], y, x)) for x in range(4)]
            for y in range(4)
        ]
        none = ir.Constant(LONG, 0)
        targets = [
            address(context, builder, signature.args[4], args[4], corner(5, args[6], none, tap, 0)) for tap in range(16)
        ]

        def turn(load: Any, store: Any) -> None:
            lines = zip(*([load(each) for each in row] for row in sources), strict=True)  # by column
            turned = zip(*(_turned(builder, *line) for line in lines), strict=True)
            for y, row in enumerate(turned):
                for x, value in enumerate(_turned(builder, *row)):
                    store(value, targets[4 * y + x])

        along(builder, args[3], turn)
        return context.get_dummy_value()

    return types.void(given, INT64, INT64, INT64, out, INT64, INT64), generate


def _turned(builder: Any, a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    return builder.fsub(a, c), builder.fadd(b, c), builder.fsub(c, b), builder.fsub(b, d)


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
