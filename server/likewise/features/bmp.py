"""BMP bytes to RGB pixels: the uncompressed kinds that every program writes, their size checked before decoding."""

from __future__ import annotations

from struct import unpack_from

from likewise.errors import UndecodableInput
from likewise.features.image_checks import Bytes, check_dimensions, looks_like
from likewise.features.opencv import decode
from likewise.types import Image

_CORE = 12  # bytes of the oldest header; in all later ones the first 40 mean the same
_HEADERS = frozenset((_CORE, 40, 52, 56, 64, 108, 124))
_RGB, _BITFIELDS = 0, 3
_MASKS = b"\0\0\xff\0\0\xff\0\0\xff\0\0\0"  # of red, green and blue, as 32 bit BMP has them without masks


def decode_bmp(body: bytes, *, max_pixels: int) -> Image:
    """Return the pixels of an uncompressed BMP of 1, 4, 8, 24 or 32 bits, bottom up or top down; alpha is ignored.

    Raises UndecodableInput or TooLarge.
    """
    if body[:2] != b"BM":
        raise UndecodableInput(f"This is not a BMP{looks_like(body)}; send the media type that fits the bytes.")
    if len(body) < 26 or len(body) < 14 + (header := unpack_from("<I", body, 14)[0]):
        raise UndecodableInput("The BMP breaks off in its header; send the whole file.")
    if header not in _HEADERS:
        raise UndecodableInput("The BMP's header is of no known kind; save the image as a 24 bit BMP or a PNG.")
    width, height = dimensions(body)
    check_dimensions("BMP", width, height, max_pixels)
    planes, bits = unpack_from("<HH", body, 22 if header == _CORE else 26)
    compression = _RGB if header == _CORE else unpack_from("<I", body, 30)[0]
    plain = compression == _RGB and bits in ((1, 4, 8, 24) if header == _CORE else (1, 4, 8, 24, 32))
    masked = compression == _BITFIELDS and bits == 32 and header != 64 and body[54:66] == _MASKS
    if planes != 1 or not (plain or masked):
        raise UndecodableInput(
            f"A BMP of {bits} bits a pixel with compression {compression} is not read; save the image as a 24 bit BMP."
        )
    start = unpack_from("<I", body, 10)[0]
    if start < 14 + header + _palette_bytes(body, header, bits):
        raise UndecodableInput("The BMP's pixels begin inside its header; save the image again.")
    if start + (width * bits + 31) // 32 * 4 * height > len(body):
        raise UndecodableInput("The BMP breaks off before its last pixel; send the whole file.")
    return decode("BMP", body, width, height)


def dimensions(body: Bytes) -> tuple[int, int]:
    """Return width and height as the header gives them. Raises struct.error where the body ends before them."""
    if unpack_from("<I", body, 14)[0] == _CORE:
        width, height = unpack_from("<HH", body, 18)
        return width, height
    width, height = unpack_from("<ii", body, 18)
    return max(width, 0), abs(height)  # a negative height: rows from top to bottom


def _palette_bytes(body: bytes, header: int, bits: int) -> int:
    if bits > 8:
        return 0
    if header == _CORE:
        return 3 << bits
    used = unpack_from("<I", body, 46)[0]
    if used > 1 << bits:
        raise UndecodableInput("The BMP's palette has more colors than its pixels can name; save the image again.")
    return 4 * (used or 1 << bits)
