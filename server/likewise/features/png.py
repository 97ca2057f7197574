"""PNG bytes to RGB pixels.

Structure, dimensions and pixel data are checked here before OpenCV sees a byte, for three reasons: a decompression bomb
is refused by its header, truncated data is never decoded in part, and libpng prints its complaints to stderr, where a
client must not be able to write.
"""

from __future__ import annotations

from struct import unpack_from

import cv2
import numpy as np
from isal import isal_zlib as zlib  # zlib's interface at twice its speed
from isal.igzip_lib import IsalError
from numpy.typing import NDArray

from likewise.errors import UndecodableInput
from likewise.features.exif import orientation, upright
from likewise.features.image_checks import Bytes, check_dimensions, looks_like
from likewise.features.opencv import decode
from likewise.types import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_SMALL = 65536
"""Bytes of pixel data below which the detours here are shorter than OpenCV's own way."""
_IDAT_CRC = zlib.crc32(b"IDAT")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Adam7 passes: x offset, y offset, x step, y step (PNG specification, section 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def decode_png(body: bytes, *, max_pixels: int) -> Image:
    """Return the pixels of a PNG: any color type, depth and interlacing, turned upright as its EXIF orientation tells.

    Alpha and color profiles are ignored; of an animated PNG the still image is read.
    Raises UndecodableInput or TooLarge.
    """
    if body[:8] != _SIGNATURE:
        raise UndecodableInput(f"This is not a PNG{looks_like(body)}; send the media type that fits the bytes.")
    if len(body) < 33 or body[8:16] != b"\x00\x00\x00\rIHDR":
        raise UndecodableInput("The PNG breaks off in its header; send the whole file.")
    width, height, depth, color, compression, filtering, interlaced = unpack_from(">IIBBBBB", body, 16)
    if depth not in _DEPTHS.get(color, ()) or compression or filtering or interlaced > 1:
        raise UndecodableInput("The PNG's header is not valid; encode the image again.")
    check_dimensions("PNG", width, height, max_pixels)
    palette, data, exif = _chunks(body, needs_palette=color == 3)
    bits = depth * _CHANNELS[color]
    raw = _inflate(data, _rows(width, height, bits, bool(interlaced)))
    if bits == 24 and color == 2 and not interlaced and len(raw) < _SMALL:
        pixels = _unfiltered(raw, width, height)
        if pixels is not None:
            return upright(Image(pixels), orientation(exif)) if exif else Image(pixels)
    return upright(decode("PNG", _core(body[:33], palette, data, raw), width, height), orientation(exif))


def dimensions(body: Bytes) -> tuple[int, int]:
    """Return width and height as the header gives them. Raises struct.error where the body ends before them."""
    width, height = unpack_from(">II", body, 16)
    return width, height


def _chunks(body: bytes, needs_palette: bool) -> tuple[bytes, bytes, bytes]:
    # Returns the palette chunk (empty where none is needed), the joined image data and the EXIF data (or nothing).
    position, size = 8, len(body)
    palette, exif, data = b"", b"", []
    while True:
        if position + 12 > size:
            raise UndecodableInput("The PNG breaks off before its end; send the whole file.")
        length, name = unpack_from(">I4s", body, position)
        end = position + 12 + length
        if end > size:
            raise UndecodableInput("The PNG breaks off before its end; send the whole file.")
        if name == b"IDAT":
            data.append(body[position + 8 : end - 4])  # carries a checksum of its own, checked when inflated
        elif name == b"IEND":
            break
        elif name == b"PLTE" or name == b"IHDR":
            if zlib.crc32(body[position + 4 : end - 4]) != unpack_from(">I", body, end - 4)[0]:
                raise UndecodableInput("A checksum in the PNG is wrong: it was damaged on its way; send it again.")
            if name == b"PLTE" and needs_palette:  # beside true colors it is only a hint
                if length % 3 or not 3 <= length <= 768 or data or palette:
                    raise UndecodableInput("The PNG's palette is not valid; encode the image again.")
                palette = body[position:end]
            elif name == b"IHDR" and position != 8:
                raise UndecodableInput("The PNG has two headers; encode the image again.")
        elif name == b"eXIf":
            exif = exif or body[position + 8 : end - 4]
        elif not name[0] & 0x20:  # not ancillary, as color profiles, texts and times are
            raise UndecodableInput("The PNG has a part that is not known; encode the image again.")
        position = end
    if needs_palette and not palette:
        raise UndecodableInput("The PNG's palette is missing; encode the image again.")
    return palette, data[0] if len(data) == 1 else b"".join(data), exif


def _core(header: bytes, palette: bytes, data: bytes, raw: bytes) -> bytes:
    # What OpenCV is given: header, palette, pixels, nothing else. Small images as one stored block (RFC 1951, 3.2.4),
    # so that they are inflated once and not twice: 26 us instead of 37 for 32 x 32.
    if len(raw) < _SMALL:
        length = len(raw)
        stored = (b"\x78\x01\x01", length.to_bytes(2, "little"), (length ^ 0xFFFF).to_bytes(2, "little"), raw)
        data = b"".join((*stored, zlib.adler32(raw).to_bytes(4, "big")))
    checksum = zlib.crc32(data, _IDAT_CRC).to_bytes(4, "big")
    return b"".join((header, palette, len(data).to_bytes(4, "big"), b"IDAT", data, checksum, _END))


def _unfiltered(raw: bytes, width: int, height: int) -> NDArray[np.uint8] | None:
    # Pixels of true color whose rows are all filtered alike and simply, as fast encoders do (PNG specification, section
    # 9.2: differences to the left or to the row above). None for all others.
    kind = raw[0]
    stride = 3 * width + 1
    if kind > 2 or raw[::stride] != raw[:1] * height:
        return None
    pixels = np.frombuffer(raw, np.uint8).reshape(height, stride)[:, 1:].reshape(height, width, 3)
    if not kind:
        return np.ascontiguousarray(pixels)
    # Sums over all that is above and to the left, in one pass; less those of a row above, or of a pixel to the left,
    # only one row's or column's are left. Modulo 256, as a filter is, and 9 us for 48 x 48 where sums along one axis
    # take NumPy 23.
    sums = cv2.integral(pixels).reshape(height + 1, 3 * (width + 1)).astype(np.uint8)
    others = sums[:-1, 3:] if kind == 1 else sums[1:, :-3]
    return np.subtract(sums[1:, 3:], others).reshape(height, width, 3)


def _rows(width: int, height: int, bits: int, interlaced: bool) -> list[tuple[int, int]]:
    # (rows, bytes per row with its filter byte) of each pass.
    if not interlaced:
        return [(height, 1 + (width * bits + 7) // 8)]
    passes = []
    for x, y, step_x, step_y in _ADAM7:
        columns, rows = -((x - width) // step_x), -((y - height) // step_y)
        if columns > 0 and rows > 0:
            passes.append((rows, 1 + (columns * bits + 7) // 8))
    return passes


def _inflate(data: bytes, passes: list[tuple[int, int]]) -> bytes:
    # Never makes more than the header allows.
    expected = sum([rows * stride for rows, stride in passes])
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, expected + 1)
    except IsalError as error:  # type: ignore[misc]  # its stub calls the class an instance
        raise UndecodableInput("The PNG's pixel data is damaged; encode the image again.") from error
    if len(raw) != expected or not inflater.eof:
        raise UndecodableInput("The PNG's pixel data does not fit its header; encode the image again.")
    start = 0
    for rows, stride in passes:
        stop = start + rows * stride
        if max(raw[start:stop:stride]) > 4:
            raise UndecodableInput("The PNG's pixel data is damaged; encode the image again.")
        start = stop
    return raw
