"""Pictures to the tensors that models take: resized, in the model's color order, scale, layout and type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidFunction
from likewise.features.prepare import Prepare, gray, image_pixels, rgb
from likewise.features.resizing import Resizing, placed, planner, resize
from likewise.types import Input, Tensor

Layout = Literal["nchw", "nhwc", "nhw"]
Color = Literal["rgb", "bgr"]

LAYOUTS: Mapping[str, Callable[[int | None, int | None, int], tuple[int | None, ...]]] = {
    "nchw": lambda high, wide, channels: (channels, high, wide),
    "nhwc": lambda high, wide, channels: (high, wide, channels),
    "nhw": lambda high, wide, channels: (high, wide),
}
"""By layout: the shape of a tensor without its batch axis, from height, width and channels."""


def image_tensor(
    size: tuple[int, int] | None,
    channels: int = 3,
    mean: Sequence[float] | float = 0.0,
    std: Sequence[float] | float = 1.0,
    dtype: str = "float32",
    *,
    layout: Layout = "nchw",
    color: Color = "rgb",
    scale: float | None = None,
    resizing: Resizing = Resizing(),  # noqa: B008 (it is immutable)
) -> Prepare:
    """Return image -> (pixels / scale - mean) / std, C-contiguous, in the layout's shape.

    size: width, height; None where the resizing takes any. channels: 1 (luma) or 3.
    mean, std: one number, or one per channel in the order of `color`. scale: default 255, so that 1 is white.
    dtype: what the model takes. An unsigned or wide integer type gets the pixels as they are, 0 to 255, int8 the pixels
    less 128, and so neither scale, mean nor std.
    About 2 us for 32 x 32 kept at its size. Raises InvalidFunction for settings that cannot be.
    """
    if channels not in (1, 3):
        raise InvalidFunction(f"channels is {channels}; use 1 (gray) or 3 (colors).")
    if layout == "nhw" and channels != 1:
        raise InvalidFunction("layout `nhw` has no axis for colors; set channels = 1.")
    wanted = replace(resizing, size=size)
    plan_for, interpolation = planner(wanted), wanted.interpolation
    factor, offset = _linear(channels, mean, std, dtype, scale)
    kind = np.dtype(dtype)
    swapped = color == "bgr" and channels == 3
    last = layout != "nchw"
    around = np.asarray(wanted.fill * factor + offset)

    def shown(value: Input) -> tuple[NDArray[np.uint8], Any]:
        pixels = image_pixels(value)
        plan = plan_for(pixels.shape[1], pixels.shape[0])
        return placed(gray(pixels) if channels == 1 else rgb(pixels), plan, interpolation), plan

    def arranged(values: Tensor) -> Tensor:
        if layout == "nhw":
            return values[:, :, 0]
        return values if last else values.transpose(2, 0, 1)

    def normalized(value: Input) -> Tensor:
        pixels, plan = shown(value)
        pixels = pixels.reshape(*pixels.shape[:2], channels)
        if swapped:
            pixels = pixels[:, :, ::-1]
        high, wide = pixels.shape[:2]
        if (wide, high) == plan.canvas:
            return _cast(arranged(pixels * factor + offset), kind)
        canvas = np.empty((plan.canvas[1], plan.canvas[0], channels), factor.dtype)
        canvas[:] = around
        top, left = max(0, plan.top), max(0, plan.left)
        canvas[top : top + high, left : left + wide] = pixels * factor + offset
        return _cast(arranged(canvas), kind)

    simple = wanted.mode == "stretch" and layout == "nchw" and kind == np.float32
    if not simple:
        return normalized
    settings = cv2.dnn.Image2BlobParams(
        scalefactor=[*factor.astype(np.float64)],
        mean=[*(-offset.astype(np.float64) / factor.astype(np.float64))],
        swapRB=swapped,
    )
    exact = plan_for(1, 1).canvas

    def stretched(value: Input) -> Tensor:
        pixels = image_pixels(value)
        pixels = resize(gray(pixels) if channels == 1 else rgb(pixels), exact, interpolation)
        return cv2.dnn.blobFromImageWithParams(pixels, settings)[0]  # type: ignore[no-any-return]

    return stretched


def _linear(
    channels: int, mean: Sequence[float] | float, std: Sequence[float] | float, dtype: str, scale: float | None
) -> tuple[Tensor, Tensor]:
    """Return factor and offset by channel: the tensor is pixels * factor + offset. Raises InvalidFunction."""
    means = _per_channel("mean", mean, channels)
    stds = _per_channel("std", std, channels)
    if not (stds > 0).all() or (scale is not None and not scale > 0):
        raise InvalidFunction("scale and std must be above 0, in every channel.")
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        if means.any() or (stds != 1).any() or scale not in (None, 1.0):
            what = "less 128" if kind == np.int8 else "as they are from 0 to 255"
            raise InvalidFunction(
                f"The model takes images as {kind.name}, the pixels {what}; remove mean and std and scale, "
                "or export the model with a float32 input."
            )
        offset = -128 if kind == np.int8 else 0
        return np.ones(channels, np.int16), np.full(channels, offset, np.int16)
    if kind.kind != "f":
        raise InvalidFunction(f"The model takes images as {kind.name}; export it with a float32 or uint8 input.")
    factor, offsets = 1.0 / ((scale or 255.0) * stds), -means / stds
    most = np.maximum(abs(offsets), abs(255.0 * factor + offsets))
    if not (most <= np.finfo(kind).max).all():
        raise InvalidFunction(f"scale, mean and std make numbers too large for {kind.name}; check them.")
    exact = np.float64 if kind == np.float64 else np.float32
    return factor.astype(exact), offsets.astype(exact)


def _cast(values: Tensor, kind: np.dtype[Any]) -> Tensor:
    return np.ascontiguousarray(values, kind)


def _per_channel(name: str, value: Sequence[float] | float, channels: int) -> NDArray[np.float64]:
    numbers = np.atleast_1d(np.asarray(value, np.float64))
    if numbers.shape == (1,):
        numbers = np.repeat(numbers, channels)
    if numbers.shape != (channels,) or not np.isfinite(numbers).all():
        raise InvalidFunction(f"{name} must be one finite number, or one for each of the {channels} channels.")
    return numbers
