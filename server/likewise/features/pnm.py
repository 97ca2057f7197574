"""PPM and PGM bytes to RGB pixels."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from likewise.errors import UndecodableInput
from likewise.features.image_checks import Bytes, check_dimensions, looks_like
from likewise.types import Image

_HEADER_BYTES = 4096
# Possessive repeats: what was once matched is never tried in another way, so the time is linear in the header.
_HEADER = re.compile(
    rb"P([56])(?:\s|#[^\n]*+\n)++(\d{1,9})(?:\s|#[^\n]*+\n)++(\d{1,9})(?:\s|#[^\n]*+\n)++(\d{1,5})(?:#[^\n]*+\n|\s)"
)


def decode_pnm(body: bytes, *, max_pixels: int) -> Image:
    """Return the pixels of a binary PPM or PGM (P6, P5; maximum value up to 65535).

    Raises UndecodableInput or TooLarge.
    """
    header = _HEADER.match(body[:_HEADER_BYTES])
    if header is None:
        if body[:1] == b"P" and body[1:2] in (b"1", b"2", b"3", b"4", b"7"):
            raise UndecodableInput("Only binary PPM and PGM (P6, P5) are read; convert the image to P6 or PNG.")
        raise UndecodableInput(f"This is not a PPM or PGM{looks_like(body)}; send the fitting media type.")
    width, height, maximum = int(header[2]), int(header[3]), int(header[4])
    if not 1 <= maximum <= 65535:
        raise UndecodableInput(f"The maximum value of the PNM is {maximum}; it must be 1 to 65535.")
    check_dimensions("PNM", width, height, max_pixels)
    channels = 3 if header[1] == b"6" else 1
    count = width * height * channels
    dtype = np.dtype(np.uint8) if maximum < 256 else np.dtype(">u2")
    if len(body) - header.end() < count * dtype.itemsize:
        raise UndecodableInput("The PNM breaks off before its last pixel; send the whole file.")
    flat = np.frombuffer(body, dtype, count, header.end())
    values: NDArray[np.uint8]
    if maximum == 255:
        values = flat.astype(np.uint8)
    else:
        # One row of shades instead of arithmetic on every pixel.
        shades = np.minimum(np.arange(65536 if maximum > 255 else 256), maximum) * 255 // maximum
        values = shades.astype(np.uint8)[flat]
    if channels == 3:
        return Image(values.reshape(height, width, 3))
    return Image(np.repeat(values.reshape(height, width, 1), 3, axis=2))


def dimensions(body: Bytes) -> tuple[int, int]:
    """Return width and height as the header gives them, 0 and 0 where it is none."""
    header = _HEADER.match(bytes(body[:_HEADER_BYTES]))
    return (int(header[2]), int(header[3])) if header else (0, 0)
