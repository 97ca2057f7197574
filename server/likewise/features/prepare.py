"""Input to the tensor that a model takes, without its batch axis. Everything fixed is fixed when the function loads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidFunction, InvalidValue
from likewise.types import Array, Audio, Image, Input, Tensor

Prepare = Callable[[Input], Tensor]


def resize(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return pixels at size (width, height): averaged over areas when shrinking, bilinear when enlarging."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    shrinking = width >= size[0] and height >= size[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)  # type: ignore[return-value]


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


def image_tensor(
    size: Sequence[int],
    channels: int = 3,
    mean: Sequence[float] | float = 0.0,
    std: Sequence[float] | float = 1.0,
    dtype: str = "float32",
) -> Prepare:
    """Return image -> (pixels / 255 - mean) / std, shape (channels, height, width), C-contiguous.

    size: width, height. channels: 1 (luma) or 3 (RGB). mean, std: one number, or one per channel.
    dtype: what the model takes. An integer type gets the pixels as they are, 0 to 255, and so neither mean nor std.
    About 2 us for 32 x 32 kept at its size. Raises InvalidFunction for settings that cannot be.
    """
    if len(size) != 2 or not all(1 <= side <= 4096 for side in size):
        raise InvalidFunction(f"size is {list(size)}; give width and height, each 1 to 4096.")
    if channels not in (1, 3):
        raise InvalidFunction(f"channels is {channels}; use 1 (gray) or 3 (RGB).")
    wide, high = int(size[0]), int(size[1])
    means = _per_channel("mean", mean, channels)
    stds = _per_channel("std", std, channels)
    if not (stds > 0).all():
        raise InvalidFunction("std must be above 0 in every channel.")
    kind = np.dtype(dtype)
    if kind.kind in "iu" and np.iinfo(kind).max >= 255:
        if means.any() or (stds != 1).any():
            raise InvalidFunction(
                f"The model takes images as {kind.name}, the pixels as they are from 0 to 255; remove mean and std, "
                "or export the model with a float32 input."
            )
    elif kind.kind != "f":
        raise InvalidFunction(f"The model takes images as {kind.name}; export it with a float32 or uint8 input.")
    elif not (np.maximum(abs(means), abs(1 - means)) / stds <= np.finfo(kind).max).all():
        raise InvalidFunction(f"mean and std make numbers too large for {kind.name}; check them.")
    settings = cv2.dnn.Image2BlobParams(scalefactor=[*(1.0 / (255.0 * stds))], mean=[*(255.0 * means)])

    def shaped(value: Input) -> NDArray[np.uint8]:
        pixels = image_pixels(value)
        return resize(gray(pixels) if channels == 1 else rgb(pixels), (wide, high))

    def normalized(value: Input) -> Tensor:
        return cv2.dnn.blobFromImageWithParams(shaped(value), settings)[0]  # type: ignore[no-any-return]

    def plain(value: Input) -> Tensor:
        return shaped(value).reshape(high, wide, channels).transpose(2, 0, 1).astype(kind, order="C")

    if kind.kind in "iu":
        return plain
    if kind == np.float32:
        return normalized
    return lambda value: normalized(value).astype(kind)


def resample(samples: NDArray[np.float32], rate: int, target: int) -> NDArray[np.float32]:
    """Return samples at the target rate, band-limited: the spectrum is cut or padded (Fourier method).

    Any length works; round(n * target / rate) samples come out, at least one.
    """
    if rate == target:
        return samples
    count = max(1, round(len(samples) * target / rate))
    spectrum = np.fft.rfft(samples)
    bins = count // 2 + 1
    if bins < len(spectrum):
        spectrum = spectrum[:bins]
    out = np.fft.irfft(spectrum, count) * (count / len(samples))
    return out.astype(np.float32)


def audio_samples(value: Input, sample_rate: int) -> NDArray[np.float32]:
    """Return the samples of a sound at sample_rate; raises InvalidValue for any other input."""
    if not isinstance(value, Audio):
        raise InvalidValue("This function takes sounds; send a WAV.")
    return resample(value.samples, value.sample_rate, sample_rate)


def audio_tensor(sample_rate: int, seconds: float, dtype: str = "float32") -> Prepare:
    """Return sound -> samples in [-1, 1] of shape (sample_rate * seconds,), cut or padded with silence at its end.

    dtype: what the model takes, a float type.
    Raises InvalidFunction for settings that cannot be.
    """
    if not 1000 <= sample_rate <= 192_000:
        raise InvalidFunction(f"sample_rate is {sample_rate}; give 1000 to 192000 Hz.")
    if not 0 < seconds <= 600:
        raise InvalidFunction(f"seconds is {seconds}; give more than 0, at most 600.")
    kind = np.dtype(dtype)
    if kind.kind != "f":
        raise InvalidFunction(f"The model takes sounds as {kind.name}; export it with a float32 input.")
    count = max(1, round(sample_rate * seconds))

    def prepare(value: Input) -> Tensor:
        samples = audio_samples(value, sample_rate)
        tensor = np.zeros(count, kind)
        kept = min(count, len(samples))
        tensor[:kept] = samples[:kept]
        return tensor

    return prepare


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


def _per_channel(name: str, value: Sequence[float] | float, channels: int) -> NDArray[np.float64]:
    numbers = np.atleast_1d(np.asarray(value, np.float64))
    if numbers.shape == (1,):
        numbers = np.repeat(numbers, channels)
    if numbers.shape != (channels,) or not np.isfinite(numbers).all():
        raise InvalidFunction(f"{name} must be one finite number, or one for each of the {channels} channels.")
    return numbers
