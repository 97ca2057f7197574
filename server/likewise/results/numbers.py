"""The numbers in a JSON result, and what the document is without them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from likewise.results.check import is_json
from likewise.results.clusters import Tolerance
from likewise.types import Result

MAX_NUMBERS = 1 << 16
MAX_PARTS = 1 << 13
"""Numbers, and lists, objects and other values, up to which a result is compared by its numbers: some milliseconds."""
MAX_CLOSE_BYTES = 1 << 20
"""Bytes of a result up to which it is parsed for its numbers."""
MAX_DEPTH = 64

_NUMBER = {float, int}


class _TooMuch(Exception):
    """A document holds more than is looked at here."""


def numbers(
    result: Result, tolerances: Mapping[str, Tolerance]
) -> tuple[bytes, NDArray[np.float64], NDArray[np.float64] | None] | None:
    """Return what a JSON document is without its numbers, as a digest, its numbers in order, and their tolerances.

    tolerances: of the numbers below a field of that name; "" is for all others. What is returned of them has shape
    (2, n), absolute and relative; None where all are the same. None altogether where there are no numbers, and for a
    document of too many numbers or parts, or too deep.
    """
    if not is_json(result.media_type) or len(result.body) > MAX_CLOSE_BYTES:
        return None
    skeleton = _Skeleton(tolerances)
    try:
        document = orjson.loads(result.body)
        structure = orjson.dumps(skeleton.of(document, 0, ""), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, _TooMuch):
        return None
    if not skeleton.numbers:
        return None
    values = np.concatenate(skeleton.numbers)
    if not np.isfinite(values).all():
        return None
    of_each = None
    if len(tolerances) > 1:
        table = np.array([tolerances[owner] for owner in skeleton.owners])
        of_each = np.repeat(table.T, [len(part) for part in skeleton.numbers], axis=1)
    return hashlib.blake2b(structure, digest_size=16).digest(), values, of_each


class _Skeleton:
    """A document with numbers replaced by how many there were; a `shape` is kept, since it must be the same."""

    def __init__(self, names: Mapping[str, Tolerance]) -> None:
        self.numbers: list[NDArray[np.float64]] = []
        self.owners: list[str] = []
        """For each list of numbers, the innermost field around it that has a tolerance of its own."""
        self._names = names
        self._count = self._parts = 0

    def of(self, value: Any, depth: int, owner: str) -> Any:
        """Return the skeleton of a value. Raises _TooMuch."""
        self._parts += 1
        if self._parts > MAX_PARTS or depth > MAX_DEPTH:
            raise _TooMuch
        if isinstance(value, dict):
            names = self._names
            return {
                key: value[key] if key == "shape" else self.of(value[key], depth + 1, key if key in names else owner)
                for key in sorted(value)
            }
        if isinstance(value, list):
            if value and set(map(type, value)) <= _NUMBER:
                self._take(value, owner)
                return [0, len(value)]
            return [1, *(self.of(item, depth + 1, owner) for item in value)]
        if type(value) in _NUMBER:
            self._take([value], owner)
            return 0
        return value if isinstance(value, str) else [2, value]

    def _take(self, found: list[Any], owner: str) -> None:
        self._count += len(found)
        if self._count > MAX_NUMBERS:
            raise _TooMuch
        self.numbers.append(np.array(found, np.float64))
        self.owners.append(owner)
