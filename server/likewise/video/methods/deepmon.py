"""DeepMon: blocks whose histogram changed, and all that they can reach. Source: Huynh, Lee, Balan, MobiSys 2017."""

from __future__ import annotations

import numpy as np

from likewise.types import Tensor
from likewise.video.incremental import WRITE_ALL
from likewise.video.layers import Floats
from likewise.video.methods.base import Fixed
from likewise.video.model import VideoModel
from likewise.video.state import State

BLOCK = 16
BINS = 16
DISTANCE = 0.05
"""Chi-square distance of two histograms above which a block changed; the paper leaves the number open."""


class DeepMon(Fixed):
    """Blocks at fixed positions, compared by their color histograms; the receptive field decides what is kept."""

    def __init__(self, model: VideoModel, epsilon: float = 0.05) -> None:
        super().__init__(model, epsilon, block=BLOCK)
        self._histograms: Tensor | None = None

    def _histogram(self, given: Floats) -> Tensor:
        channels, height, width = given.shape
        rows, columns = self.change.shape
        level = np.floor(given / (self.model.unit[:, None, None] * (256 / BINS))).astype(np.int64) % BINS
        where = (np.arange(height) // BLOCK)[:, None] * columns + np.arange(width) // BLOCK
        index = (where[None] * channels + np.arange(channels)[:, None, None]) * BINS + level
        return np.bincount(index.ravel(), minlength=rows * columns * channels * BINS).reshape(rows * columns, -1)

    def advance(self, state: State, given: Floats) -> int:
        """See `Fixed.advance`."""
        network, name = self.model.network, self.model.plan.input
        kept = self._histogram(state.frame) if self._histograms is None else self._histograms
        fresh = self._histogram(given)
        total = np.maximum(fresh + kept, 1)
        distance = (np.square(fresh - kept) / total).sum(1) / (2.0 * BLOCK * BLOCK * given.shape[0])
        dirty = distance > DISTANCE
        self.change.blocks[:] = dirty
        self._histograms = np.where(dirty[:, None], fresh, kept)
        places = self.change.take_over(given, state.frame, state.kept[name], network.pads[name], low=-1.0)
        return network.step(state, places, WRITE_ALL)
