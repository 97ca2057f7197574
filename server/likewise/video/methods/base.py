"""What the methods of the literature share: a state that is opened with a full computation, and fixed parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from likewise.types import Tensor
from likewise.video.change import Change
from likewise.video.control import Record
from likewise.video.layers import Floats
from likewise.video.method import Frame
from likewise.video.model import VideoModel
from likewise.video.state import State


class Checked:
    """A method whose risk is what its checked answers were, and that looks for changes in blocks."""

    def __init__(self, model: VideoModel, epsilon: float, block: int = 8) -> None:
        """Set up. epsilon: share of answers that may be wrong; block: side in pixels."""
        self.model = model
        self.change = Change(model.shape, model.unit, model.kernels, block)
        self._record = Record(2.0 * epsilon, 4.0)

    @property
    def risk(self) -> float:
        """See `Method.risk`."""
        return self._record.risk

    def passes(self) -> bool:
        """See `Method.passes`."""
        return False

    def learn(self, wrong: bool) -> None:
        """See `Method.learn`."""
        self._record.learn(wrong)

    def masks(self) -> Tensor:
        """See `Method.masks`."""
        return self.change.masks()


class Fixed(Checked, ABC):
    """A method on the executor whose parameters nothing changes."""

    def __init__(self, model: VideoModel, epsilon: float = 0.05, block: int = 8, refresh_every: int = 0) -> None:
        """Set up. refresh_every: frames after which all is computed anew; 0: never."""
        super().__init__(model, epsilon, block)
        self.state: State | None = None
        self._refresh_every = refresh_every
        self._frames = 0

    @property
    def nbytes(self) -> int:
        """See `Method.nbytes`."""
        return self.state.nbytes if self.state is not None else 0

    def frame(self, given: Floats) -> Frame | None:
        """See `Method.frame`."""
        self._frames += 1
        if self.state is None or (self._refresh_every and self._frames % self._refresh_every == 0):
            self.state = self.state or self.model.network.state()
            self.model.network.refresh(self.state, given)
            self.change.blocks[:] = 1
            return self._answer(self.state, 1.0)
        work = self.advance(self.state, given) / max(self.model.plan.work, 1)
        return self._answer(self.state, work)

    @abstractmethod
    def advance(self, state: State, given: Floats) -> int:
        """Bring a state up to date with a frame; return the multiply-adds spent."""

    def _answer(self, state: State, work: float) -> Frame:
        outputs = tuple(state.outputs[name] for name in self.model.plan.outputs)
        if not all(np.isfinite(each).all() for each in outputs if each.dtype.kind == "f"):
            self.state = None  # what overflowed once would stay so
        return Frame(outputs, work, float(self.change.blocks.mean()))
