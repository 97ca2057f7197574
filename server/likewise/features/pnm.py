"""PPM and PGM bytes to RGB pixels."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from likewise.errors import UndecodableInput
from likewise.features.image_checks import check_dimensions, looks_like
from likewise.types import Image

Pixels = NDArray[np.uint8]

_PNM_HEADER = re.compile(
    rb"P([2356])(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,5})(?:#[^\n]*\n|\s)"
)


def decode_pnm(body: bytes, *, max_pixels: int) -> Image:
    """Return the pixels of a PPM or PGM (P2, P3, P5, P6; maximum value up to 65535).

    Raises UndecodableInput or TooLarge.
    """
    header = _PNM_HEADER.match(body[:4096])
    if header is None:
        if body[:1] == b"P" and body[1:2] in (b"1", b"4", b"7"):
            raise UndecodableInput("Only PPM and PGM (P2, P3, P5, P6) are read; convert the image to PPM.")
        raise UndecodableInput(f"This is not a PPM or PGM{looks_like(body)}; send the fitting media type.")
    form = header[1]
    width, height, maximum = int(header[2]), int(header[3]), int(header[4])
    if not 1 <= maximum <= 65535:
        raise UndecodableInput(f"The maximum value of the PNM is {maximum}; it must be 1 to 65535.")
    check_dimensions("PNM", width, height, max_pixels)
    channels = 3 if form in (b"3", b"6") else 1
    count = width * height * channels
    dtype = np.dtype(np.uint8) if maximum < 256 else np.dtype(">u2")
    if form in (b"5", b"6"):
        if len(body) - header.end() < count * dtype.itemsize:
            raise UndecodableInput("The PNM breaks off before its last pixel; send the whole file.")
        flat = np.frombuffer(body, dtype, count, header.end())
    else:
        flat = _plain_numbers(body, header.end(), count)
    if maximum == 255 and dtype == np.uint8:
        values: Pixels = flat.astype(np.uint8)
    else:
        # One row of shades instead of arithmetic on every pixel.
        shades = np.minimum(np.arange(65536 if maximum > 255 else 256), maximum) * 255 // maximum
        values = shades.astype(np.uint8)[flat]
    if channels == 3:
        return Image(values.reshape(height, width, 3))
    return Image(np.repeat(values.reshape(height, width, 1), 3, axis=2))


def _plain_numbers(body: bytes, start: int, count: int) -> NDArray[np.int64]:
    # A number takes two bytes at least, so the split below is bounded by the body.
    if (len(body) - start + 1) // 2 < count:
        raise UndecodableInput("The PNM breaks off before its last pixel; send the whole file.")
    words = re.sub(rb"#[^\n]*", b"", body[start:]).split(None, count)[:count]
    if len(words) < count:
        raise UndecodableInput("The PNM breaks off before its last pixel; send the whole file.")
    if not b"".join(words).isdigit() or max(map(len, words)) > 5:
        raise UndecodableInput("The PNM holds something that is not a pixel value; encode the image again.")
    return np.minimum(np.array(list(map(int, words)), np.int64), 65535)
