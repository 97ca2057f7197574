"""Arrays as keys, and the one place where keys are brought to unit norm."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidFunction, InvalidValue
from likewise.types import Array, Input, Key, Keys, Tensor


def unit(key: Key) -> Key:
    """Return the key at Euclidean norm 1, float32, C-contiguous; a zero key stays zero.

    Zero keys are at distance 1 from every other and at 0 from each other: black is like black.
    """
    return scaled(key, float(key.dot(key)))


def scaled(key: Key, norm_sq: float) -> Key:
    """Return the key at Euclidean norm 1, given its squared norm, as `unit` does."""
    return key * np.float32(1.0 / sqrt(norm_sq)) if norm_sq > 1e-24 else np.zeros_like(key)


def units(keys: NDArray[np.floating[Any]]) -> Keys:
    """Return keys, shape (n, d), each at Euclidean norm 1, float32, C-contiguous; zero rows stay zero."""
    norms = np.sqrt(np.einsum("ij,ij->i", keys, keys))
    return np.ascontiguousarray(keys / np.where(norms > 1e-12, norms, np.inf)[:, None], np.float32)


MAX_NORM_SQ = 1e30
"""Largest squared norm of a key: the distance of two such keys is still far from what float32 can hold."""


def checked(values: Tensor, dimension: int) -> Key:
    """Return values as one key of `dimension` numbers. Raises InvalidValue for a wrong count, NaN or infinity."""
    if values.size != dimension:
        raise InvalidValue(f"The array has {values.size} numbers and this function takes {dimension}.")
    with np.errstate(over="ignore", invalid="ignore"):
        key = np.ascontiguousarray(values, np.float32).reshape(dimension)
        # One dot product finds every NaN and infinity, and refuses keys whose norm would overflow.
        energy = float(np.dot(key, key))
    if not energy < MAX_NORM_SQ:  # NaN too
        raise InvalidValue("The key holds NaN, infinity or a number beyond 1e15; send smaller ones.")
    return key


class VectorExtractor:
    """An array taken as the key, as it stands. About 2 us."""

    def __init__(self, dimension: int, metric: str = "cosine") -> None:
        if not 1 <= dimension <= 65536:
            raise InvalidFunction(f"dimension is {dimension}; give 1 to 65536.")
        self._dimension = dimension
        self._unit = metric == "cosine"

    @property
    def dimension(self) -> int:
        """Length of the key."""
        return self._dimension

    def __call__(self, value: Input) -> Key:
        """Return the array, flattened in C order. Raises InvalidValue for a wrong size or numbers not finite."""
        if not isinstance(value, Array):
            raise InvalidValue("This key type takes arrays; send a .npy or JSON.")
        key = checked(value.values, self._dimension)
        return unit(key) if self._unit else key
