"""Loops over the widest vectors that the processor has, written for LLVM: numba has no words for registers.

All take flat float32 arrays, each with the place in it where to begin.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils as untyped


def _registers() -> tuple[int, int, bool]:
    """Return the numbers in a vector register, how many rows of two such sums fit, and whether products are fused."""
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16, 12, True
    if features.get("avx2"):
        return 8, 6, bool(features.get("fma"))
    return (4, 12, True) if platform.machine() in ("arm64", "aarch64") else (4, 6, False)


LANES, ROWS, _FUSED = _registers()
FEW = ROWS // 2
"""Rows that are multiplied together where few are left; of one vector, twice as many, as of `ROWS`."""
LINE = 16
"""Numbers that one prefetch fetches."""

cgutils: Any = untyped
intrinsic: Any = extending.intrinsic

_BIT, _INT, LONG, _NUMBER = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.FloatType()
_VECTOR, _MASK = ir.VectorType(_NUMBER, LANES), ir.VectorType(_BIT, LANES)
_BLANK = ir.Constant(_VECTOR, ir.Undefined)
_ZEROS = ir.Constant(_VECTOR, None)
_LEAST = -3.4028234663852886e38
INT64: Any = types.int64


def _declared(builder: Any, name: str, result: Any, *given: Any) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, list(given)), name)


def address(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Return a pointer to a place in an array of that numba type."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [at])


def _at(builder: Any, pointer: Any, offset: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [offset]), _VECTOR.as_pointer())


def plus_product(builder: Any, one: Any, other: Any, total: Any) -> Any:
    """Return the product of two vectors plus a third."""
    if not _FUSED:  # a call for each number is what LLVM would make of it
        return builder.fadd(builder.fmul(one, other), total)
    fma = _declared(builder, f"llvm.fma.v{LANES}f32", _VECTOR, _VECTOR, _VECTOR, _VECTOR)
    return builder.call(fma, [one, other, total])


def everywhere(builder: Any, one: Any) -> Any:
    """Return a vector of one number."""
    first = builder.insert_element(_BLANK, one, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, _BLANK, ir.Constant(ir.VectorType(_INT, LANES), None))


def constant(value: float) -> Any:
    """Return a vector of one number that is known."""
    return ir.Constant(_VECTOR, [value] * LANES)


def along(builder: Any, count: Any, body: Callable[[Callable[[Any], Any], Callable[[Any, Any], None]], None]) -> None:
    """Generate code for so many numbers: whole vectors, then what is left under a mask.

    body: is given what loads a vector by its pointer (0 where the mask leaves it out), and what stores one.
    """
    whole = builder.and_(count, ir.Constant(LONG, -LANES))
    position = ir.VectorType(LONG, LANES)

    with cgutils.for_range_slice(builder, ir.Constant(LONG, 0), whole, ir.Constant(LONG, LANES)) as (offset, _):
        body(
            lambda pointer: builder.load(_at(builder, pointer, offset), align=4),
            lambda value, pointer: builder.store(value, _at(builder, pointer, offset), align=4),
        )
    left = builder.sub(count, whole)
    with builder.if_then(builder.icmp_signed(">", left, ir.Constant(LONG, 0))):
        many = builder.insert_element(ir.Constant(position, ir.Undefined), left, ir.Constant(_INT, 0))
        many = builder.shuffle_vector(many, many, ir.Constant(ir.VectorType(_INT, LANES), None))
        mask = builder.icmp_signed("<", ir.Constant(position, list(range(LANES))), many)
        kind = f"v{LANES}f32.p0"
        load = _declared(builder, f"llvm.masked.load.{kind}", _VECTOR, _VECTOR.as_pointer(), _INT, _MASK, _VECTOR)
        store = _declared(
            builder, f"llvm.masked.store.{kind}", ir.VoidType(), _VECTOR, _VECTOR.as_pointer(), _INT, _MASK
        )
        align = ir.Constant(_INT, 4)
        body(
            lambda pointer: builder.call(load, [_at(builder, pointer, whole), align, mask, _ZEROS]),
            lambda value, pointer: builder.call(store, [value, _at(builder, pointer, whole), align, mask]),
        )


def bent(builder: Any, value: Any, slope: Any) -> Any:
    """Return a vector of which what is below zero is multiplied by a slope; minus infinity times 0 is 0."""
    finite = builder.select(
        builder.fcmp_unordered("<", value, ir.Constant(_VECTOR, [_LEAST] * LANES)),
        ir.Constant(_VECTOR, [_LEAST] * LANES),
        value,
    )
    above = builder.fcmp_ordered(">", value, _ZEROS)
    return builder.select(above, value, builder.fmul(finite, slope))


def _onto(doc: str, combine: Callable[[Any, Any, Any], Any]) -> Any:
    """Return what writes numbers made of those of one row, and of those that are there, over the latter."""

    @intrinsic
    def write(typing, given, at, out, to, count):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            source = address(context, builder, signature.args[0], args[0], args[1])
            target = address(context, builder, signature.args[2], args[2], args[3])
            along(
                builder,
                args[4],
                lambda load, store: store(combine(builder, load(source), lambda: load(target)), target),
            )
            return context.get_dummy_value()

        return types.void(given, INT64, out, INT64, INT64), generate

    write.__doc__ = doc
    return write


def larger(builder: Any, new: Any, old: Any) -> Any:
    """Return the larger numbers of two vectors."""
    return builder.select(builder.fcmp_unordered(">", new, old), new, old)


copy = _onto("Copy numbers.", lambda builder, new, old: new)
plus = _onto("Add numbers to others.", lambda builder, new, old: builder.fadd(old(), new))
highest = _onto(
    "Write the larger ones of two rows of numbers over the second row.",
    lambda builder, new, old: larger(builder, new, old()),
)


@intrinsic
def best(typing, given, at, tall, below, broad, beside, out, to, count):  # type: ignore[no-untyped-def]
    """Write the largest numbers of a window of rows, `tall` down, `below` apart, and `broad` across, `beside` apart."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        source = address(context, builder, signature.args[0], args[0], args[1])
        target = address(context, builder, signature.args[6], args[6], args[7])
        found = cgutils.alloca_once(builder, _VECTOR)

        def turn(load: Any, store: Any) -> None:
            builder.store(load(source), found)
            with cgutils.for_range(builder, args[2]) as down, cgutils.for_range(builder, args[4]) as right:
                place = builder.add(builder.mul(down.index, args[3]), builder.mul(right.index, args[5]))
                new = load(builder.gep(source, [place]))
                builder.store(larger(builder, new, builder.load(found)), found)
            store(builder.load(found), target)

        along(builder, args[8], turn)
        return context.get_dummy_value()

    return types.void(given, INT64, INT64, INT64, INT64, INT64, out, INT64, INT64), generate


@intrinsic
def moved(typing, given, at, kept, to, count, slope):  # type: ignore[no-untyped-def]
    """Return the squared distance between what is kept and numbers of which those below zero are times a slope."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        row = address(context, builder, signature.args[0], args[0], args[1])
        old = address(context, builder, signature.args[2], args[2], args[3])
        bend, total = everywhere(builder, args[5]), cgutils.alloca_once_value(builder, _ZEROS)

        def add(load: Any, store: Any) -> None:
            far = builder.fsub(bent(builder, load(row), bend), load(old))
            builder.store(plus_product(builder, far, far, builder.load(total)), total)

        along(builder, args[4], add)
        reduce = _declared(builder, f"llvm.vector.reduce.fadd.v{LANES}f32", _NUMBER, _NUMBER, _VECTOR)
        return builder.call(reduce, [ir.Constant(_NUMBER, -0.0), builder.load(total)], fastmath=["reassoc"])

    return types.float32(given, INT64, kept, INT64, INT64, types.float32), generate


@intrinsic
def put(typing, given, at, kept, to, count, slope):  # type: ignore[no-untyped-def]
    """Write numbers, those below zero times a slope."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        row = address(context, builder, signature.args[0], args[0], args[1])
        target = address(context, builder, signature.args[2], args[2], args[3])
        bend = everywhere(builder, args[5])
        along(builder, args[4], lambda load, store: store(bent(builder, load(row), bend), target))
        return context.get_dummy_value()

    return types.void(given, INT64, kept, INT64, INT64, types.float32), generate


@intrinsic
def bring(typing, given, at, count):  # type: ignore[no-untyped-def]
    """Have so many numbers brought into the second level cache, while others are computed."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        source = address(context, builder, signature.args[0], args[0], args[1])
        line = ir.Constant(LONG, LINE)
        with cgutils.for_range_slice(builder, ir.Constant(LONG, 0), args[2], line) as (offset, _):
            _prefetch(builder, builder.gep(source, [offset]))
        return context.get_dummy_value()

    return types.void(given, INT64, INT64), generate


def _prefetch(builder: Any, pointer: Any) -> None:
    byte = ir.IntType(8).as_pointer()
    call = _declared(builder, "llvm.prefetch.p0", ir.VoidType(), byte, _INT, _INT, _INT)
    how = [ir.Constant(_INT, value) for value in (0, 2, 1)]  # to be read, into the second level, as data
    builder.call(call, [builder.bitcast(pointer, byte), *how])


def _block(rows: int, vectors: int) -> Any:
    """Return what multiplies so many windows with so many vectors of columns, all of the sums in registers."""

    @intrinsic
    def multiply(_, flat, bases, at, lines, first, last, line, packed, panel, ahead, given, begin, step, out, to, far):  # type: ignore[no-untyped-def]
        """Write windows times a panel of weights, plus rows of `given`, `step` apart, to rows of `out`, `far` apart.

        bases: where each window begins in `flat`, int64. lines: where each run of `line` numbers of a window begins,
        from there, int64; those from first to last are meant. panel: where their weights begin, shape
        (k, vectors * LANES). ahead: where the weights begin that are wanted next: one `LINE` for each number is brought
        near.
        """

        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            def number(value: int) -> Any:
                return ir.Constant(LONG, value)

            def array(i: int, at: Any) -> Any:
                return address(context, builder, signature.args[i], args[i], at)

            source, corners, runs = array(0, number(0)), array(1, args[2]), array(3, number(0))
            first, last, line, step, stride = args[4], args[5], args[6], args[12], args[15]
            origin, target = array(10, args[11]), array(13, args[14])
            sums = {
                (row, part): cgutils.alloca_once(builder, _VECTOR) for row in range(rows) for part in range(vectors)
            }
            for (row, part), total in sums.items():
                place = builder.add(builder.mul(step, number(row)), number(part * LANES))
                builder.store(builder.load(_at(builder, origin, place), align=4), total)
            windows = [builder.load(builder.gep(corners, [number(row)])) for row in range(rows)]
            panel = cgutils.alloca_once_value(builder, array(7, args[8]))
            coming = cgutils.alloca_once_value(builder, array(7, args[9]))
            with cgutils.for_range_slice(builder, first, last, number(1)) as (each, _):
                run = builder.load(builder.gep(runs, [each]))
                given = [builder.gep(source, [builder.add(window, run)]) for window in windows]
                held, near = builder.load(panel), builder.load(coming)
                with cgutils.for_range(builder, line) as inner:
                    start = builder.mul(inner.index, number(vectors * LANES))
                    _prefetch(builder, builder.gep(near, [builder.mul(inner.index, number(LINE))]))
                    columns = [
                        builder.load(_at(builder, held, builder.add(start, number(part * LANES))), align=4)
                        for part in range(vectors)
                    ]
                    for row in range(rows):
                        one = everywhere(builder, builder.load(builder.gep(given[row], [inner.index])))
                        for part in range(vectors):
                            total = sums[row, part]
                            builder.store(plus_product(builder, one, columns[part], builder.load(total)), total)
                builder.store(builder.gep(held, [builder.mul(line, number(vectors * LANES))]), panel)
                builder.store(builder.gep(near, [builder.mul(line, number(LINE))]), coming)
            for (row, part), total in sums.items():
                place = builder.add(builder.mul(stride, number(row)), number(part * LANES))
                builder.store(builder.load(total), _at(builder, target, place), align=4)
            return context.get_dummy_value()

        place = (INT64, INT64)
        kinds = (flat, bases, INT64, lines, *place, INT64, packed, *place, given, *place, out, *place)
        return types.void(*kinds), generate

    return multiply


many_wide, few_wide = _block(ROWS, 2), _block(FEW, 2)
many_narrow, few_narrow = _block(2 * ROWS, 1), _block(2 * FEW, 1)
