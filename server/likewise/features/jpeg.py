"""JPEG bytes to RGB pixels.

Dimensions and structure are checked here before the decoder sees a byte, so that a decompression bomb is refused by its
header. libjpeg-turbo then decodes strictly: OpenCV would fill in what is damaged and print a warning to stderr.
"""

from __future__ import annotations

import re
from struct import unpack_from

import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray

from likewise.errors import UndecodableInput
from likewise.features.exif import orientation, upright
from likewise.features.image_checks import Bytes, check_dimensions, looks_like
from likewise.types import Image

_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended, progressive Huffman
_OTHER_FRAMES = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF))
_END = b"\xff\xd9"
_PEEKED_PARTS = 64
_MAX_PARTS = 65_536  # and fill bytes; no encoder comes near
_STRAY_BYTES = re.compile(r"Corrupt JPEG data: (\d{1,9}) extraneous bytes before marker 0xd9")
_MAX_STRAY_BYTES = 16
_MAX_DECODINGS = 4
_MAX_SCANS = 100  # each scan of a progressive image costs a pass over all of it; encoders write about 10


def decode_jpeg(body: bytes, *, max_pixels: int) -> Image:
    """Return the pixels of a baseline or progressive JPEG, turned upright as its EXIF orientation tells.

    Raises UndecodableInput or TooLarge.
    """
    if body[:3] != b"\xff\xd8\xff":
        raise UndecodableInput(f"This is not a JPEG{looks_like(body)}; send the media type that fits the bytes.")
    width, height, scan, exif = _header(body)
    check_dimensions("JPEG", width, height, max_pixels)
    if body.rfind(_END, scan) < 0:
        raise UndecodableInput("The JPEG breaks off before its end marker; send the whole file.")
    if body.count(b"\xff\xda") > _MAX_SCANS:
        raise UndecodableInput("The JPEG has too many scans; encode it again as a baseline JPEG.")
    image = Image(_pixels(body, scan))
    if image.pixels.shape != (height, width, 3):
        raise UndecodableInput("The JPEG does not have the size that its header says; encode it again.")
    return upright(image, orientation(exif))


def dimensions(body: Bytes) -> tuple[int, int]:
    """Return width and height as the header gives them, 0 and 0 where it does not.

    Looks at a few parts of the header alone; where more stand before the frame, the largest size there can be.
    """
    position, size = 2, len(body)
    for _ in range(_PEEKED_PARTS):
        if position + 9 > size or body[position] != 0xFF:
            return 0, 0
        marker = body[position + 1]
        if marker in _FRAMES or marker in _OTHER_FRAMES:
            height, width = unpack_from(">HH", body, position + 5)
            return width, height
        position += 1 if marker == 0xFF else 2 + unpack_from(">H", body, position + 2)[0]
    return 65535, 65535


def _pixels(body: bytes, scan: int) -> NDArray[np.uint8]:
    for _ in range(_MAX_DECODINGS):
        try:
            return simplejpeg.decode_jpeg(body, "RGB", strict=True)  # type: ignore[no-any-return]
        except ValueError as error:
            shorter = _without_stray_bytes(body, scan, str(error))
            if shorter is None:
                raise UndecodableInput("The JPEG's data is damaged or breaks off; encode the image again.") from error
            body = shorter
    raise UndecodableInput("The JPEG has stray bytes before its end marker; encode the image again.")


def _without_stray_bytes(body: bytes, scan: int, complaint: str) -> bytes | None:
    # Some cameras fill up with zeros, or leave a few bytes, between the last pixel and the end marker, and the decoder
    # counts them. Without them the rest must pass as strictly as any other JPEG: so zeros never stand for pixels. More
    # than a few other bytes are left over where data is damaged, so they are none of these.
    stray = _STRAY_BYTES.match(complaint)
    if stray is None:
        return None
    entropy = body[scan : body.find(_END, scan)].rstrip(
        b"\xff"
    )  # no end marker stands inside; fill bytes may before it
    data = entropy.rstrip(b"\0")
    if len(data) == len(entropy):
        if int(stray[1]) > _MAX_STRAY_BYTES:
            return None
        data = data[: -int(stray[1])]
    return body[:scan] + data + _END


def _header(body: bytes) -> tuple[int, int, int, bytes]:
    # Width, height, where the first scan starts (ITU-T T.81, annex B), the first EXIF segment (or nothing).
    position, size = 2, len(body)
    width = height = 0
    exif = b""
    for _ in range(_MAX_PARTS):
        if position + 4 > size or body[position] != 0xFF:
            break
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
            exif = exif or body[position + 10 : position + 2 + length]
        elif marker == 0xDA:
            if not width:
                break
            return width, height, position, exif
        position += 2 + length
    raise UndecodableInput("The JPEG's header is damaged or breaks off; send the whole file.")
