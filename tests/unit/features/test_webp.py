"""WebP: exact where lossless, sized before decoding, silent."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.errors import TooLarge, UndecodableInput
from likewise.features.webp import decode_webp


def webp(picture: NDArray[np.uint8], quality: int = 101) -> bytes:
    """Return the picture as OpenCV writes it; beyond 100 is lossless."""
    order = [2, 1, 0, 3][: picture.shape[2]]
    return bytes(cv2.imencode(".webp", picture[:, :, order], [cv2.IMWRITE_WEBP_QUALITY, quality])[1])


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP of these chunks."""
    parts = (name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1) for name, data in chunks)
    content = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def frame(body: bytes) -> tuple[bytes, bytes]:
    """Return name and data of the one chunk of a simple WebP."""
    return body[12:16], body[20 : 20 + struct.unpack_from("<I", body, 16)[0]]


def extended(body: bytes, *more: tuple[bytes, bytes], flags: int = 0, canvas: tuple[int, int] = (29, 37)) -> bytes:
    """Return a simple WebP in the extended form, with more chunks behind its pixels."""
    width, height = ((side - 1).to_bytes(3, "little") for side in canvas)
    return riff((b"VP8X", bytes((flags, 0, 0, 0)) + width + height), frame(body), *more)


def read(body: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a WebP."""
    return decode_webp(body, max_pixels=10_000).pixels


def test_lossless_pictures_decode_exactly(picture: NDArray[np.uint8]) -> None:
    """Simple and extended form, with bytes behind the end and with transparency, which is ignored."""
    body = webp(picture)
    assert body[12:16] == b"VP8L"
    for form in (body, body + b"more", extended(body), extended(body, (b"XMP ", b"<x/>"), flags=4)):
        assert np.array_equal(read(form), picture)
    clear = np.dstack((picture, np.full(picture.shape[:2], 200, np.uint8)))
    assert np.array_equal(read(webp(clear)), picture)


def test_lossy_pictures_decode_closely(picture: NDArray[np.uint8]) -> None:
    """Pixels are near what went in, in RGB order, also beside a chunk of transparency."""
    body = webp(picture, 95)
    assert body[12:16] == b"VP8 "
    assert np.abs(read(body).astype(int) - picture).mean() < 8
    clear = webp(np.dstack((picture, picture[:, :, 0])), 95)
    assert b"ALPH" in clear
    assert np.abs(read(clear).astype(int) - picture).mean() < 8


@pytest.mark.parametrize("quality", [95, 101], ids=["lossy", "lossless"])
def test_truncation_is_refused_silently(
    picture: NDArray[np.uint8], quality: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """No part of a WebP is decoded, even where its lengths were made to fit."""
    body = webp(picture, quality)
    name, data = frame(body)
    for cut in range(0, len(data) - 2, 7):
        for part in (body[: 12 + cut], riff((name, data[:cut]))):
            with pytest.raises(UndecodableInput):
                read(part)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("quality", [95, 101], ids=["lossy", "lossless"])
def test_bombs_are_refused_by_their_header(picture: NDArray[np.uint8], quality: int) -> None:
    """The size in the frame counts, whatever the canvas claims."""
    name, data = frame(webp(picture, quality))
    if name == b"VP8 ":
        data = data[:6] + struct.pack("<HH", 16383, 16383) + data[10:]
    else:
        data = data[:1] + struct.pack("<I", 16382 | 16382 << 14) + data[5:]
    for body in (riff((name, data)), extended(riff((name, data)))):
        with pytest.raises(TooLarge, match="16383 x 16383"):
            read(body)


def test_refusals_say_why(picture: NDArray[np.uint8]) -> None:
    """Animation, no pixels, two frames, another canvas, other formats."""
    body = webp(picture)
    cases = [
        (extended(body, flags=2), "animated"),
        (riff((b"ANIM", bytes(6)), (b"ANMF", bytes(40))), "animated"),
        (riff((b"VP8X", bytes(10))), "no pixels"),
        (riff(frame(body), frame(body)), "structure"),
        (riff((b"VP8 ", bytes(20))), "at least 1 x 1"),
        (riff((b"VP8L", b"\x2f")), "structure"),
        (extended(body, canvas=(2**24, 2**24)), "canvas"),
        (b"RIFF\x04\0\0\0WAVE", "looks like a WAV"),
        (b"\x89PNG\r\n\x1a\n", "looks like a PNG"),
    ]
    for wrong, message in cases:
        with pytest.raises(UndecodableInput, match=message):
            read(wrong)
