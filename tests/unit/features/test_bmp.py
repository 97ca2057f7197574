"""BMP: every uncompressed kind read exactly, sized before decoding, silent."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.errors import TooLarge, UndecodableInput
from likewise.features.bmp import decode_bmp

MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)


def bmp(
    rows: NDArray[np.uint8], *, bits: int, width: int, header: int = 40, compression: int = 0, palette: bytes = b""
) -> bytes:
    """Return a BMP of packed rows, given from top to bottom and without padding."""
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    if header == 12:
        head = struct.pack("<IHHHH", 12, width, len(rows), 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", 40, width, len(rows), 1, bits, compression, 0, 0, 0, 0, 0)
        head = struct.pack("<I", header) + head[4:] + (MASKS + bytes(header))[: header - 40]
    if compression == 3 and header == 40:
        head += MASKS
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + padded.size, 0, 0, start) + head + palette + padded[::-1].tobytes()


def read(body: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a BMP."""
    return decode_bmp(body, max_pixels=10_000).pixels


@pytest.mark.parametrize("header", [12, 40, 52, 56, 64, 108, 124])
def test_true_color_decodes_exactly(picture: NDArray[np.uint8], header: int) -> None:
    """24 bit under every header; rows from the bottom or from the top."""
    body = bmp(picture[:, :, ::-1].reshape(37, 87), bits=24, width=29, header=header)
    assert np.array_equal(read(body), picture)
    if header > 12:
        flipped = body[:22] + struct.pack("<i", -37) + body[26:]
        assert np.array_equal(read(flipped), picture[::-1])


@pytest.mark.parametrize(("header", "compression"), [(40, 0), (40, 3), (56, 3), (108, 3), (124, 3), (124, 0)])
def test_32_bits_decode_without_alpha(picture: NDArray[np.uint8], header: int, compression: int) -> None:
    """With or without masks that name the usual order."""
    rows = np.dstack((picture[:, :, ::-1], picture[:, :, 0])).reshape(37, 116)
    body = bmp(rows, bits=32, width=29, header=header, compression=compression)
    assert np.array_equal(read(body), picture)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("header", [12, 40, 124])
def test_palettes_decode_exactly(bits: int, header: int) -> None:
    """Pixels that name a color, several in a byte."""
    rng = np.random.default_rng(bits)
    colors = rng.integers(0, 256, (1 << bits, 3), np.uint8)
    named = rng.integers(0, 1 << bits, (9, 13))
    planes = (named[:, :, None] >> np.arange(bits)[::-1] & 1).reshape(9, 13 * bits).astype(np.uint8)
    blue_first = colors[:, ::-1] if header == 12 else np.pad(colors[:, ::-1], ((0, 0), (0, 1)))
    body = bmp(np.packbits(planes, axis=1), bits=bits, width=13, header=header, palette=blue_first.tobytes())
    assert np.array_equal(read(body), colors[named])


def test_what_opencv_writes_is_read(picture: NDArray[np.uint8]) -> None:
    """Color and gray."""
    assert np.array_equal(read(bytes(cv2.imencode(".bmp", picture[:, :, ::-1])[1])), picture)
    gray = picture[:, :, 0]
    assert np.array_equal(read(bytes(cv2.imencode(".bmp", gray)[1])), np.dstack((gray, gray, gray)))


def test_refusals_say_why(picture: NDArray[np.uint8], capfd: pytest.CaptureFixture[str]) -> None:
    """Truncation, compression, depths, masks, palettes and other formats."""
    good = bmp(picture.reshape(37, 87), bits=24, width=29)
    gray = bmp(picture[:, :, 0], bits=8, width=29, palette=bytes(1024))
    masked = bmp(picture[:, :, [0, 1, 2, 0]].reshape(37, 116), bits=32, width=29, compression=3)
    cases = [
        (good[:-1], "breaks off before its last pixel"),
        (good[:30], "breaks off in its header"),
        (good[:14], "breaks off in its header"),
        (good[:10] + struct.pack("<I", 53) + good[14:], "inside its header"),
        (gray[:10] + struct.pack("<I", 1077) + gray[14:], "inside its header"),
        (gray[:46] + struct.pack("<I", 257) + gray[50:], "more colors"),
        (good[:14] + struct.pack("<I", 41) + good[18:], "no known kind"),
        (good[:18] + struct.pack("<ii", 0, 1) + good[26:], "at least 1 x 1"),
        (good[:18] + struct.pack("<ii", -5, 1) + good[26:], "at least 1 x 1"),
        (good[:26] + struct.pack("<H", 2) + good[28:], "24 bits"),
        (good[:28] + struct.pack("<H", 16) + good[30:], "16 bits .* 24 bit BMP"),
        (gray[:30] + struct.pack("<I", 1) + gray[34:], "compression 1"),
        (masked[:54] + struct.pack("<I", 0xFF) + masked[58:], "compression 3"),
        (b"GIF89a", "looks like a GIF"),
    ]
    for wrong, message in cases:
        with pytest.raises(UndecodableInput, match=message):
            read(wrong)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("height", [65_000, -65_000, -(2**31)])
def test_bombs_are_refused_by_their_header(picture: NDArray[np.uint8], height: int) -> None:
    """Dimensions are checked first, run lengths or not."""
    body = bmp(picture[:, :, 0], bits=8, width=29, palette=bytes(1024))
    for compression in (0, 1):
        bomb = body[:18] + struct.pack("<iiHHI", 65_000, height, 1, 8, compression) + body[34:]
        with pytest.raises(TooLarge, match="65000 x"):
            read(bomb)
