"""Pictures to send: smooth like photographs, no two alike."""

from __future__ import annotations

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
