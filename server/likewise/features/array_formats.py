"""`.npy` and JSON bytes to arrays. Nothing is ever unpickled or evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import orjson

from likewise.errors import InvalidValue, TooLarge, UndecodableInput
from likewise.features.image_checks import Bytes
from likewise.features.json_lists import cut_out, read_list
from likewise.types import Array, Tensor

_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 10_000  # as numpy.load has it
LONG_BYTES = 1 << 16
"""JSON texts beyond are read piece by piece."""
_EXACT = 2**53  # the largest whole number up to which float64 holds all
# The parts of a header. Possessive, so that the time is linear in the header whatever it holds.
_TOKEN = re.compile(
    rb"\s*+(?:['\"](?P<string>[\w<>=|?\[\]]{0,32}+)['\"]"
    rb"|(?P<number>\d{1,20}+)L?|(?P<truth>True|False)|(?P<mark>[{}():,]))"
)
_TYPES = [*"?bBhHiIlLqQefd", "bool", "half", "single", "double", "int", "uint", "intp", "uintp", "float"]
_TYPES += [f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)] + ["b1", "f2", "f4", "f8"]
_TYPES += [f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64)] + ["float16", "float32", "float64"]


def _dtypes() -> dict[str, np.dtype[Any]]:
    # By every way to write them that NumPy reads; outside text is looked up here and never given to numpy.dtype.
    known = {}
    for name in _TYPES:
        for order in ("", "<", ">", "=", "|"):
            with suppress(TypeError):
                known[order + name] = np.dtype(order + name)
    return known


_DTYPES = _dtypes()


def decode_npy(body: bytes, *, max_values: int, max_dimensions: int) -> Array:
    """Return the array of a `.npy` (format 1 to 3): boolean, integer or float, either byte order, C or Fortran order.

    The array is C-contiguous in native byte order. Sizes are checked against the header before anything is made.
    Raises UndecodableInput, TooLarge, or InvalidValue for NaN or infinity.
    """
    if body[:6] != _MAGIC or len(body) < 12:
        raise UndecodableInput("This is not a .npy file; write it with numpy.save.")
    if body[6] not in (1, 2, 3):
        raise UndecodableInput(f"The .npy has format {body[6]}; write it with numpy.save as format 1, 2 or 3.")
    start, stop = _header_range(body)
    if stop - start > _MAX_HEADER_BYTES:
        raise UndecodableInput(f"The .npy's header is longer than {_MAX_HEADER_BYTES} bytes; send a plain array.")
    if stop > len(body):
        raise UndecodableInput("The .npy breaks off in its header; send the whole file.")
    dtype, fortran, shape = _header(body[start:stop])
    count = _check_shape(shape, max_values, max_dimensions)
    if len(body) - stop != count * dtype.itemsize:
        raise UndecodableInput(
            f"The .npy should hold {count * dtype.itemsize} bytes of data and holds {len(body) - stop}; "
            "send one array, whole and with nothing behind it."
        )
    if dtype.kind == "b":  # any byte may stand there, and only 0 and 1 make a bool
        flat = np.frombuffer(body, np.uint8, count, stop) != 0
    else:
        flat = np.frombuffer(body, dtype, count, stop)
    values = flat.reshape(shape, order="F" if fortran else "C")
    return Array(_finite(np.array(values, dtype.newbyteorder("="), order="C")))


def npy_values(body: Bytes) -> int:
    """Return how many numbers a .npy holds as its header tells, or 0 where it is none that is read."""
    start, stop = _header_range(body)
    if body[:6] != _MAGIC or stop > len(body) or stop - start > _MAX_HEADER_BYTES:
        return 0
    try:
        return min(prod(_header(bytes(body[start:stop]))[2]), len(body))
    except UndecodableInput:
        return 0


def _header_range(body: Bytes) -> tuple[int, int]:
    start = 12 if body[6] > 1 else 10
    return start, start + int.from_bytes(body[8:start], "little")


@lru_cache(maxsize=64)  # a function's arrays mostly have one header
def _header(text: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    # Type, whether in Fortran order, shape. The header is a Python dictionary of a string, a bool and a tuple of whole
    # numbers, in any order; only these are read, and nothing is ever evaluated.
    parts = _parts(text)
    fields: dict[str, str | bool | tuple[int, ...]] = {}
    try:
        _expect(next(parts)[1] == "{")
        kind, part = next(parts)
        while part != "}":
            _expect(kind == "string" and next(parts)[1] == ":")
            fields[part] = _value(parts)
            kind, part = next(parts)
            if part == ",":
                kind, part = next(parts)
            else:
                _expect(part == "}")
    except StopIteration:
        _expect(False)
    _expect(next(parts, None) is None and fields.keys() == {"descr", "fortran_order", "shape"})
    descr, fortran, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    if not (isinstance(descr, str) and isinstance(fortran, bool) and isinstance(shape, tuple)):
        raise _odd_header()
    if descr not in _DTYPES:
        odd = descr.lstrip("<>=|")
        raise UndecodableInput(f"Arrays of type {odd} are not taken; convert to float32 (astype) and save again.")
    return _DTYPES[descr], fortran, shape


def _parts(text: bytes) -> Iterator[tuple[str, str]]:
    position, end = 0, len(text.rstrip())
    while position < end:
        token = _TOKEN.match(text, position)
        if token is None or token.lastgroup is None:
            raise _odd_header()
        yield token.lastgroup, token[token.lastgroup].decode("ascii")
        position = token.end()


def _value(parts: Iterator[tuple[str, str]]) -> str | bool | tuple[int, ...]:
    kind, part = next(parts)
    if kind == "truth":
        return part == "True"
    if part != "(":
        _expect(kind == "string")
        return part
    axes: list[int] = []
    kind, part = next(parts)
    while part != ")":
        _expect(kind == "number")
        axes.append(int(part))
        kind, part = next(parts)
        if part == ",":
            kind, part = next(parts)
        else:  # one number in parentheses is no tuple
            _expect(part == ")" and len(axes) > 1)
    return tuple(axes)


def _expect(fulfilled: bool) -> None:
    if not fulfilled:
        raise _odd_header()


def _odd_header() -> UndecodableInput:
    return UndecodableInput(
        "The .npy's header is not one of a plain numeric array (records and objects are not taken); "
        "write it with numpy.save."
    )


def decode_json(body: bytes, *, max_values: int, max_dimensions: int) -> Array:
    """Return the array of a JSON text: nested lists of numbers, or {"shape": [..], "data": [flat list]}.

    float64, so that [1, 2] and [1.0, 2.0] are the same; boolean where all are true or false, int64 or uint64 where all
    are whole and one is beyond what float64 holds exactly. Raises UndecodableInput, TooLarge or InvalidValue.
    """
    # Counted before parsing: a parsed number takes a dozen times its text.
    if body.count(b",") >= max_values or body.count(b"[") > 2 * max_values:
        raise TooLarge(f"The JSON holds more than {max_values} numbers; send fewer, or a .npy.")
    if len(body) > LONG_BYTES:
        return _decode_long(body, max_values, max_dimensions)
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UndecodableInput(f"The body is not valid JSON: {error}.") from error
    if isinstance(parsed, dict):
        return _shaped(parsed, max_values, max_dimensions)
    if not isinstance(parsed, list):
        raise UndecodableInput('The JSON must be nested lists of numbers, or {"shape": [..], "data": [..]}.')
    # Left to NumPy, one long string would widen every element to its length.
    if b'"' in body:
        raise UndecodableInput("The JSON lists hold something that is not a number; send numbers alone.")
    values = _numbers(parsed)
    _check_shape(values.shape, max_values, max_dimensions)
    return Array(_finite(values))


def _decode_long(body: bytes, max_values: int, max_dimensions: int) -> Array:
    """Return what `decode_json` does, piece by piece, so that the event loop need not wait for all of it."""
    if body.lstrip()[:1] != b"{":
        if b'"' in body:
            raise UndecodableInput("The JSON lists hold something that is not a number; send numbers alone.")
        values = _exact(read_list(body, max_dimensions))
        _check_shape(values.shape, max_values, max_dimensions)
        return Array(_finite(values))
    cut = cut_out(body)
    if cut is None:
        raise UndecodableInput('A JSON object must have "shape" and "data", both flat lists, and nothing else.')
    outline, numbers = cut
    try:
        parsed = orjson.loads(outline)
    except orjson.JSONDecodeError as error:
        raise UndecodableInput(f"The body is not valid JSON: {error}.") from error
    _check_outline(parsed)
    shape, data = tuple(parsed["shape"]), read_list(numbers, 1)
    if parsed["data"] or _check_shape(shape, max_values, max_dimensions) != data.size:
        raise UndecodableInput(f'"data" holds another number of numbers than "shape" {shape[:9]} asks for.')
    return Array(_finite(_exact(data).reshape(shape)))


def _check_outline(parsed: dict[str, Any]) -> None:
    if parsed.keys() != {"shape", "data"} or not all(isinstance(part, list) for part in parsed.values()):
        raise UndecodableInput('A JSON object must have "shape" and "data", both lists, and nothing else.')
    if any(type(axis) is not int for axis in parsed["shape"]):
        raise UndecodableInput('"shape" must be a list of whole numbers.')


def _shaped(parsed: dict[str, Any], max_values: int, max_dimensions: int) -> Array:
    _check_outline(parsed)
    if not set(map(type, parsed["data"])) <= {int, float, bool}:
        raise UndecodableInput('"data" must be a flat list of numbers, in C order.')
    shape = tuple(parsed["shape"])
    count = _check_shape(shape, max_values, max_dimensions)
    if count != len(parsed["data"]):
        raise UndecodableInput(f'"data" holds {len(parsed["data"])} numbers and "shape" asks for {count}.')
    return Array(_finite(_numbers(parsed["data"]).reshape(shape)))


def _numbers(nested: list[Any]) -> Tensor:
    try:
        values = np.array(nested)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UndecodableInput("The JSON lists are ragged or too deep; send lists of equal length.") from error
    if values.dtype.kind not in "biuf":
        raise UndecodableInput("The JSON lists hold something that is not a number; send numbers alone.")
    return _exact(values)


def _exact(values: Tensor) -> Tensor:
    """Return whole numbers as float64 where that holds all of them."""
    if values.dtype.kind in "iu" and values.size and values.min() >= -_EXACT and values.max() <= _EXACT:
        return values.astype(np.float64)
    return values


def _check_shape(shape: tuple[int, ...], max_values: int, max_dimensions: int) -> int:
    if len(shape) > max_dimensions:
        raise TooLarge(f"The array has {len(shape)} axes and at most {max_dimensions} are taken.")
    if any(axis < 1 for axis in shape):
        raise InvalidValue("The array is empty or has a negative axis; send one with at least one number.")
    count = prod(shape)
    if count > max_values:
        raise TooLarge(f"The array has {count} numbers and at most {max_values} are taken.")
    return count


def _finite(values: Tensor) -> Tensor:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InvalidValue("The array holds NaN or infinity; send finite numbers.")
    return values
