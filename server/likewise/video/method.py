"""The port of everything that computes a frame from earlier ones, and what such a method is told."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from likewise.types import Tensor
from likewise.video.layers import Floats


class Thresholds(NamedTuple):
    """How much of a change is looked at; zeros: all of it, and the outputs are those of a full run."""

    alpha: float = 0.1
    """Of an activation, in root mean squares of its layer."""
    pixel: float = 15.0
    """Of a pixel, in gray levels of 255."""
    pixels: int = 4
    """Of a block of 8 × 8 that change by more than that, at least."""
    mean: float = 3.0
    """Of the mean of a block, in gray levels; a change that is small and everywhere."""
    care: float = 0.0
    """Of an activation that is not computed yet: what is expected of it, in `alpha`; 0: all are computed."""
    skip: float = 0.0
    """Of a frame: share of blocks that may have changed since what is stored, for the last answer to do once more."""
    drift: float = 2.0
    """Of the means of all other blocks together, in gray levels: where the light changed, all is computed."""


EXACT = Thresholds(0.0, 0.0, 1, 0.0, drift=0.0)


class Frame(NamedTuple):
    """What a method makes of a frame."""

    outputs: tuple[Tensor, ...]
    """The model's outputs in its order, with a batch axis of 1; never written again."""
    work: float
    """Multiply-adds spent, in full runs."""
    dirty: float = 1.0
    """Share of the blocks of the input that counted as changed."""
    full: bool = False
    """True: the whole model was run on this very frame by ONNX Runtime, so this is the full run's answer."""


class Method(Protocol):
    """Computes the frames of one stream, in order. Any thread may call it, one at a time."""

    def passes(self) -> bool:
        """Say, once for each frame, whether it is left to a full run whatever it shows; if not, `frame` is next."""

    def frame(self, given: Floats) -> Frame | None:
        """Return what the model answers for a frame, about; None: a full run is cheaper, and for somebody else to do.

        given: the model's input without batch axis, float32, shape (channels, height, width), C-contiguous. Raises
        ModelFailed.
        """

    def learn(self, wrong: bool) -> None:
        """Take in that the last frame's answer was compared with a full run's."""

    @property
    def risk(self) -> float:
        """Estimate of the probability that the next answer is not the full run's, in (0, 1)."""

    @property
    def nbytes(self) -> int:
        """Bytes of state."""

    def masks(self) -> Tensor:
        """Return which blocks of the last frame counted as changed, bool, shape (rows, columns), of 8 × 8 pixels."""
