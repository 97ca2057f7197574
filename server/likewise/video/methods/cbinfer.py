"""CBinfer: single pixels that changed, with a threshold at every layer. Source: Cavigelli et al., ICDSC 2017."""

from __future__ import annotations

from likewise.video.layers import Floats
from likewise.video.method import Thresholds
from likewise.video.methods.base import Fixed
from likewise.video.model import VideoModel
from likewise.video.state import State

PIXEL = 15.0
ALPHA = 0.1
"""The paper sets one threshold for each layer by hand; ours is so many root mean squares of it."""


class CBinfer(Fixed):
    """Pixels are compared one by one, and so are the activations of every layer; nothing is ever refreshed."""

    def __init__(self, model: VideoModel, epsilon: float = 0.05) -> None:
        super().__init__(model, epsilon, block=1)

    def advance(self, state: State, given: Floats) -> int:
        """See `Fixed.advance`."""
        network, name = self.model.network, self.model.plan.input
        self.change.find(given, state.frame, Thresholds(ALPHA, PIXEL, 1, float("inf")))
        places = self.change.take_over(given, state.frame, state.kept[name], network.pads[name])
        return network.step(state, places, ALPHA)
