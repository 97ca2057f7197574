"""`.npy` and JSON bytes to arrays. Nothing is ever unpickled or evaluated."""

from __future__ import annotations

import re
from math import prod
from typing import Any

import numpy as np
import orjson

from likewise.errors import InvalidValue, TooLarge, UndecodableInput
from likewise.types import Array, Tensor

_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 10_000
# numpy.save writes exactly this; a pattern instead of a Python literal leaves nothing to exploit.
_HEADER = re.compile(
    r"\{\s*['\"]descr['\"]\s*:\s*['\"]([<>=|]?)([a-zA-Z]\d{0,4})['\"]\s*,"
    r"\s*['\"]fortran_order['\"]\s*:\s*(True|False)\s*,"
    r"\s*['\"]shape['\"]\s*:\s*\(((?:\s*\d{1,12}L?\s*,?)*)\s*\)\s*,?\s*\}\s*"
)
_DTYPES = frozenset(("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"))


def decode_npy(body: bytes, *, max_values: int, max_dimensions: int) -> Array:
    """Return the array of a `.npy` (format 1 to 3): boolean, integer or float, either byte order, C or Fortran order.

    The array is C-contiguous in native byte order. Sizes are checked against the header before anything is made.
    Raises UndecodableInput, TooLarge, or InvalidValue for NaN or infinity.
    """
    if body[:6] != _MAGIC or len(body) < 12:
        raise UndecodableInput("This is not a .npy file; write it with numpy.save.")
    wide = body[6] > 1
    if body[6] not in (1, 2, 3):
        raise UndecodableInput(f"The .npy has format {body[6]}; write it with numpy.save as format 1, 2 or 3.")
    start = 12 if wide else 10
    length = int.from_bytes(body[8:start], "little")
    if length > _MAX_HEADER_BYTES or start + length > len(body):
        raise UndecodableInput("The .npy breaks off in its header; send the whole file.")
    header = _HEADER.fullmatch(body[start : start + length].decode("latin-1"))
    if header is None:
        raise UndecodableInput(
            "The .npy's header is not one of a plain numeric array (records and objects are not taken); "
            "write it with numpy.save."
        )
    order, code, fortran, axes = header.groups()
    if code not in _DTYPES:
        raise UndecodableInput(f"Arrays of type {code} are not taken; convert to float32 (astype) and save again.")
    shape = tuple(int(axis.rstrip("L ")) for axis in axes.replace(" ", "").split(",") if axis)
    count = _check_shape(shape, max_values, max_dimensions)
    dtype = np.dtype((order if order != "|" else "") + code)
    if len(body) - start - length != count * dtype.itemsize:
        raise UndecodableInput(
            f"The .npy should hold {count * dtype.itemsize} bytes of data and holds {len(body) - start - length}; "
            "send the whole file."
        )
    flat = np.frombuffer(body, dtype, count, start + length)
    values = flat.reshape(shape, order="F" if fortran == "True" else "C")
    return Array(_finite(np.array(values, dtype.newbyteorder("="), order="C")))


def decode_json(body: bytes, *, max_values: int, max_dimensions: int) -> Array:
    """Return the array of a JSON text: nested lists of numbers, or {"shape": [..], "data": [flat list]}.

    int64 where every number is an integer, else float64. Raises UndecodableInput, TooLarge or InvalidValue.
    """
    # Counted before parsing: a parsed number takes a dozen times its text.
    if body.count(b",") >= max_values or body.count(b"[") > 2 * max_values:
        raise TooLarge(f"The JSON holds more than {max_values} numbers; send fewer, or a .npy.")
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


def _shaped(parsed: dict[str, Any], max_values: int, max_dimensions: int) -> Array:
    if parsed.keys() != {"shape", "data"} or not all(isinstance(part, list) for part in parsed.values()):
        raise UndecodableInput('A JSON object must have "shape" and "data", both lists, and nothing else.')
    if any(type(axis) is not int for axis in parsed["shape"]):
        raise UndecodableInput('"shape" must be a list of whole numbers.')
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
