"""JPEG: strict, whole, silent; orientation is in test_exif.py."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.errors import TooLarge, UndecodableInput
from likewise.features.jpeg import decode_jpeg


def jpeg(picture: NDArray[np.uint8], *flags: int) -> bytes:
    """Return the picture as OpenCV writes it."""
    return bytes(cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98, *flags])[1])


def read(body: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a JPEG."""
    return decode_jpeg(body, max_pixels=10_000).pixels


@pytest.mark.parametrize("flags", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)], ids=["baseline", "progressive"])
def test_color_decodes_closely(picture: NDArray[np.uint8], flags: tuple[int, ...]) -> None:
    """Pixels are near what went in, in RGB order."""
    pixels = read(jpeg(picture, *flags))
    assert pixels.shape == picture.shape
    assert np.abs(pixels.astype(int) - picture).mean() < 8


def test_gray_becomes_rgb() -> None:
    """A one-component JPEG comes out with three equal channels."""
    body = bytes(cv2.imencode(".jpg", np.full((8, 9), 77, np.uint8))[1])
    assert read(body).tolist() == np.full((8, 9, 3), 77).tolist()


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5, 0.9, 0.99])
def test_truncation_is_refused_silently(
    picture: NDArray[np.uint8], share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    """No part of a truncated JPEG is decoded, even with an end marker put behind."""
    body = jpeg(picture)
    part = body[: max(4, int(len(body) * share))]
    for cut in (part, part[: len(part) - 4] + b"\xff\xd9"):
        with pytest.raises(UndecodableInput):
            read(cut)
    assert capfd.readouterr() == ("", "")


FORMS = pytest.mark.parametrize(
    "flags", [(), (cv2.IMWRITE_JPEG_OPTIMIZE, 1), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)]
)


@FORMS
@pytest.mark.parametrize(
    "stray",
    [
        b"\0",
        bytes(6),
        bytes(5000),
        b"\x12\x34",
        b"\x12" * 9,
        b"\xff",
        b"\xff\xff\xff",
        b"\xff\0\xff\0",
        bytes(90) + b"\xff\xff",
    ],
)
def test_whole_pictures_with_stray_bytes_before_their_end_are_read(
    picture: NDArray[np.uint8], flags: tuple[int, ...], stray: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Padding, as cameras write it, takes nothing from the picture; nor does another picture behind it."""
    body = jpeg(picture, *flags)
    padded = body[:-2] + stray + body[-2:]
    for form in (padded, padded + b"more", padded + jpeg(picture[::-1])):
        assert np.array_equal(read(form), read(body))
    assert capfd.readouterr() == ("", "")


@FORMS
def test_padding_does_not_stand_for_pixels(picture: NDArray[np.uint8], flags: tuple[int, ...]) -> None:
    """A picture that breaks off is refused where zeros were put in its place, as an unfinished download has them."""
    body = jpeg(picture, *flags)
    scan = body.rindex(b"\xff\xda") + 12
    for cut in range(scan, len(body) - 24, 9):
        with pytest.raises(UndecodableInput):
            read(body[:cut] + bytes(3000) + b"\xff\xd9")


def test_bombs_are_refused_by_their_header(picture: NDArray[np.uint8]) -> None:
    """The frame header's dimensions are checked before decoding."""
    body = jpeg(picture)
    at = body.index(b"\xff\xc0") + 5
    with pytest.raises(TooLarge, match="60000 x 60000"):
        read(body[:at] + struct.pack(">HH", 60_000, 60_000) + body[at + 4 :])


def test_odd_frames_are_named(picture: NDArray[np.uint8]) -> None:
    """Lossless or arithmetic frames, other depths and endless scans are refused with a remedy."""
    body = jpeg(picture)
    at = body.index(b"\xff\xc0")
    with pytest.raises(UndecodableInput, match="kind of JPEG"):
        read(body[: at + 1] + b"\xc3" + body[at + 2 :])
    with pytest.raises(UndecodableInput, match="8 bit"):
        read(body[: at + 4] + b"\x0c" + body[at + 5 :])
    with pytest.raises(UndecodableInput, match="scans"):
        read(body[:-2] + b"\xff\xda\x00\x02" * 101 + body[-2:])
    with pytest.raises(UndecodableInput, match="looks like a PNG"):
        read(b"\x89PNG\r\n\x1a\n")
