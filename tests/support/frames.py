"""Frames of noise for methods of video, and what a method makes of them."""

from __future__ import annotations

import numpy as np

from likewise.video.method import Frame
from likewise.video.methods.auto import Auto

SHAPE = (3, 48, 64)


def scene() -> np.ndarray:
    """Return always the same frame, shape `SHAPE`, values in [0, 1)."""
    return np.random.default_rng(0).random(SHAPE).astype(np.float32)


def changed(frame: np.ndarray, blocks: range) -> np.ndarray:
    """Return a frame with another top in these of its 48 blocks."""
    other = frame.copy()
    for at in blocks:
        y, x = 8 * (at // 8), 8 * (at % 8)
        other[:, y : y + 8, x : x + 8] = 1.0 - frame[:, y : y + 8, x : x + 8]
    return other


def answered(method: Auto, given: np.ndarray) -> Frame:
    """Return what a method makes of a frame, which it is not to leave to others."""
    assert not method.passes()
    found = method.frame(given)
    assert found is not None
    return found
