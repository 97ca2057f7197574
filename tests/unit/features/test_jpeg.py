"""JPEG: upright, strict, silent."""

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


def with_orientation(body: bytes, orientation: int, order: str = "<") -> bytes:
    """Return the JPEG with an EXIF segment in front."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    tiff = mark + struct.pack(order + "IH", 8, 1) + struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    segment = b"Exif\0\0" + tiff
    return body[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + body[2:]


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


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_turns_the_picture_upright(picture: NDArray[np.uint8], order: str) -> None:
    """All eight EXIF orientations, in both byte orders."""
    body = jpeg(picture)
    plain = read(body)
    upright = {
        1: plain,
        2: plain[:, ::-1],
        3: plain[::-1, ::-1],
        4: plain[::-1],
        5: plain.transpose(1, 0, 2),
        6: np.rot90(plain, 3),
        7: np.rot90(plain, 2).transpose(1, 0, 2),
        8: np.rot90(plain),
        9: plain,
    }
    for orientation, expected in upright.items():
        pixels = read(with_orientation(body, orientation, order))
        assert np.array_equal(pixels, expected), orientation
        assert pixels.flags.c_contiguous


def test_broken_orientation_is_ignored(picture: NDArray[np.uint8]) -> None:
    """EXIF that makes no sense does not refuse the picture."""
    body = jpeg(picture)
    segment = b"Exif\0\0II*\0\xff\xff\xff\xff"
    odd = body[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + body[2:]
    assert np.array_equal(read(odd), read(body))


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
