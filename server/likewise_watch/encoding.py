"""Frames as bytes, in what a function takes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, Literal

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray

from likewise.errors import SettingsError

Pixels = NDArray[np.uint8]
"""A picture, shape (height, width, 3), red first."""
Encode = Callable[[Pixels], tuple[bytes, str]]
"""Returns the body and its media type."""
Choice = Literal["auto", "jpeg", "raw"]

RAW_BYTES = 8 << 20
"""Largest picture that `auto` sends as it is; a server takes 16 MiB unless told otherwise."""


def encoding(
    function: Mapping[str, Any], choice: Choice, nearby: bool, quality: int, shape: tuple[int, ...] | None, unit: bool
) -> Encode:
    """Return how frames are encoded for a function.

    function: as the server describes it. nearby: whether the server is on this machine, where bytes cost less than
    coding them. quality: of JPEG, 1 to 100. shape, unit: of arrays, see `array`.
    Raises SettingsError for a function that takes no pictures.
    """
    name, kind = function.get("name"), function.get("input", {}).get("kind")
    if kind == "array":
        if shape is None:
            raise SettingsError(
                f"Function `{name}` takes arrays: say of which shape with --shape, such as 3x240x320 or 240x320x3."
            )
        return array(shape, unit)
    if kind != "image":
        raise SettingsError(f"Function `{name}` takes {kind} input, no pictures; name another with --function.")
    as_jpeg = jpeg(quality)
    if choice == "jpeg" or (choice == "auto" and not nearby):
        return as_jpeg
    if choice == "raw":
        return portable
    return lambda pixels: portable(pixels) if pixels.nbytes <= RAW_BYTES else as_jpeg(pixels)


def jpeg(quality: int) -> Encode:
    """Return an encoder to JPEG, with color at half resolution, as nearly all video has it."""

    def encode(pixels: Pixels) -> tuple[bytes, str]:
        body = simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=True)
        return body, "image/jpeg"

    return encode


def portable(pixels: Pixels) -> tuple[bytes, str]:
    """Return a picture as it is, behind a header (PPM, P6)."""
    height, width = pixels.shape[:2]
    return b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes(), "image/x-portable-pixmap"


def array(shape: tuple[int, ...], unit: bool) -> Encode:
    """Return an encoder to .npy, scaled to a shape: (height, width), or with 1 or 3 channels first or last.

    unit: float32 from 0 to 1 instead of bytes from 0 to 255.
    Raises SettingsError for a shape that no picture has.
    """
    channels_first = len(shape) == 3 and shape[0] in (1, 3)
    if not (len(shape) == 2 or channels_first or (len(shape) == 3 and shape[2] in (1, 3))) or min(shape) < 1:
        raise SettingsError(
            f"--shape {'x'.join(map(str, shape))} is no picture's: 3x240x320, 240x320x3 or 240x320 are."
        )
    height, width = shape[1:] if channels_first else shape[:2]
    gray = len(shape) == 2 or shape[0 if channels_first else 2] == 1

    def encode(pixels: Pixels) -> tuple[bytes, str]:
        shrinks = height <= pixels.shape[0] and width <= pixels.shape[1]
        scaled = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        if gray:
            scaled = cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY)[..., None]
        values = scaled.transpose(2, 0, 1) if channels_first else scaled
        values = np.ascontiguousarray(values).reshape(shape)
        buffer = io.BytesIO()
        np.save(buffer, values.astype(np.float32) / np.float32(255) if unit else values, allow_pickle=False)
        return buffer.getvalue(), "application/x-npy"

    return encode
