"""The protobuf encoding, read without a schema: fields, their wire types and where they stand.

Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

MAX_AXES = 64
"""Axes of a tensor."""

Span = tuple[int, int]
"""Begin and end of a field's bytes; for a varint its value, and 0."""


def fields(view: memoryview, span: Span) -> Iterator[tuple[int, int, Span]]:
    """Yield number, wire type and span of each field. Raises ValueError for what is cut off or of an unknown type."""
    at, end = span
    while at < end:
        tag, at = varint(view, at, end)
        kind = tag & 7
        if kind == VARINT:
            value, at = varint(view, at, end)
            yield tag >> 3, kind, (value, 0)
            continue
        if kind == BYTES:
            size, at = varint(view, at, end)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError("it has a field of an unknown type")
        if size > end - at:
            raise ValueError("it is cut off")
        yield tag >> 3, kind, (at, at + size)
        at += size


def varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it. Raises ValueError."""
    value = shift = 0
    while at < end and shift < 70:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
        shift += 7
    raise ValueError("it is cut off")


def numbers(view: memoryview, kind: int, value: Span) -> Iterator[int]:
    """Yield the signed numbers of a repeated integer field, packed or not."""
    at, end = value
    if kind == VARINT:
        yield at - 2**64 if at >= 2**63 else at
        return
    while at < end:
        number, at = varint(view, at, end)
        yield number - 2**64 if number >= 2**63 else number


def add_axes(axes: list[int], more: Iterator[int]) -> None:
    """Add to the lengths of a tensor's axes. Raises ValueError for more than `MAX_AXES` of them."""
    axes += islice(more, MAX_AXES + 1)
    if len(axes) > MAX_AXES:
        raise ValueError(f"a tensor has over {MAX_AXES} axes")
