"""From the bytes of a request to an input: one decoder per function, its limits and media types fixed once."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Literal

import numpy as np

from likewise.errors import InvalidFunction, UndecodableInput, UnsupportedMediaType
from likewise.features import bmp, jpeg, png, pnm, webp
from likewise.features.array_formats import decode_json, decode_npy, npy_values
from likewise.features.audio_formats import decode_wav, wav_values
from likewise.features.image_checks import Bytes
from likewise.features.opencv import quiet
from likewise.types import Array, Input

Kind = Literal["image", "audio", "array", "bytes"]
Decoder = Callable[[str, Bytes], Input]
"""(media type, body) -> input. Raises UnsupportedMediaType, UndecodableInput, TooLarge or InvalidValue."""

MEDIA_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": (
            "image/png",
            "image/jpeg",
            "image/webp",
            "image/bmp",
            "image/x-ms-bmp",
            "image/x-portable-pixmap",
            "image/x-portable-anymap",
            "image/x-portable-graymap",
        ),
        "audio": ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"),
        "array": ("application/x-npy", "application/vnd.numpy.npy", "application/json"),
        "bytes": ("application/octet-stream", "application/binary", "text/plain"),
    }
)
"""The media types that each kind of input may come in; the first is the usual one."""


def decoder(
    kind: Kind,
    *,
    max_pixels: int = 16_000_000,
    max_seconds: float = 60.0,
    max_values: int = 4_000_000,
    max_dimensions: int = 8,
) -> Decoder:
    """Return the decoder for one kind of input.

    max_pixels: largest width x height of an image, checked against its header before anything is decoded.
    max_seconds: longest sound.
    max_values, max_dimensions: most numbers and axes of an array.
    Raises InvalidFunction for another kind.
    """
    read: dict[str, Callable[[bytes], Input]] = {}
    if kind == "image":
        quiet()
        readers = {
            "image/png": png.decode_png,
            "image/jpeg": jpeg.decode_jpeg,
            "image/webp": webp.decode_webp,
            "image/bmp": bmp.decode_bmp,
            "image/x-ms-bmp": bmp.decode_bmp,
        }
        read = {each: partial(readers.get(each, pnm.decode_pnm), max_pixels=max_pixels) for each in MEDIA_TYPES[kind]}
    elif kind == "audio":
        wav = partial(decode_wav, max_seconds=max_seconds)
        read = dict.fromkeys(MEDIA_TYPES["audio"], wav)
    elif kind == "array":
        npy = partial(decode_npy, max_values=max_values, max_dimensions=max_dimensions)
        read = dict.fromkeys(MEDIA_TYPES["array"], npy)
        read["application/json"] = partial(decode_json, max_values=max_values, max_dimensions=max_dimensions)
    elif kind == "bytes":
        read = dict.fromkeys(MEDIA_TYPES["bytes"], as_bytes)
    else:
        raise InvalidFunction(f"input.kind is {kind!r}; use one of {', '.join(map(repr, MEDIA_TYPES))}.")
    taken = ", ".join(MEDIA_TYPES[kind])

    def decode(media_type: str, body: Bytes) -> Input:
        reader = read.get(media_type) or read.get(media_type.partition(";")[0].strip().lower())
        if reader is None:
            shown = media_type[:100] or "(none)"
            raise UnsupportedMediaType(f"This function takes {kind} input, not {shown}; send one of: {taken}.")
        if not len(body):
            raise UndecodableInput(f"The body is empty; send the {kind} itself as the body.")
        return reader(body if isinstance(body, bytes) else bytes(body))

    return decode


_DIMENSIONS: tuple[tuple[bytes, Callable[[Bytes], tuple[int, int]]], ...] = (
    (b"\x89P", png.dimensions),
    (b"\xff\xd8", jpeg.dimensions),
    (b"RI", webp.dimensions),
    (b"BM", bmp.dimensions),
    (b"P5", pnm.dimensions),
    (b"P6", pnm.dimensions),
)


def as_bytes(body: bytes) -> Array:
    """Return a file as it is: an array of its bytes."""
    return Array(np.frombuffer(body, np.uint8))


def decoded_size(kind: Kind, media_type: str, body: Bytes) -> int:
    """Return about how many numbers the body decodes to, told from its header alone; 0 where that cannot be told.

    An image's pixels x 3, a sound's samples, an array's values; of JSON the bytes. What it returns is what the header
    claims, so it may be far more than can be. Takes a few microseconds and never raises.
    """
    try:
        if kind == "image":
            start = bytes(body[:2])
            for magic, dimensions in _DIMENSIONS:
                if start == magic:
                    width, height = dimensions(body)
                    return width * height * 3
            return 0
        if kind == "audio":
            return max(0, wav_values(body))
        if kind == "bytes":
            return len(body)
        return npy_values(body) if body[:1] == b"\x93" else len(body)
    except (struct.error, IndexError):
        return 0
