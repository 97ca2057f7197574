"""Pictures and sounds in memory, as files that a server reads: losslessly, with NumPy alone where that is enough."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from likewise_client._errors import InvalidInput

PIL_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/bmp": "BMP"}
"""What Pillow calls the formats that it writes here."""
JPEG_QUALITY = 95


class Picture(Protocol):
    """What an image of Pillow's looks like from here."""

    @property
    def mode(self) -> str:
        """How pixels are stored, such as RGB."""

    def convert(self, mode: str, /) -> Any:
        """Return it in another mode."""

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:  # noqa: A002 (Pillow's name)
        """Write it."""


@dataclass(frozen=True)
class Sound:
    """Samples of a sound, sent as a WAV file of 16 bit where they are that, else of 32 bit float."""

    samples: ArrayLike
    """Shape (n,) or (n, channels): int16, or float in [-1, 1]."""
    rate: int
    """Samples in a second and channel, 4,000 to 192,000."""


def is_pil(value: Any) -> bool:
    """Whether a value is an image of Pillow's, which need not be installed."""
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(value).__mro__)


def encode_pil(image: Any, media_type: str) -> bytes:
    """Return an image of Pillow's as a file. Raises InvalidInput for what cannot be one."""
    if media_type not in PIL_FORMATS:
        raise InvalidInput(f"an image is sent as one of {', '.join(PIL_FORMATS)}, not as {media_type}")
    if media_type != "image/png" and image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": JPEG_QUALITY} if media_type == "image/jpeg" else {}
    if media_type == "image/webp":
        options["lossless"] = True
    try:
        image.save(buffer, PIL_FORMATS[media_type], **options)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(f"the image cannot be written as {media_type}: {error}") from error
    return buffer.getvalue()


def encode_pixels(pixels: NDArray[Any], media_type: str) -> bytes:
    """Return pixels, uint8 of shape (height, width), or (height, width, 3) in RGB, as a picture.

    PNG, PPM and PGM need NumPy alone, JPEG, WebP and BMP Pillow. Raises InvalidInput.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    shaped = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if pixels.dtype != np.uint8 or not pixels.size or not shaped:
        raise InvalidInput(
            f"a picture is uint8 of shape (height, width) or (height, width, 3), not {pixels.dtype} of {pixels.shape}"
        )
    pixels = np.ascontiguousarray(pixels)
    if media_type == "image/png":
        return _png(pixels)
    height, width = pixels.shape[:2]
    if media_type == ("image/x-portable-graymap" if pixels.ndim == 2 else "image/x-portable-pixmap"):
        return b"P%d\n%d %d\n255\n" % (5 if pixels.ndim == 2 else 6, width, height) + pixels.tobytes()
    try:
        from PIL import Image
    except ImportError:
        raise InvalidInput(f"to write {media_type}, install Pillow, or send the pixels as image/png") from None
    return encode_pil(Image.fromarray(pixels), media_type)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG file; each row is filtered as the difference to the one above. Source: PNG specification, 3rd ed."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2  # Up
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b""))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in chunks:
        parts += [struct.pack(">I", len(data)), name, data, struct.pack(">I", zlib.crc32(name + data))]
    return b"".join(parts)


def encode_sound(sound: Sound) -> bytes:
    """Return a sound as a WAV file. Raises InvalidInput for what is none."""
    try:
        samples = np.asarray(sound.samples)
    except ValueError as error:
        raise InvalidInput(f"a sound is an array of samples: {error}") from error
    if samples.ndim not in (1, 2) or samples.size == 0 or samples.dtype.kind not in "if":
        found = f"{samples.dtype} of {samples.shape}"
        raise InvalidInput(f"a sound has int16 or float samples, (n,) or (n, channels), not {found}")
    if samples.dtype.kind == "i" and samples.dtype != np.int16:
        raise InvalidInput(f"whole samples are int16, not {samples.dtype}; scale them to floats in [-1, 1] otherwise")
    if isinstance(sound.rate, bool) or not isinstance(sound.rate, int) or not 4000 <= sound.rate <= 192_000:
        raise InvalidInput(f"the rate of a sound is a whole number from 4,000 to 192,000, not {sound.rate!r}")
    code, data = (1, samples.astype("<i2")) if samples.dtype.kind == "i" else (3, samples.astype("<f4"))
    if code == 3 and not np.isfinite(data).all():
        raise InvalidInput("a sound holds NaN or infinity")
    channels = 1 if data.ndim == 1 else data.shape[1]
    frame = channels * data.itemsize
    form = struct.pack("<HHIIHH", code, channels, sound.rate, sound.rate * frame, frame, 8 * data.itemsize)
    body = data.tobytes()
    size = 4 + 8 + len(form) + 8 + len(body)
    head = b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + struct.pack("<I", len(form)) + form
    return head + b"data" + struct.pack("<I", len(body)) + body


WIDE_BYTES = 2048
"""Arrays of float64 up to this are sent as they are: to ask what the function takes would cost as much."""


def is_wide(value: Any) -> bool:
    """Whether a value is an array of float64 that might be sent as float32, for about half the bytes."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype.kind == "f"
        and value.dtype.itemsize == 8
        and value.nbytes > WIDE_BYTES
        and compact(value) is value
    )


def is_pixels(value: Any, media_type: str | None) -> bool:
    """Whether a value is pixels that are sent as a picture."""
    return isinstance(value, np.ndarray) and media_type is not None and media_type.startswith("image/")


def fitted(value: NDArray[Any], takes: Mapping[str, Any]) -> NDArray[Any]:
    """Return an array as small as a function takes it. takes: what the server says of the function's input."""
    if value.dtype == np.uint8:
        return reduced(value, takes.get("sizes"))
    return halved(value) if takes.get("dtype") == "float32" else value


def reduced(pixels: NDArray[Any], sizes: Any) -> NDArray[Any]:
    """Return pixels averaged over the largest blocks that every size is made of whole; as they are where none are.

    A mean over an area is the mean of the means over equal parts of it, so this changes what a server averages to
    `sizes` (of [width, height]) by no more than the rounding of the means, half a gray level.
    """
    try:
        wanted = [(int(width), int(height)) for width, height in sizes or ()]
    except (TypeError, ValueError, OverflowError):
        return pixels
    if pixels.ndim not in (2, 3) or not wanted or min(min(each) for each in wanted) < 1:
        return pixels
    high, wide = pixels.shape[:2]
    most = min(min(wide // width, high // height) for width, height in wanted)
    for block in range(most, 1, -1):
        if all(wide % (block * width) == 0 and high % (block * height) == 0 for width, height in wanted):
            parts = pixels.reshape(high // block, block, wide // block, block, *pixels.shape[2:])
            means: NDArray[Any] = np.rint(parts.mean(axis=(1, 3), dtype=np.float64))
            return means.astype(np.uint8)
    return pixels


def halved(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array of float64 as float32, the nearest each; as it is where that would be infinite, or is NaN."""
    with np.errstate(over="ignore"):
        narrow = values.astype("<f4")
    return narrow if np.isfinite(narrow).all() else values


_NARROWER = ("u1", "i1", "<u2", "<i2", "<u4", "<i4")


def compact(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array in the smallest type that holds exactly the same numbers.

    A server turns numbers into the type of its model in any case, so its result is that of the array as it was.
    """
    if values.dtype.kind == "f" and values.dtype.itemsize == 8:
        with np.errstate(over="ignore"):
            narrow = values.astype("<f4")
        return narrow if np.array_equal(narrow, values) else values
    if values.dtype.kind in "iu" and values.dtype.itemsize > 1 and values.size:
        low, high = int(values.min()), int(values.max())
        for name in _NARROWER:
            limits = np.iinfo(name)
            if np.dtype(name).itemsize < values.dtype.itemsize and limits.min <= low and high <= limits.max:
                return values.astype(name)
    return values
