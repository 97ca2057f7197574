"""The orientation that EXIF gives an image, and turning the pixels upright by it."""

from __future__ import annotations

import struct
from struct import unpack_from

import numpy as np

from likewise.types import Image

# Orientation -> quarter turns against the clock, after mirroring left and right.
_UPRIGHT = {2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}
# Type of a TIFF field (TIFF 6.0, section 2) -> how its value is laid out: BYTE, SHORT, LONG and their signed twins.
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_PREFIX = b"Exif\0\0"


def orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, of a TIFF structure with or without its "Exif" prefix.

    It is tag 0x0112 of the first directory, a SHORT by the standard (EXIF 2.3, section 4.6.4) and a LONG or a BYTE as
    some cameras write it. 1 (upright) where there is none or it makes no sense.
    """
    if not exif:
        return 1
    tiff = exif.removeprefix(_PREFIX)
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        directory = unpack_from(order + "I", tiff, 4)[0]
        for index in range(unpack_from(order + "H", tiff, directory)[0]):
            tag, kind = unpack_from(order + "HH", tiff, directory + 2 + 12 * index)
            if tag == 0x0112:
                layout = _TYPES.get(kind)
                value = unpack_from(order + layout, tiff, directory + 10 + 12 * index)[0] if layout else 1
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def upright(image: Image, turned: int) -> Image:
    """Return the image as it is to be seen, given its orientation; the image itself where that is 1."""
    if turned not in _UPRIGHT:
        return image
    turns, mirrored = _UPRIGHT[turned]
    pixels = image.pixels[:, ::-1] if mirrored else image.pixels
    return Image(np.ascontiguousarray(np.rot90(pixels, turns)))
