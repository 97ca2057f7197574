"""What the executor keeps of a stream."""

from __future__ import annotations

from dataclasses import dataclass, field

from likewise.types import Tensor
from likewise.video.layers import Floats


@dataclass(eq=False)
class State:
    """What is kept of one stream: all activations, and what the model answered last."""

    kept: dict[str, Floats]
    frame: Floats
    """The input once more, shape (channels, height, width)."""
    scales: dict[str, float] = field(default_factory=dict)
    """Root mean square of each activation, as of the last refresh."""
    outputs: dict[str, Tensor] = field(default_factory=dict)
    """With their batch axis; never written again once they are here."""
    debts: dict[str, Floats] = field(default_factory=dict)
    """By output of a convolution: squared change expected at each place since it was computed; see `kernels.spread`."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return sum(
            each.nbytes for each in (self.frame, *self.kept.values(), *self.outputs.values(), *self.debts.values())
        )
