"""JPEG bytes to RGB pixels.

Dimensions and structure are checked here before the decoder sees a byte, so that a decompression bomb is refused by its
header. libjpeg-turbo then decodes strictly: OpenCV would fill in what is damaged and print a warning to stderr.
"""

from __future__ import annotations

import struct
from struct import unpack_from

import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # it ships no types

from likewise.errors import UndecodableInput
from likewise.features.image_checks import check_dimensions, looks_like
from likewise.types import Image

_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended, progressive Huffman
_OTHER_FRAMES = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF))
# EXIF orientation -> mirror left and right first, then quarter turns against the clock.
_UPRIGHT = {2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}
_MAX_SCANS = 100  # each scan of a progressive image costs a pass over all of it; encoders write about 10


def decode_jpeg(body: bytes, *, max_pixels: int) -> Image:
    """Return the pixels of a baseline or progressive JPEG, turned upright as its EXIF orientation says.

    Raises UndecodableInput or TooLarge.
    """
    if body[:3] != b"\xff\xd8\xff":
        raise UndecodableInput(f"This is not a JPEG{looks_like(body)}; send the media type that fits the bytes.")
    width, height, scan, orientation = _header(body)
    check_dimensions("JPEG", width, height, max_pixels)
    if body.rfind(b"\xff\xd9", scan) < 0:
        raise UndecodableInput("The JPEG breaks off before its end marker; send the whole file.")
    if body.count(b"\xff\xda") > _MAX_SCANS:
        raise UndecodableInput("The JPEG has too many scans; encode it again as a baseline JPEG.")
    try:
        pixels = simplejpeg.decode_jpeg(body, "RGB", strict=True)
    except ValueError as error:
        raise UndecodableInput("The JPEG's data is damaged or breaks off; encode the image again.") from error
    if pixels.shape != (height, width, 3):
        raise UndecodableInput("The JPEG does not have the size that its header says; encode it again.")
    turns, mirrored = _UPRIGHT.get(orientation, (0, False))
    if mirrored:
        pixels = pixels[:, ::-1]
    return Image(np.ascontiguousarray(np.rot90(pixels, turns)) if turns or mirrored else pixels)


def _header(body: bytes) -> tuple[int, int, int, int]:
    # Width, height, where the first scan starts (ITU-T T.81, annex B), EXIF orientation.
    position, size = 2, len(body)
    width = height = 0
    orientation = 1
    while position + 4 <= size and body[position] == 0xFF:
        marker = body[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        length = unpack_from(">H", body, position + 2)[0]
        if marker in _OTHER_FRAMES:
            raise UndecodableInput("This kind of JPEG is not read; encode it as a baseline or progressive JPEG.")
        if marker in _FRAMES:
            if length < 11 or position + 2 + length > size or width:
                break
            precision, height, width, components = unpack_from(">BHHB", body, position + 4)
            if precision != 8 or components not in (1, 3):
                raise UndecodableInput("The JPEG is not 8 bit gray or RGB color; encode it again as an 8 bit RGB JPEG.")
        elif marker == 0xE1 and body[position + 4 : position + 10] == b"Exif\0\0":
            orientation = _exif_orientation(body[position + 10 : position + 2 + length])
        elif marker == 0xDA:
            if not width:
                break
            return width, height, position, orientation
        position += 2 + length
    raise UndecodableInput("The JPEG's header is damaged or breaks off; send the whole file.")


def _exif_orientation(tiff: bytes) -> int:
    # Tag 0x0112 of the first directory (TIFF 6.0, section 2); 1 (upright) where there is none or it makes no sense.
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        directory = unpack_from(order + "I", tiff, 4)[0]
        for index in range(unpack_from(order + "H", tiff, directory)[0]):
            tag, kind, _, value = unpack_from(order + "HHIH", tiff, directory + 2 + 12 * index)
            if tag == 0x0112:
                return int(value) if kind == 3 else 1
    except struct.error:
        pass
    return 1
