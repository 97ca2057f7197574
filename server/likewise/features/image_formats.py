"""PNG, JPEG and PNM bytes to RGB pixels.

Structure and dimensions are checked here in a few lines of our own before OpenCV sees a byte, for three reasons: a
decompression bomb is refused by its header, truncated data is never decoded in part, and the C libraries print
their complaints to stderr, where a client must not be able to write.
"""

from __future__ import annotations

import re
import zlib
from struct import unpack_from

import cv2
import numpy as np
from numpy.typing import NDArray

from likewise.errors import TooLarge, UndecodableInput
from likewise.types import Image

Pixels = NDArray[np.uint8]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_IDAT_CRC = zlib.crc32(b"IDAT")
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Adam7 passes: x offset, y offset, x step, y step (PNG specification, section 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_JPEG_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended, progressive Huffman
_JPEG_OTHER_FRAMES = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF))
_JPEG_MAX_SCANS = 100  # each scan of a progressive image costs a pass over all of it; encoders write about 10
_PNM_HEADER = re.compile(
    rb"P([2356])(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,5})(?:#[^\n]*\n|\s)"
)


def quiet() -> None:
    """Silence OpenCV's log and keep it on the calling thread.

    Process-wide, idempotent. One thread: waking OpenCV's pool costs more than any image of a request gains, and the
    server spreads requests over cores itself.
    """
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode_png(body: bytes, *, max_pixels: int) -> Image:
    """Return the pixels of a PNG: any color type, depth and interlacing; alpha and color profiles are ignored.

    Raises UndecodableInput or TooLarge.
    """
    if body[:8] != _PNG_SIGNATURE:
        raise UndecodableInput(f"This is not a PNG{_looks_like(body)}; send the media type that fits the bytes.")
    if len(body) < 33 or body[8:16] != b"\x00\x00\x00\rIHDR":
        raise UndecodableInput("The PNG breaks off in its header; send the whole file.")
    width, height, depth, color, compression, filtering, interlaced = unpack_from(">IIBBBBB", body, 16)
    if depth not in _PNG_DEPTHS.get(color, ()) or compression or filtering or interlaced > 1:
        raise UndecodableInput("The PNG's header is not valid; encode the image again.")
    _check_dimensions("PNG", width, height, max_pixels)
    palette, data = _png_chunks(body, needs_palette=color == 3)
    bits = depth * _PNG_CHANNELS[color]
    raw = _png_inflate(data, _png_rows(width, height, bits, bool(interlaced)))
    return _pixels("PNG", _png_core(body[:33], palette, data, raw), width, height)


def decode_jpeg(body: bytes, *, max_pixels: int) -> Image:
    """Return the pixels of a baseline or progressive JPEG, turned upright as its EXIF orientation says.

    Raises UndecodableInput or TooLarge.
    """
    if body[:3] != b"\xff\xd8\xff":
        raise UndecodableInput(f"This is not a JPEG{_looks_like(body)}; send the media type that fits the bytes.")
    width, height, scan = _jpeg_header(body)
    _check_dimensions("JPEG", width, height, max_pixels)
    if body.rfind(b"\xff\xd9", scan) < 0:
        raise UndecodableInput("The JPEG breaks off before its end marker; send the whole file.")
    if body.count(b"\xff\xda") > _JPEG_MAX_SCANS:
        raise UndecodableInput("The JPEG has too many scans; encode it again as a baseline JPEG.")
    return _pixels("JPEG", body, width, height)


def decode_pnm(body: bytes, *, max_pixels: int) -> Image:
    """Return the pixels of a PPM or PGM (P2, P3, P5, P6; maximum value up to 65535).

    Raises UndecodableInput or TooLarge.
    """
    header = _PNM_HEADER.match(body[:4096])
    if header is None:
        if body[:1] == b"P" and body[1:2] in (b"1", b"4", b"7"):
            raise UndecodableInput("Only PPM and PGM (P2, P3, P5, P6) are read; convert the image to PPM.")
        raise UndecodableInput(f"This is not a PPM or PGM{_looks_like(body)}; send the fitting media type.")
    form = header[1]
    width, height, maximum = int(header[2]), int(header[3]), int(header[4])
    if not 1 <= maximum <= 65535:
        raise UndecodableInput(f"The maximum value of the PNM is {maximum}; it must be 1 to 65535.")
    _check_dimensions("PNM", width, height, max_pixels)
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


def _png_chunks(body: bytes, needs_palette: bool) -> tuple[bytes, bytes]:
    # Returns the palette chunk (empty where none is needed) and the joined image data.
    position, size = 8, len(body)
    palette, data = b"", []
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
        elif not name[0] & 0x20:  # not ancillary, as color profiles, texts and times are
            raise UndecodableInput("The PNG has a part that is not known; encode the image again.")
        position = end
    if needs_palette and not palette:
        raise UndecodableInput("The PNG's palette is missing; encode the image again.")
    return palette, data[0] if len(data) == 1 else b"".join(data)


def _png_core(header: bytes, palette: bytes, data: bytes, raw: bytes) -> bytes:
    # What OpenCV is given: header, palette, pixels, nothing else. Small images as one stored block (RFC 1951, 3.2.4),
    # so that they are inflated once and not twice: 26 us instead of 37 for 32 x 32.
    if len(raw) < 65536:
        length = len(raw)
        stored = (b"\x78\x01\x01", length.to_bytes(2, "little"), (length ^ 0xFFFF).to_bytes(2, "little"), raw)
        data = b"".join((*stored, zlib.adler32(raw).to_bytes(4, "big")))
    checksum = zlib.crc32(data, _IDAT_CRC).to_bytes(4, "big")
    return b"".join((header, palette, len(data).to_bytes(4, "big"), b"IDAT", data, checksum, _PNG_END))


def _png_rows(width: int, height: int, bits: int, interlaced: bool) -> list[tuple[int, int]]:
    # (rows, bytes per row with its filter byte) of each pass.
    if not interlaced:
        return [(height, 1 + (width * bits + 7) // 8)]
    passes = []
    for x, y, step_x, step_y in _ADAM7:
        columns, rows = -((x - width) // step_x), -((y - height) // step_y)
        if columns > 0 and rows > 0:
            passes.append((rows, 1 + (columns * bits + 7) // 8))
    return passes


def _png_inflate(data: bytes, passes: list[tuple[int, int]]) -> bytes:
    # Never makes more than the header allows.
    expected = sum(rows * stride for rows, stride in passes)
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, expected + 1)
    except zlib.error as error:
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


def _jpeg_header(body: bytes) -> tuple[int, int, int]:
    # Width, height and where the first scan starts (ITU-T T.81, annex B).
    position, size = 2, len(body)
    width = height = 0
    while position + 4 <= size and body[position] == 0xFF:
        marker = body[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        length = unpack_from(">H", body, position + 2)[0]
        if marker in _JPEG_OTHER_FRAMES:
            raise UndecodableInput("This kind of JPEG is not read; encode it as a baseline or progressive JPEG.")
        if marker in _JPEG_FRAMES:
            if length < 11 or position + 2 + length > size or width:
                break
            precision, height, width, components = unpack_from(">BHHB", body, position + 4)
            if precision != 8 or components not in (1, 3, 4):
                raise UndecodableInput("The JPEG is not 8 bit gray or color; encode it again as an 8 bit JPEG.")
        elif marker == 0xDA:
            if not width:
                break
            return width, height, position
        position += 2 + length
    raise UndecodableInput("The JPEG's header is damaged or breaks off; send the whole file.")


def _pixels(name: str, body: bytes, width: int, height: int) -> Image:
    try:
        pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise UndecodableInput(f"The {name} does not decode; encode the image again.") from error
    if pixels is None:
        raise UndecodableInput(f"The {name}'s data is damaged or breaks off; encode the image again.")
    if pixels.shape not in ((height, width, 3), (width, height, 3)):
        raise UndecodableInput(f"The {name} does not have the size that its header says; encode it again.")
    return Image(pixels)  # type: ignore[arg-type]  # OpenCV's stubs do not know that 8 bit was asked for


def _check_dimensions(name: str, width: int, height: int, max_pixels: int) -> None:
    if not width or not height:
        raise UndecodableInput(f"The {name} says it is {width} x {height} pixels; send one with at least 1 x 1.")
    if width * height > max_pixels:
        raise TooLarge(
            f"The image is {width} x {height} pixels and at most {max_pixels} are taken in all; send a smaller one."
        )


def _looks_like(body: bytes) -> str:
    for start, name in (
        (_PNG_SIGNATURE, "a PNG"),
        (b"\xff\xd8\xff", "a JPEG"),
        (b"GIF8", "a GIF"),
        (b"RIFF", "a RIFF file (WebP or WAV)"),
        (b"P6", "a PPM"),
        (b"P5", "a PGM"),
    ):
        if body.startswith(start):
            return f" but looks like {name}"
    return ""
