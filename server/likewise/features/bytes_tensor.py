"""Raw bytes to the tensors that models take: numbers from the beginning and the end of a file."""

from __future__ import annotations

import numpy as np

from likewise.errors import InvalidFunction, InvalidValue
from likewise.features.prepare import Prepare
from likewise.types import Array, Input, Tensor


def raw_bytes(value: Input) -> bytes:
    """Return the bytes of a file; raises InvalidValue for any other input."""
    if not isinstance(value, Array) or value.values.dtype != np.uint8 or value.values.ndim != 1:
        raise InvalidValue("This function takes bytes; send the file itself as the body.")
    return value.values.tobytes()


def bytes_tensor(
    first: int, last: int = 0, *, padding: int = 0, strip: bool = False, block: int | None = None, dtype: str = "int32"
) -> Prepare:
    """Return bytes -> the `first` bytes and the `last`, as numbers, shape (first + last,).

    Where there are fewer, `padding` stands behind the first and before the last. strip: white space around them does
    not count, looked for among `block` bytes at each end (None: in all). dtype: what the model takes.
    Raises InvalidFunction for settings that cannot be.
    """
    kind = np.dtype(dtype)
    if first + last < 1:
        raise InvalidFunction("The model takes no bytes; give first, or last, or both.")
    if block is not None and block < max(first, last):
        raise InvalidFunction(f"block is {block}, less than first or last; give as much, or more.")
    if kind.kind not in "iuf" or (kind.kind in "iu" and np.iinfo(kind).max < max(255, padding)):
        raise InvalidFunction(f"The model takes bytes as {kind.name}, which cannot hold 255 and the padding {padding}.")

    def prepare(value: Input) -> Tensor:
        content = raw_bytes(value)
        head, tail = content[:block], content[-block:] if block else content
        if strip:
            head, tail = head.lstrip(), tail.rstrip()
        tensor = np.full(first + last, padding, kind)
        head, tail = head[:first], tail[len(tail) - min(last, len(tail)) :]
        tensor[: len(head)] = np.frombuffer(head, np.uint8)
        tensor[first + last - len(tail) :] = np.frombuffer(tail, np.uint8)
        return tensor

    return prepare
