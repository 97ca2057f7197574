"""WebP bytes to RGB pixels.

The container is read here (RFC 9649): sizes and structure are checked before the decoder sees a byte, and it is given
the one chunk of pixels alone. Color profiles and transparency are ignored.
"""

from __future__ import annotations

from struct import pack, unpack_from

from likewise.errors import UndecodableInput
from likewise.features.exif import orientation, upright
from likewise.features.image_checks import Bytes, check_dimensions, looks_like
from likewise.features.opencv import decode
from likewise.types import Image

_ANIMATED = 0x02
_MAX_CHUNKS = 65_536  # no encoder comes near


def decode_webp(body: bytes, *, max_pixels: int) -> Image:
    """Return the pixels of a lossy or lossless WebP of one frame, turned upright as its EXIF orientation tells.

    Raises UndecodableInput or TooLarge.
    """
    if body[:4] != b"RIFF" or body[8:12] != b"WEBP":
        raise UndecodableInput(f"This is not a WebP{looks_like(body)}; send the media type that fits the bytes.")
    size = 8 + int.from_bytes(body[4:8], "little")
    if size > len(body):
        raise UndecodableInput("The WebP breaks off before its end; send the whole file.")
    frame, exif = _chunks(body[:size])
    width, height = dimensions(b"RIFF\0\0\0\0WEBP" + frame[:30])
    check_dimensions("WebP", width, height, max_pixels)
    if body[12:16] == b"VP8X" and dimensions(body) != (width, height):
        raise UndecodableInput("The WebP's frame does not fill its canvas; encode the image again.")
    core = b"RIFF" + pack("<I", len(frame) + 4) + b"WEBP" + frame
    return upright(decode("WebP", core, width, height), orientation(exif))


def dimensions(body: Bytes) -> tuple[int, int]:
    """Return width and height as the first chunk gives them, 0 and 0 where it is none that has them.

    Raises struct.error where the body ends too early.
    """
    name = body[12:16]
    if name == b"VP8X":
        wide, wide_high, high, high_high = unpack_from("<HBHB", body, 24)
        return 1 + wide + (wide_high << 16), 1 + high + (high_high << 16)
    if name == b"VP8 " and body[23:26] == b"\x9d\x01\x2a":
        width, height = unpack_from("<HH", body, 26)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and body[20] == 0x2F:
        packed = unpack_from("<I", body, 21)[0]
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    return 0, 0


def _chunks(body: bytes) -> tuple[bytes, bytes]:
    # The chunk of pixels with its header and padding, and the EXIF chunk's content (empty where there is none).
    position, size = 12, len(body)
    frame, exif = b"", b""
    for _ in range(_MAX_CHUNKS):
        if position + 8 > size:
            break
        name, length = unpack_from("<4sI", body, position)
        end = position + 8 + length
        if end > size:
            raise UndecodableInput("The WebP breaks off before its end; send the whole file.")
        if name == b"ANIM" or name == b"ANMF" or (name == b"VP8X" and length and body[position + 8] & _ANIMATED):
            raise UndecodableInput("The WebP is animated; send one frame as a WebP of its own.")
        if name == b"VP8 " or name == b"VP8L":
            if length < 10 or frame:
                raise UndecodableInput("The WebP's structure is not valid; encode the image again.")
            frame = body[position:end] + b"\0" * (length & 1)
        elif name == b"EXIF" and not exif:
            exif = body[position + 8 : end]
        position = end + (length & 1)  # chunks start at even places
    if not frame:
        raise UndecodableInput("The WebP holds no pixels; encode the image again.")
    return frame, exif
