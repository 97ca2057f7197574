"""Large pictures are decoded into the array that they are wanted in: the same pixels, and the same refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.errors import UndecodableInput
from likewise.features import opencv

Pixels = NDArray[np.uint8]

pytestmark = pytest.mark.skipif(not opencv._INTO_ARRAYS, reason="this OpenCV, or system, decodes no other way")
opencv.quiet()


@pytest.fixture(params=[0, 1 << 20], ids=["into an array", "by itself"])
def decode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Pixels]:
    """Decode either way."""
    monkeypatch.setattr(opencv, "LARGE", request.param)
    return lambda body, width=29, height=37: opencv.decode("picture", body, width, height).pixels


@pytest.mark.parametrize("end", [".png", ".bmp", ".webp"])
def test_pixels_come_out_in_order(decode: Callable[..., Pixels], picture: Pixels, end: str) -> None:
    """RGB, contiguous, whatever the format; gray ones as three equal channels, deep ones as 8 bits."""
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101] if end == ".webp" else []
    body = bytes(cv2.imencode(end, picture[:, :, ::-1], lossless)[1])
    assert np.array_equal(decode(body), picture)
    assert decode(body).flags.c_contiguous
    if end == ".png":
        gray, deep = picture[:, :, 0], picture[:, :, ::-1].astype(np.uint16) * 257
        assert np.array_equal(decode(bytes(cv2.imencode(end, gray)[1])), np.dstack([gray] * 3))
        assert np.array_equal(decode(bytes(cv2.imencode(end, deep)[1])), picture)


@pytest.mark.parametrize("damage", ["begins otherwise", "breaks off", "header", "size", "nothing"])
def test_what_does_not_decode_is_refused(decode: Callable[..., Pixels], picture: Pixels, damage: str) -> None:
    """Also where OpenCV does not say so and gives the array back as it was."""
    body = bytes(cv2.imencode(".webp", picture)[1])
    damaged = {
        "begins otherwise": b"GARBAGE!" * 20,
        "breaks off": body[: len(body) // 2],
        "header": body[:20] + b"\xff" * 10 + body[30:],
        "size": body,
        "nothing": b"x",
    }[damage]
    with pytest.raises(UndecodableInput, match="encode"):
        decode(damaged, 28 if damage == "size" else 29)


def test_no_file_stays_open(picture: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it decodes or not."""
    monkeypatch.setattr(opencv, "LARGE", 0)
    body = bytes(cv2.imencode(".png", picture)[1])
    before = set(Path("/proc/self/fd").iterdir())
    opencv.decode("picture", body, 29, 37)
    for broken in (body[:40], b"GARBAGE!" * 20):
        with pytest.raises(UndecodableInput):
            opencv.decode("picture", broken, 29, 37)
    assert set(Path("/proc/self/fd").iterdir()) == before
