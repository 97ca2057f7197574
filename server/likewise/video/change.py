"""Which parts of a frame are not as they were stored: blocks of 8 × 8, by their pixels and by their mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.video.kernels import Kernels
from likewise.video.layers import Floats, Ints
from likewise.video.method import Thresholds

BLOCK = 8


class Change:
    """Compares frames of one shape, (channels, height, width), with stored ones."""

    def __init__(self, shape: tuple[int, ...], unit: Floats, kernels: Kernels, block: int = BLOCK) -> None:
        """Set up. unit: what one gray level of 255 is in a frame, by channel; block: side in pixels."""
        _, height, width = shape
        self._kernels: Any = kernels
        self._unit = unit
        self._block = block
        rows, columns = -(-height // block), -(-width // block)
        self.blocks: NDArray[np.uint8] = np.zeros(rows * columns, np.uint8)
        """1 where the last frame differed."""
        self.drift = 0.0
        """How far the other blocks were from the stored ones in the mean, in gray levels."""
        self.shape = rows, columns
        self._flags = np.zeros(width, np.uint8)
        self._places = np.empty(height * width, np.int32)

    def masks(self) -> NDArray[np.bool_]:
        """Return which blocks the last frame differed in, shape (rows, columns)."""
        return self.blocks.reshape(self.shape).astype(bool)

    def find(self, given: Floats, kept: Floats, thresholds: Thresholds) -> float:
        """Mark the blocks that differ; return their share."""
        if self._kernels.equal(given, kept):
            self.blocks[:] = 0
            self.drift = 0.0
            return 0.0
        unit = self._unit
        mean = unit * np.float32(thresholds.mean)
        bound = unit * np.float32(thresholds.pixel)
        count, self.drift = self._kernels.changed_blocks(
            given, kept, self._block, bound, thresholds.pixels, mean, unit, self._flags, self.blocks
        )
        return float(count) / len(self.blocks)

    def take_over(self, given: Floats, kept: Floats, target: Floats, pad: int, low: float = 0.0) -> Ints:
        """Store the pixels of marked blocks that differ by more than `low` gray levels; return their places.

        kept: the stored frame, (channels, height, width); target: the same, channels last, padded.
        """
        bound = self._unit * np.float32(low)
        count = self._kernels.take_over(given, kept, self._block, bound, self.blocks, target, pad, self._places)
        return self._places[:count]
