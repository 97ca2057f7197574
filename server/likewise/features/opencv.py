"""OpenCV as a decoder of images: silent, on the calling thread, and never trusted with a size."""

from __future__ import annotations

import cv2
import numpy as np

from likewise.errors import UndecodableInput
from likewise.types import Image


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
    try:
        pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise UndecodableInput(f"The {name} does not decode; encode the image again.") from error
    if pixels is None:
        raise UndecodableInput(f"The {name}'s data is damaged or breaks off; encode the image again.")
    if pixels.shape != (height, width, 3):
        raise UndecodableInput(f"The {name} does not have the size that its header says; encode it again.")
    return Image(pixels)  # type: ignore[arg-type]  # OpenCV's stubs do not know that 8 bit was asked for
