"""From the bytes of a request to an input: one decoder per function, its limits and media types fixed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Literal

from likewise.errors import InvalidFunction, UndecodableInput, UnsupportedMediaType
from likewise.features.array_formats import decode_json, decode_npy
from likewise.features.audio_formats import decode_wav
from likewise.features.jpeg import decode_jpeg
from likewise.features.png import decode_png, quiet
from likewise.features.pnm import decode_pnm
from likewise.types import Input

Kind = Literal["image", "audio", "array"]
Body = bytes | bytearray | memoryview
Decoder = Callable[[str, Body], Input]
"""(media type, body) -> input. Raises UnsupportedMediaType, UndecodableInput, TooLarge or InvalidValue."""

MEDIA_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": (
            "image/png",
            "image/jpeg",
            "image/x-portable-pixmap",
            "image/x-portable-anymap",
            "image/x-portable-graymap",
        ),
        "audio": ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"),
        "array": ("application/x-npy", "application/vnd.numpy.npy", "application/json"),
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
    Raises InvalidFunction for a kind that is not "image", "audio" or "array".
    """
    read: dict[str, Callable[[bytes], Input]] = {}
    if kind == "image":
        quiet()
        pnm = partial(decode_pnm, max_pixels=max_pixels)
        read = dict.fromkeys(MEDIA_TYPES["image"], pnm)
        read["image/png"] = partial(decode_png, max_pixels=max_pixels)
        read["image/jpeg"] = partial(decode_jpeg, max_pixels=max_pixels)
    elif kind == "audio":
        wav = partial(decode_wav, max_seconds=max_seconds)
        read = dict.fromkeys(MEDIA_TYPES["audio"], wav)
    elif kind == "array":
        npy = partial(decode_npy, max_values=max_values, max_dimensions=max_dimensions)
        read = dict.fromkeys(MEDIA_TYPES["array"], npy)
        read["application/json"] = partial(decode_json, max_values=max_values, max_dimensions=max_dimensions)
    else:
        raise InvalidFunction(f"input.kind is {kind!r}; use one of {', '.join(map(repr, MEDIA_TYPES))}.")
    taken = ", ".join(MEDIA_TYPES[kind])

    def decode(media_type: str, body: Body) -> Input:
        reader = read.get(media_type) or read.get(media_type.partition(";")[0].strip().lower())
        if reader is None:
            shown = media_type[:100] or "(none)"
            raise UnsupportedMediaType(f"This function takes {kind} input, not {shown}; send one of: {taken}.")
        if not len(body):
            raise UndecodableInput(f"The body is empty; send the {kind} itself as the body.")
        return reader(body if isinstance(body, bytes) else bytes(body))

    return decode
