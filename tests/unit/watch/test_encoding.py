"""Frames as what functions take."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from cameras import quadrant

from likewise.errors import SettingsError
from likewise.features.decode import decoder
from likewise_watch.encoding import RAW_BYTES, array, encoding

IMAGE = {"name": "signs", "input": {"kind": "image"}}


def encoded(choice: Any, nearby: bool, pixels: np.ndarray) -> tuple[bytes, str]:
    return encoding(IMAGE, choice, nearby, 95, None, False)(pixels)


@pytest.mark.parametrize(
    ("choice", "nearby", "media_type"),
    [
        ("auto", True, "image/x-portable-pixmap"),
        ("auto", False, "image/jpeg"),
        ("jpeg", True, "image/jpeg"),
        ("raw", False, "image/x-portable-pixmap"),
    ],
)
def test_the_server_reads_what_was_in_the_frame(choice: str, nearby: bool, media_type: str) -> None:
    """Exactly where it travels raw, nearly as JPEG, with red as red."""
    pixels = quadrant(2, 5)
    pixels[..., 2] //= 4
    body, said = encoded(choice, nearby, pixels)
    seen = np.asarray(decoder("image")(said, body).pixels)
    assert said == media_type
    assert seen.shape == pixels.shape
    off = np.abs(seen.astype(int) - pixels)
    assert off.max() == 0 if choice == "raw" or (choice == "auto" and nearby) else off.mean() < 12


def test_a_picture_too_large_for_a_request_travels_as_jpeg() -> None:
    """Unless raw was asked for."""
    large = np.zeros((1, RAW_BYTES // 3 + 1, 3), np.uint8).reshape(-1, 1, 3)[:60000].repeat(100, axis=1)
    assert large.nbytes > RAW_BYTES
    assert encoded("auto", True, large)[1] == "image/jpeg"
    assert encoded("raw", True, large)[1] == "image/x-portable-pixmap"


@pytest.mark.parametrize("shape", [(3, 24, 32), (24, 32, 3), (1, 24, 32), (24, 32, 1), (24, 32), (3, 96, 128)])
@pytest.mark.parametrize("unit", [True, False])
def test_arrays_have_the_shape_that_was_asked_for(shape: tuple[int, ...], unit: bool) -> None:
    """Bright where the picture is, in bytes or from 0 to 1."""
    body, media_type = array(shape, unit)(quadrant(3, 1))
    values = np.load(io.BytesIO(body), allow_pickle=False)
    assert media_type == "application/x-npy"
    assert (values.shape, values.dtype) == (shape, np.float32 if unit else np.uint8)
    plane = values[0] if shape[0] in (1, 3) else values.reshape(*shape[:2], -1)[..., 0]
    half = plane.shape[0] // 2, plane.shape[1] // 2
    inside, outside = plane[half[0] + 1 :, half[1] + 1 :].mean(), plane[: half[0] - 1, : half[1] - 1].mean()
    assert inside > 4 * outside
    assert inside <= (1 if unit else 255)


@pytest.mark.parametrize("shape", [(2, 24, 32), (24, 32, 4), (7, 7, 7)])
def test_a_shape_that_no_picture_has_is_refused(shape: tuple[int, ...]) -> None:
    """With one or three channels, first or last, or none."""
    with pytest.raises(SettingsError, match="--shape"):
        array(shape, False)


@pytest.mark.parametrize(("kind", "says"), [("audio", "audio input"), ("bytes", "bytes input"), ("array", "--shape")])
def test_a_function_that_takes_no_pictures_is_refused(kind: str, says: str) -> None:
    """And one of arrays needs to know of which shape."""
    with pytest.raises(SettingsError, match=says):
        encoding({"name": "speech", "input": {"kind": kind}}, "auto", True, 90, None, False)
