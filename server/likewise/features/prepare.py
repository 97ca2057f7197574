"""Input to the tensor that a model takes, without its batch axis. Everything fixed is fixed when the function loads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
        raise InvalidValue("This function takes images; send a PNG, JPEG or PPM.")
    return value.pixels


def image_tensor(
    size: Sequence[int],
    channels: int = 3,
    mean: Sequence[float] | float = 0.0,
    std: Sequence[float] | float = 1.0,
) -> Prepare:
    """Return image -> (pixels / 255 - mean) / std, float32, shape (channels, height, width), C-contiguous.

    size: width, height. channels: 1 (luma) or 3 (RGB). mean, std: one number, or one per channel.
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
    settings = cv2.dnn.Image2BlobParams(scalefactor=[*(1.0 / (255.0 * stds))], mean=[*(255.0 * means)])

    def prepare(value: Input) -> Tensor:
        pixels = image_pixels(value)
        shaped = resize(gray(pixels) if channels == 1 else rgb(pixels), (wide, high))
        return cv2.dnn.blobFromImageWithParams(shaped, settings)[0]  # type: ignore[no-any-return]

    return prepare


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


def audio_tensor(sample_rate: int, seconds: float) -> Prepare:
    """Return sound -> float32 of shape (sample_rate * seconds,), cut or padded with silence at its end.

    Raises InvalidFunction for settings that cannot be.
    """
    if not 1000 <= sample_rate <= 192_000:
        raise InvalidFunction(f"sample_rate is {sample_rate}; give 1000 to 192000 Hz.")
    if not 0 < seconds <= 600:
        raise InvalidFunction(f"seconds is {seconds}; give more than 0, at most 600.")
    count = max(1, round(sample_rate * seconds))

    def prepare(value: Input) -> Tensor:
        samples = audio_samples(value, sample_rate)
        tensor = np.zeros(count, np.float32)
        kept = min(count, len(samples))
        tensor[:kept] = samples[:kept]
        return tensor

    return prepare


def array_tensor(shape: Sequence[int | None] | None = None, dtype: str = "float32") -> Prepare:
    """Return array -> the same numbers as dtype, its shape checked.

    shape: without the batch axis; None for an axis (or for all of it) takes any length.
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
        with np.errstate(over="ignore", invalid="ignore"):
            tensor = np.ascontiguousarray(values, kind)
        if kind.kind == "f" and values.dtype != kind and not np.isfinite(tensor).all():
            raise InvalidValue(f"A number is too large for {kind.name}; scale the array down.")
        return tensor

    return prepare


def _per_channel(name: str, value: Sequence[float] | float, channels: int) -> NDArray[np.float64]:
    numbers = np.atleast_1d(np.asarray(value, np.float64))
    if numbers.shape == (1,):
        numbers = np.repeat(numbers, channels)
    if numbers.shape != (channels,) or not np.isfinite(numbers).all():
        raise InvalidFunction(f"{name} must be one finite number, or one for each of the {channels} channels.")
    return numbers
