"""How much a model tells about inputs, without knowing what is right: by it, preparations are told apart."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from likewise.types import Image

Shares = NDArray[np.float64]
"""Shape (inputs, classes): a distribution for each input."""


def shares(scores: NDArray[np.float64]) -> Shares:
    """Return scores as distributions: as they are where they are such, else their softmax."""
    if scores.min() >= 0.0 and bool((np.abs(scores.sum(axis=1) - 1.0) < 1e-3).all()):
        return scores
    powers: Shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def information(found: Shares, changed: Sequence[Shares]) -> float:
    """Return the mutual information of inputs and classes, in nats, times how steady the best class is.

    changed: for the same inputs, each changed a little. A model that gets numbers as it was trained on tells inputs
    apart (much information), and tells the same of a picture that is a little darker or softer. Prepared otherwise
    it gives many inputs one class, or wavers.
    """
    told = _entropy(found.mean(axis=0)) - float(np.mean([_entropy(row) for row in found]))
    best = found.argmax(axis=1)
    steady = float(np.mean([(each.argmax(axis=1) == best).mean() for each in changed])) if changed else 1.0
    return told * steady


def _entropy(row: NDArray[np.float64]) -> float:
    return float(-(row * np.log(np.clip(row, 1e-12, 1.0))).sum())


def little_changes(picture: Image) -> list[Image]:
    """Return a picture a little darker, a little shifted and a little softer."""
    pixels = picture.pixels
    side = min(pixels.shape[:2])
    margin = max(1, side // 16) if side > 2 else 0
    return [
        Image((pixels.astype(np.float32) * 0.8).astype(np.uint8)),
        Image(np.ascontiguousarray(pixels[margin:, margin:])),
        Image(np.asarray(cv2.GaussianBlur(pixels, (0, 0), max(0.6, side / 80)), np.uint8)),
    ]
