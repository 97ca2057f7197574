"""Long JSON lists of numbers, read piece by piece.

A JSON parser holds the interpreter's lock from the first byte to the last: half a second for the four million numbers
that a body may hold, in which the event loop stands still, on whatever thread it runs. So the text is cut between
elements, and each piece is parsed and becomes an array by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import orjson

from likewise.errors import TooLarge, UndecodableInput
from likewise.types import Tensor

PIECE_BYTES = 1 << 15
"""Length of a piece, about: some milliseconds where it holds very short lists."""
_SPACE = b" \t\r\n"


def read_list(text: bytes | memoryview, max_dimensions: int) -> Tensor:
    """Return nested lists of numbers, a text without strings, as an array of what NumPy makes of them.

    Raises UndecodableInput or TooLarge.
    """
    if len(text) <= PIECE_BYTES:
        return _array(_parsed(text))
    if max_dimensions < 1:
        raise TooLarge("The JSON lists are deeper than the axes that are taken; send fewer.")
    parts = []
    for piece in _pieces(text):
        if len(piece) > 2 * PIECE_BYTES:  # then it is one element
            parts.append(read_list(piece, max_dimensions - 1)[None])
        else:
            parts.append(_array(_parsed(b"[%b]" % piece)))
            if not len(parts[-1]):
                raise UndecodableInput("The body is not valid JSON: a comma stands where a number should.")
    if any(part.shape[1:] != parts[0].shape[1:] for part in parts):
        raise _ragged()
    return np.concatenate(parts)


def cut_out(text: bytes) -> tuple[bytes, memoryview] | None:
    """Return a JSON object with its list `data` emptied, and that list; None where it has other than two flat lists.

    The object has two names, and no other strings.
    """
    name = text.find(b'"data"')
    begin = text.find(b"[", name)
    end = text.find(b"]", begin)
    if min(name, begin, end) < 0 or text.count(b"[") != 2 or text.count(b"]") != 2 or text.count(b'"') != 4:
        return None
    return text[: begin + 1] + text[end:], memoryview(text)[begin : end + 1]


def _pieces(text: bytes | memoryview) -> Iterator[bytes]:
    """Yield what stands in the outermost list, cut at commas; what is longer than two pieces is one element.

    Raises UndecodableInput where brackets do not match.
    """
    begin, end = _inside(text)
    depth, start = 0, begin
    for at in range(begin, end, PIECE_BYTES):
        window = np.frombuffer(text[at : min(end, at + PIECE_BYTES)], np.uint8)
        opened, closed = (window == ord("[")).view(np.int8), (window == ord("]")).view(np.int8)
        depths = np.cumsum(opened - closed, dtype=np.int32) + np.int32(depth)
        depth = int(depths[-1])
        if depths.min() < 0:
            raise _unmatched()
        commas = np.flatnonzero((window == ord(",")) & (depths == 0))
        for comma in sorted({int(commas[0]), int(commas[-1])}) if commas.size else ():
            yield bytes(text[start : at + comma])
            start = at + comma + 1
    if depth:
        raise _unmatched()
    yield bytes(text[start:end])


def _inside(text: bytes | memoryview) -> tuple[int, int]:
    """Return where the content of a list begins and ends; whitespace may stand around it."""
    lead, tail = bytes(text[:PIECE_BYTES]).lstrip(_SPACE), bytes(text[-PIECE_BYTES:]).rstrip(_SPACE)
    if lead[:1] != b"[" or tail[-1:] != b"]":
        raise UndecodableInput("The JSON must be nested lists of numbers, without much space around them.")
    return PIECE_BYTES - len(lead) + 1, len(text) - PIECE_BYTES + len(tail) - 1


def _parsed(text: bytes | memoryview) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UndecodableInput(f"The body is not valid JSON: {error}.") from error


def _array(parsed: object) -> Tensor:
    try:
        values = np.array(parsed)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _ragged() from error
    if values.dtype.kind not in "biuf" or not values.ndim:
        raise UndecodableInput("The JSON lists hold something that is not a number; send numbers alone.")
    return values


def _ragged() -> UndecodableInput:
    return UndecodableInput("The JSON lists are ragged or too deep; send lists of equal length.")


def _unmatched() -> UndecodableInput:
    return UndecodableInput("The body is not valid JSON: its brackets do not match.")
