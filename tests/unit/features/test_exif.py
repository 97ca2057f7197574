"""Pictures are turned upright by their EXIF orientation, wherever and however it is written."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.features.exif import orientation
from likewise.features.jpeg import decode_jpeg
from likewise.features.png import decode_png
from likewise.features.webp import decode_webp

TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}


def tiff(value: int, order: str = "<", kind: int = 3, before: int = 0, gap: int = 0, behind: int = 0) -> bytes:
    """Return EXIF data with an orientation: fields before and behind it, and a gap before the directory."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    other = struct.pack(order + "HHII", 0x010F, 2, 4, 0x41424300)
    number = struct.pack(order + TYPES[kind], value).ljust(4, b"\0")
    field = struct.pack(order + "HHI", 0x0112, kind, 1) + number
    fields = other * before + field + other * behind
    directory = struct.pack(order + "H", before + 1 + behind) + fields + bytes(4)
    return mark + struct.pack(order + "I", 8 + gap) + bytes(gap) + directory


def upright(plain: NDArray[np.uint8], turned: int) -> NDArray[np.uint8]:
    """Return a picture of an orientation as it is to be seen (EXIF 2.3, section 4.6.4)."""
    ways = {
        2: plain[:, ::-1],
        3: plain[::-1, ::-1],
        4: plain[::-1],
        5: plain.transpose(1, 0, 2),
        6: np.rot90(plain, 3),
        7: np.rot90(plain, 2).transpose(1, 0, 2),
        8: np.rot90(plain),
    }
    return ways.get(turned, plain)


def segment(marker: int, data: bytes) -> bytes:
    """Return one segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", TYPES)
def test_every_type_and_byte_order_is_read(order: str, kind: int) -> None:
    """All eight orientations, at every place of the directory, wherever that is, with or without the prefix."""
    for value in range(1, 9):
        for before, gap, behind in ((0, 0, 0), (3, 0, 2), (0, 10, 1), (20, 1, 0)):
            exif = tiff(value, order, kind, before, gap, behind)
            assert orientation(exif) == orientation(b"Exif\0\0" + exif) == value


@pytest.mark.parametrize(
    "exif",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"II", id="cut"),
        pytest.param(b"II*\0\xff\xff\xff\xff", id="directory nowhere"),
        pytest.param(tiff(6)[:-10], id="field cut"),
        pytest.param(tiff(0), id="0"),
        pytest.param(tiff(9), id="9"),
        pytest.param(tiff(-6, kind=9), id="negative"),
        pytest.param(tiff(6).replace(b"\x12\x01\x03", b"\x12\x01\x02"), id="text"),
    ],
)
def test_what_makes_no_sense_leaves_the_picture_as_it_is(exif: bytes) -> None:
    """Nothing is refused for its orientation."""
    assert orientation(exif) == 1


@pytest.mark.parametrize("value", range(1, 9))
def test_pictures_of_every_format_are_turned(
    picture: NDArray[np.uint8], as_png: Callable[..., bytes], value: int
) -> None:
    """JPEG, PNG (both ways it is decoded) and WebP, each where it keeps its EXIF data."""
    jpeg = bytes(cv2.imencode(".jpg", picture[:, :, ::-1])[1])
    plain = decode_jpeg(jpeg, max_pixels=10_000).pixels
    exif = tiff(value, ">", 4)
    app0 = 4 + struct.unpack_from(">H", jpeg, 4)[0]
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    mine, other = segment(0xE1, b"Exif\0\0" + exif), segment(0xE1, b"Exif\0\0" + tiff(value % 8 + 1))
    for body in (
        jpeg[:2] + mine + jpeg[2:],
        jpeg[:app0] + xmp + b"\xff" + mine + jpeg[app0:],
        jpeg[:2] + mine + other + jpeg[2:],  # the first one counts
        jpeg[: jpeg.index(b"\xff\xda")] + mine + jpeg[jpeg.index(b"\xff\xda") :],
    ):
        turned = decode_jpeg(body, max_pixels=10_000).pixels
        assert np.array_equal(turned, upright(plain, value))
        assert turned.flags.c_contiguous

    rows = np.pad(picture.reshape(37, 87), ((0, 0), (1, 0)))
    mixed = rows.copy()
    mixed[0, 0] = 1  # two filters: OpenCV decodes it
    mixed[0, 1:] = (picture.reshape(37, 29, 3)[0].astype(int) - np.pad(picture[0, :-1], ((1, 0), (0, 0)))).ravel() % 256
    for raw in (rows, mixed):
        body = as_png(29, 37, raw.tobytes(), before=((b"eXIf", exif),))
        assert np.array_equal(decode_png(body, max_pixels=10_000).pixels, upright(picture, value))

    webp = bytes(cv2.imencode(".webp", picture[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])[1])
    head = b"VP8X" + struct.pack("<I", 10) + b"\x08\0\0\0" + b"\x1c\0\0" + b"\x24\0\0"
    content = b"WEBP" + head + webp[12:] + b"EXIF" + struct.pack("<I", len(exif)) + exif
    body = b"RIFF" + struct.pack("<I", len(content)) + content
    assert np.array_equal(decode_webp(body, max_pixels=10_000).pixels, upright(picture, value))


def test_png_exif_may_stand_behind_the_pixels(picture: NDArray[np.uint8], as_png: Callable[..., bytes]) -> None:
    """The chunk has no fixed place (PNG, third edition, section 11.3.4.5)."""
    body = as_png(29, 37, np.pad(picture.reshape(37, 87), ((0, 0), (1, 0))).tobytes())
    chunk = b"eXIf" + tiff(6)
    late = body[:-12] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + body[-12:]
    assert np.array_equal(decode_png(late, max_pixels=10_000).pixels, np.rot90(picture, 3))
