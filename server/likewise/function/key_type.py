"""A key type of a function: what makes its keys, how they are read from a request, and the one rule of their norm."""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from likewise.errors import InvalidValue, TooLarge
from likewise.features.vector import MAX_NORM_SQ, scaled
from likewise.ports import Extractor
from likewise.types import Input, Key, Keys

_TINY_NORM_SQ = 1e-24
"""Squared norm up to which a key counts as zero, as `features.vector.scaled` has it."""


@dataclass(frozen=True, slots=True)
class KeyType:
    """Keys of one name: float32 of one dimension, compared by one metric, at unit norm where that is cosine."""

    name: str
    extractor: Extractor
    dimension: int
    metric: Literal["cosine", "l2"]
    function: str = ""
    """`name@version` of the function, for messages."""
    quick: bool = True
    """Whether making a key takes about a millisecond at most, whatever the input."""

    def __str__(self) -> str:
        return f"key type `{self.name}`" + (f" of `{self.function}`" if self.function else "")

    def extract(self, value: Input) -> Key:
        """Return the key of an input. Raises InvalidValue for an input that the extractor cannot take."""
        return self.extractor(value)

    def normalized(self, keys: Keys) -> Keys:
        """Return finite keys, shape (n, dimension), as they are kept: unit norm for cosine, where zero stays zero."""
        keys = np.ascontiguousarray(keys, np.float32)
        if self.metric != "cosine":
            return keys
        norms_sq = np.einsum("ij,ij->i", keys, keys)[:, None]
        small = norms_sq <= _TINY_NORM_SQ
        return np.where(small, np.float32(0), keys / np.sqrt(np.where(small, 1, norms_sq))).astype(np.float32)

    def plain(self, body: bytes) -> Key | None:
        """Return the one key in little-endian float32 bytes, as it is kept, at the least cost; None: look closer.

        None stands for every body that is not plainly right: `from_bytes` says what is wrong with it.
        """
        if len(body) != 4 * self.dimension:
            return None
        key = np.frombuffer(body, "<f4")
        norm_sq = float(np.vdot(key, key))  # unlike `dot` it warns of no overflow; judged right below
        if not _TINY_NORM_SQ < norm_sq < MAX_NORM_SQ:  # NaN and infinity too, and what float32 cannot square
            return None
        if self.metric != "cosine" or -1e-6 < norm_sq - 1.0 < 1e-6:
            return key
        return scaled(key, norm_sq)

    def from_bytes(self, body: bytes, limit: int) -> Keys:
        """Return the keys in little-endian float32 bytes, as they are kept; shape (n, dimension), 1 <= n <= limit.

        Raises InvalidValue for a wrong length, NaN or infinity; TooLarge past the limit.
        """
        row = 4 * self.dimension
        if not body or len(body) % row:
            raise InvalidValue(
                f"{len(body)} bytes are no whole number of keys: {self} takes {self.dimension} float32, "
                f"{row} bytes a key."
            )
        self._check_count(len(body) // row, limit)
        return self._checked(np.frombuffer(body, "<f4").reshape(-1, self.dimension))

    def from_lists(self, rows: object, limit: int) -> Keys:
        """Return the keys in a list of lists of numbers; returns and raises as `from_bytes`."""
        if not isinstance(rows, list) or not rows:
            raise InvalidValue(f"`keys` has to be a list of keys, each a list of {self.dimension} numbers, for {self}.")
        self._check_count(len(rows), limit)
        for row in rows:
            if not isinstance(row, list) or len(row) != self.dimension:
                have = f"{len(row)} numbers" if isinstance(row, list) else type(row).__name__
                raise InvalidValue(f"A key has {have}, {self} takes a list of {self.dimension} numbers.")
            if not all(type(number) is float or type(number) is int for number in row):
                raise InvalidValue(f"A key holds something that is no number; {self} takes {self.dimension} numbers.")
        try:
            with np.errstate(over="ignore"):
                keys = np.array(rows, np.float64).astype(np.float32)
        except OverflowError:
            keys = np.full((len(rows), self.dimension), math.inf, np.float32)
        return self._checked(keys)

    def from_value(self, value: object) -> Key:
        """Return the one key given as a list of numbers or as base64 of little-endian float32 bytes.

        Raises as `from_bytes`.
        """
        if not isinstance(value, str):
            return self.from_lists([value], 1)[0]  # type: ignore[no-any-return]
        try:
            body = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidValue(
                f"The key for {self} is no base64; encode its float32 bytes so, or send a list."
            ) from None
        return self.from_bytes(body, 1)[0]  # type: ignore[no-any-return]

    def _check_count(self, count: int, limit: int) -> None:
        if count > limit:
            raise TooLarge(f"{count} keys in one request, the limit is {limit}; send them in several.")

    def _checked(self, keys: Keys) -> Keys:
        # One squared norm per key finds NaN and infinity, and what float32 distances would overflow on.
        with np.errstate(over="ignore", invalid="ignore"):
            norms_sq = np.einsum("ij,ij->i", keys, keys)
        if not (norms_sq < MAX_NORM_SQ).all():
            raise InvalidValue(f"A key for {self} holds NaN, infinity or a number beyond 1e15; send smaller ones.")
        return self.normalized(keys)
