"""Inputs of a model that are the same for every request: a sample rate, a state, a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from likewise.types import Tensor

MAX_FIXED = 1 << 24
"""Numbers of one fixed input at most."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """The value of one fixed input: numbers, nested as its shape is, or a shape filled with one number."""

    value: Any
    shape: tuple[int, ...] | None = None
    """Where given, `value` is one number that fills it."""

    def tensor(self, dtype: np.dtype[Any], axes: Sequence[int | None]) -> Tensor:
        """Return it as a model takes it; axes: the declared shape, None for any length.

        One number alone fills a shape of fixed lengths. Raises ValueError saying what does not fit.
        """
        shape = self.shape
        if shape is None and not isinstance(self.value, list | tuple) and None not in axes:
            shape = tuple(axis or 0 for axis in axes)
        if shape is not None and math.prod(shape) > MAX_FIXED:
            raise ValueError(f"has {math.prod(shape)} numbers, the limit is {MAX_FIXED}; export the model without it")
        try:
            values = np.asarray(self.value) if shape is None else np.full(shape, self.value)
        except ValueError:
            raise ValueError("is ragged; give lists of equal length") from None
        if values.dtype.kind not in "biuf":
            raise ValueError("holds something that is no number; give numbers, or true and false")
        if len(values.shape) != len(axes) or any(
            want is not None and have != want for have, want in zip(values.shape, axes, strict=True)
        ):
            wanted = ["any" if axis is None else axis for axis in axes]
            raise ValueError(f"has shape {list(values.shape)}, and the model takes {wanted}; correct it")
        with np.errstate(over="ignore", invalid="ignore"):
            tensor = np.ascontiguousarray(values, dtype) if values.ndim else np.asarray(values, dtype)
        exact = dtype.kind != "f" and values.size and not np.array_equal(tensor.astype(np.float64), values)
        if exact or not np.isfinite(tensor).all():
            raise ValueError(f"holds a number that {dtype.name} cannot; correct it")
        return tensor
