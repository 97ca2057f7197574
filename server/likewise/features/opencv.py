"""OpenCV as a decoder of images: silent, on the calling thread, and never trusted with a size."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from likewise.errors import UndecodableInput
from likewise.types import Image

LARGE = 1 << 20
"""Pixels from which a picture is decoded right into the array that it is wanted in."""
_INTO_ARRAYS = "dst" in (cv2.imread.__doc__ or "") and hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()
_MARK_BYTES = 32


def quiet() -> None:
    """Silence OpenCV's log and keep it on the calling thread.

    Process-wide, idempotent. One thread: waking OpenCV's pool costs more than any image of a request gains, and the
    server spreads requests over cores itself.
    """
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode(name: str, body: bytes, width: int, height: int) -> Image:
    """Return the RGB pixels of an image file whose structure and size were checked before.

    name: the format, for messages. Raises UndecodableInput where nothing, or another size, comes out.
    """
    into_array = _INTO_ARRAYS and width * height >= LARGE
    try:
        pixels = _decode_into_array(body, width, height) if into_array else _decode(body)
    except cv2.error as error:
        raise UndecodableInput(f"The {name} does not decode; encode the image again.") from error
    if pixels is None:
        raise UndecodableInput(f"The {name}'s data is damaged or breaks off; encode the image again.")
    if pixels.shape != (height, width, 3):
        raise UndecodableInput(f"The {name} does not have the size that its header says; encode it again.")
    return Image(pixels)


def _decode(body: bytes) -> NDArray[np.uint8] | None:
    # OpenCV's stubs do not know that 8 bit was asked for
    return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR_RGB)  # type: ignore[return-value]


def _decode_into_array(body: bytes, width: int, height: int) -> NDArray[np.uint8] | None:
    """Return what `imdecode` does, at half the cost for large pictures, and without keeping other threads waiting.

    `imdecode` makes pixels of its own, copies them, and frees them while it holds the interpreter's lock: 25 million
    took 5 to 30 ms, in which the event loop stood still. Only what reads a file writes into an array that is given.
    """
    pixels = np.zeros((height, width, 3), np.uint8)
    start = pixels.reshape(-1)[:_MARK_BYTES]
    mark = secrets.token_bytes(start.size)  # where a header is refused, the array comes back as it was, without a word
    start[:] = np.frombuffer(mark, np.uint8)
    file = os.memfd_create("picture", os.MFD_CLOEXEC)
    try:
        with open(file, "wb", closefd=False) as target:
            target.write(body)
        found = cv2.imread(f"/proc/self/fd/{file}", pixels, cv2.IMREAD_COLOR_RGB)
    finally:
        os.close(file)
    return None if found is None or start.tobytes() == mark else found  # type: ignore[return-value]
