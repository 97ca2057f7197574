"""What inputs are made of, and arrays to the tensors that models take, without their batch axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.types import Array, Image, Input, Tensor

Prepare = Callable[[Input], Tensor]


def gray(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luma (ITU-R BT.601) of pixels, shape (height, width), uint8."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels  # type: ignore[return-value]


def rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pixels with three channels, shape (height, width, 3), uint8."""
    return pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]


def image_pixels(value: Input) -> NDArray[np.uint8]:
    """Return the pixels of an image; raises InvalidValue for any other input."""
    if not isinstance(value, Image):
        raise InvalidValue("This function takes images; send a PNG, JPEG, WebP or BMP.")
    return value.pixels


def array_tensor(shape: Sequence[int | None] | None = None, dtype: str = "float32") -> Prepare:
    """Return array -> the same numbers as dtype, its shape checked.

    shape: without the batch axis; None for an axis (or for all of it) takes any length.
    dtype: what the model takes. A float type gets the nearest number that it holds (for float32 within 6e-8 of it);
    an integer type takes whole numbers in its range, a boolean one 0 and 1. What does not fit raises InvalidValue.
    """
    kind = np.dtype(dtype)

    def prepare(value: Input) -> Tensor:
        if not isinstance(value, Array):
            raise InvalidValue("This function takes arrays; send a .npy or JSON.")
        values = value.values
        if shape is not None and (
            values.ndim != len(shape)
            or any(want is not None and have != want for have, want in zip(values.shape, shape, strict=True))
        ):
            wanted = ["any" if axis is None else axis for axis in shape]
            raise InvalidValue(f"The array has shape {list(values.shape)} and the function takes {wanted}.")
        return _cast(values, kind)

    return prepare


def _cast(values: Tensor, kind: np.dtype[Any]) -> Tensor:
    """Return finite values as another type, C-contiguous. Raises InvalidValue where that would change them."""
    if np.can_cast(values.dtype, kind):
        return np.ascontiguousarray(values, kind)
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            tensor = np.ascontiguousarray(values, kind)
        if not np.isfinite(tensor).all():
            raise InvalidValue(f"The array holds a number too large for {kind.name}; scale it down.")
        return tensor
    if kind.kind == "b":
        low, high, wanted = 0, 1, "0 and 1"
    else:
        low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
        wanted = f"whole numbers from {low} to {high}"
    fits = _within(values, low, high)
    if not fits.all():
        odd = values[~fits].flat[0]
        raise InvalidValue(f"The array holds {odd} and the model takes {kind.name}; send {wanted} alone.")
    return np.ascontiguousarray(values, kind)


def _within(values: Tensor, low: int, high: int) -> NDArray[np.bool_]:
    # Where values are whole and from low to high, which may lie outside of their type.
    if values.dtype.kind == "f":
        # Compared as float64, where high + 1 is exact (a power of two, or 2) and high may not be.
        whole: NDArray[np.bool_] = values == np.trunc(values)
        return whole & (values >= np.float64(low)) & (values < np.float64(high + 1))
    own = np.iinfo(values.dtype)
    inside: NDArray[np.bool_] = (values >= max(low, int(own.min))) & (values <= min(high, int(own.max)))
    return inside
