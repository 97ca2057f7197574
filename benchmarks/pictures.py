"""Pictures to send: smooth like photographs, no two alike."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def pictures(count: int, side: int, seed: int) -> list[bytes]:
    """Return PNG files of side × side RGB pixels."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        found.append(cv2.imencode(".png", smooth)[1].tobytes())
    return found


def altered(files: Sequence[bytes], times: int, start: int = 0) -> list[bytes]:
    """Return PNG files that differ from others in one number by one, each as often as said: new bytes, nearly the same.

    They come in turn: a picture's second version after the first of all others. start: versions to leave out.
    """
    found = []
    for turn in range(start, start + times):
        for file in files:
            pixels = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
            assert pixels is not None
            number = pixels.reshape(-1)
            number[turn] ^= 1
            found.append(cv2.imencode(".png", pixels)[1].tobytes())
    return found
