"""PPM and PGM in their binary forms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.errors import TooLarge, UndecodableInput
from likewise.features.pnm import decode_pnm


def read(body: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a PNM."""
    return decode_pnm(body, max_pixels=10_000).pixels


def test_binary_color_decodes_exactly(picture: NDArray[np.uint8]) -> None:
    """P6, with comments in its header."""
    assert np.array_equal(read(b"P6 # made here\n29 37\n255\n" + picture.tobytes()), picture)


def test_gray_and_deep_forms_decode() -> None:
    """P5, other maximum values and two-byte samples are scaled to 8 bit."""
    assert read(b"P5 2 1 255\n\x07\xff").tolist() == [[[7] * 3, [255] * 3]]
    assert read(b"P5 2 1 100\n\x00\x64").tolist() == [[[0] * 3, [255] * 3]]
    assert read(b"P5 2 1 65535\n\x00\x00\xff\xff").tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"P6 2 2 255\nabc", "breaks off", id="truncated"),
        pytest.param(b"P5 2 2 0\nabcd", "maximum", id="maximum 0"),
        pytest.param(b"P5 2 2 70000\nabcd", "maximum", id="maximum too large"),
        pytest.param(b"P5 0 2 255\n", "at least 1 x 1", id="no pixels"),
        pytest.param(b"P4 8 1\n\xff", "convert", id="bitmap"),
        pytest.param(b"P2 2 1 255\n7 8\n", "convert", id="gray in decimals"),
        pytest.param(b"P3 1 1 255\n1 2 3\n", "convert", id="color in decimals"),
        pytest.param(b"RIFF", "looks like a RIFF file", id="other format"),
    ],
)
def test_bad_images_are_named(body: bytes, message: str) -> None:
    """Each says what is wrong."""
    with pytest.raises(UndecodableInput, match=message):
        read(body)


def test_bombs_are_refused_by_their_header() -> None:
    """Dimensions are checked first."""
    with pytest.raises(TooLarge):
        read(b"P6 99999 99999 255\n")
