"""PNG: every form decodes exactly; damage is named, never decoded in part, never printed."""

from __future__ import annotations

import struct
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.errors import TooLarge, UndecodableInput
from likewise.features.png import decode_png


def lines(rows: NDArray[np.uint8]) -> bytes:
    """Return rows, shape (height, bytes), as unfiltered scan lines."""
    return b"".join(b"\0" + row.tobytes() for row in rows)


def png(picture: NDArray[np.uint8]) -> bytes:
    """Return the picture as OpenCV writes it."""
    return bytes(cv2.imencode(".png", picture[:, :, ::-1])[1])


def read(body: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a PNG."""
    return decode_png(body, max_pixels=10_000).pixels


def test_true_color_decodes_exactly(picture: NDArray[np.uint8]) -> None:
    """RGB comes out as it went in, contiguous."""
    pixels = read(png(picture))
    assert np.array_equal(pixels, picture)
    assert pixels.flags.c_contiguous


def filtered(picture: NDArray[np.uint8], kinds: list[int]) -> bytes:
    """Return the picture's scan lines, each filtered by its kind (PNG specification, section 9.2)."""
    rows = picture.reshape(len(picture), -1).astype(int)
    found = b""
    for y, kind in enumerate(kinds):
        row, above = rows[y], rows[y - 1] if y else np.zeros_like(rows[0])
        left, corner = np.roll(row, 3), np.roll(above, 3)
        left[:3] = corner[:3] = 0
        guess = left + above - corner
        distances = np.abs(np.stack([left, above, corner]) - guess)
        nearest = np.choose(distances.argmin(axis=0), [left, above, corner])
        expected = [0, left, above, (left + above) // 2, nearest][kind]
        found += bytes([kind]) + ((row - expected) % 256).astype(np.uint8).tobytes()
    return found


@pytest.mark.parametrize("kinds", [[kind] * 6 for kind in range(5)] + [[0, 1, 2, 3, 4, 1], [1, 1, 1, 1, 1, 2]])
def test_each_filter_and_any_mixture_of_them_decodes_exactly(as_png: Callable[..., bytes], kinds: list[int]) -> None:
    """The filters of the rows say how the pixels were written, and nothing about the pixels."""
    picture = np.random.default_rng(3).integers(0, 256, (6, 5, 3), np.uint8)
    pixels = read(as_png(5, 6, filtered(picture, kinds), color=2))
    assert np.array_equal(pixels, picture)
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 40), (40, 1), (21_844, 1), (1, 2_000), (147, 148)])
def test_filtered_pixels_of_any_shape_decode_exactly(
    as_png: Callable[..., bytes], kind: int, width: int, height: int
) -> None:
    """A single row or column, and as many bright pixels as are decoded without OpenCV's own reader."""
    picture = np.random.default_rng(5).integers(250, 256, (height, width, 3), np.uint8)
    body = as_png(width, height, filtered(picture, [kind] * height), color=2)
    assert np.array_equal(decode_png(body, max_pixels=30_000).pixels, picture)


def test_large_images_decode_exactly() -> None:
    """Beyond one stored block of 64 KiB the data is passed on as it came."""
    big = np.random.default_rng(1).integers(0, 256, (200, 150, 3), np.uint8)
    assert np.array_equal(decode_png(png(big), max_pixels=30_000).pixels, big)


def test_gray_alpha_and_deep_images_become_rgb(as_png: Callable[..., bytes]) -> None:
    """Gray, gray with alpha, RGB with alpha and 16 bit keep their colors in 8 bit RGB."""
    row = np.arange(8, dtype=np.uint8)[None, :] * 30
    gray = np.repeat(row[:, :, None], 3, axis=2)
    assert np.array_equal(read(as_png(8, 1, lines(row), color=0)), gray)
    assert np.array_equal(read(as_png(8, 1, lines(np.repeat(row, 2, axis=1)), color=0, depth=16)), gray)
    with_alpha = np.stack([row, np.full_like(row, 90)], axis=2).reshape(1, 16)
    assert np.array_equal(read(as_png(8, 1, lines(with_alpha), color=4)), gray)
    rgba = np.stack([row, row, row, np.full_like(row, 90)], axis=2).reshape(1, 32)
    assert np.array_equal(read(as_png(8, 1, lines(rgba), color=6)), gray)


def test_palette_and_single_bit_images_become_rgb(as_png: Callable[..., bytes]) -> None:
    """Indices are looked up, bits become black and white."""
    palette = (b"PLTE", bytes([255, 0, 0, 0, 255, 0]))
    indexed = as_png(2, 1, b"\0\0\1", color=3, before=(palette,))
    assert read(indexed).tolist() == [[[255, 0, 0], [0, 255, 0]]]
    assert read(as_png(2, 1, b"\0\x40", color=0, depth=1)).tolist() == [[[0] * 3, [255] * 3]]


def test_interlaced_images_decode(as_png: Callable[..., bytes]) -> None:
    """Adam7: a 2 x 2 image has its pixels in passes 1, 6 and 7."""
    raw = b"\0\x0a" + b"\0\x14" + b"\0\x1e\x28"
    pixels = read(as_png(2, 2, raw, color=0, interlaced=1))
    assert pixels[:, :, 0].tolist() == [[10, 20], [30, 40]]


def test_data_in_many_chunks_and_ancillary_chunks_decode(
    as_png: Callable[..., bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is printed even where libpng would complain about a broken color profile."""
    body = as_png(8, 4, bytes(4 * 25), parts=5, before=((b"iCCP", b"x\0\0broken"), (b"PLTE", b"abcde")))
    assert read(body).shape == (4, 8, 3)
    assert capfd.readouterr() == ("", "")


def test_bombs_are_refused_by_their_header(as_png: Callable[..., bytes]) -> None:
    """Dimensions over the limit are refused before anything is inflated."""
    with pytest.raises(TooLarge, match="50000 x 50000"):
        read(as_png(50_000, 50_000, b""))


def test_data_beyond_the_header_is_refused(as_png: Callable[..., bytes]) -> None:
    """A small header before much data inflates no more than the header allows."""
    with pytest.raises(UndecodableInput, match="does not fit"):
        read(as_png(2, 2, bytes(10_000_000)))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.9, 0.99])
def test_truncation_is_refused_silently(
    picture: NDArray[np.uint8], share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    """No part of a truncated PNG is decoded."""
    body = png(picture)
    with pytest.raises(UndecodableInput):
        read(body[: max(8, int(len(body) * share))])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"depth": 3}, "header", id="depth"),
        pytest.param({"color": 5}, "header", id="color"),
        pytest.param({"interlaced": 2}, "header", id="interlacing"),
        pytest.param({"color": 3}, "palette is missing", id="no palette"),
        pytest.param({"color": 3, "before": ((b"PLTE", b"ab"),)}, "palette", id="palette size"),
        pytest.param({"before": ((b"ABCD", b""),)}, "not known", id="critical chunk"),
        pytest.param({"before": ((b"IHDR", bytes(13)),)}, "two headers", id="two headers"),
    ],
)
def test_invalid_structure_is_named(as_png: Callable[..., bytes], options: dict[str, int], message: str) -> None:
    """The message says which part is not valid."""
    with pytest.raises(UndecodableInput, match=message):
        read(as_png(2, 1, bytes(7), **options))


def test_damage_is_named(as_png: Callable[..., bytes], picture: NDArray[np.uint8]) -> None:
    """Zero pixels, wrong filters, wrong checksums and broken data each get their own message."""
    with pytest.raises(UndecodableInput, match="at least 1 x 1"):
        read(as_png(0, 5, b""))
    with pytest.raises(UndecodableInput, match="damaged"):
        read(as_png(1, 1, b"\x09abc"))
    body = bytearray(png(picture))
    body[24] ^= 8
    with pytest.raises(UndecodableInput):
        read(bytes(body))
    body = bytearray(png(picture))
    body[struct.calcsize(">8sI4s13sI") + 20] ^= 0xFF
    with pytest.raises(UndecodableInput, match=r"damaged|does not fit"):
        read(bytes(body))


def test_a_jpeg_sent_as_png_is_recognized() -> None:
    """The message says what it looks like."""
    with pytest.raises(UndecodableInput, match="looks like a JPEG"):
        read(b"\xff\xd8\xff\xe0" + bytes(40))
