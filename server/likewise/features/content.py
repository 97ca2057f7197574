"""Keys of files and of arrays of any shape: coarse, general, and cheap."""

from __future__ import annotations

import numpy as np

from likewise.errors import InvalidValue
from likewise.features.bytes_tensor import raw_bytes
from likewise.features.vector import checked, unit
from likewise.types import Array, Input, Key, Tensor

PART = 4096
"""Bytes looked at, at the beginning and at the end of a file."""


class BytesExtractor:
    """Which bytes a file's beginning and end hold, and how they begin: 256 + 256 numbers.

    Square roots of the shares of each byte among the first and last 4,096, at norm 1; then the first 8 bytes, each by
    the place of its value among 32, at norm 1: the signature that many formats begin with.
    """

    dimension = 512

    def __init__(self, metric: str = "cosine") -> None:
        self._unit = metric == "cosine"

    def __call__(self, value: Input) -> Key:
        """Return the key. Raises InvalidValue for anything but bytes."""
        content = raw_bytes(value)
        ends = content[:PART] + content[PART:][-PART:]
        key = np.zeros(512, np.float32)
        counts = np.bincount(np.frombuffer(ends, np.uint8), minlength=256)
        key[:256] = np.sqrt(counts / np.float32(len(ends)))
        start = np.frombuffer(content[:8], np.uint8).astype(np.int64)
        key[256 + 32 * np.arange(len(start)) + start // 8] = np.float32(8**-0.5)
        return unit(key) if self._unit else key


class PoolExtractor:
    """An array of any shape as 256 numbers: means over equal parts of it, in C order; a short one padded with zeros."""

    dimension = 256

    def __init__(self, metric: str = "cosine") -> None:
        self._unit = metric == "cosine"

    def __call__(self, value: Input) -> Key:
        """Return the key. Raises InvalidValue for anything but an array, and for numbers that cannot be a key."""
        if not isinstance(value, Array):
            raise InvalidValue("This key type takes arrays; send a .npy or JSON.")
        flat: Tensor = value.values.reshape(-1)
        key = np.zeros(256, np.float64)
        if flat.size <= 256:
            key[: flat.size] = flat
        else:
            starts = np.arange(256) * flat.size // 256
            key[:] = np.add.reduceat(flat, starts, dtype=np.float64) / np.diff(np.append(starts, flat.size))
        small = checked(key, 256)
        return unit(small) if self._unit else small
