"""The executor with everything around it: thresholds that follow checked answers, refreshes, and a way out."""

from __future__ import annotations

import numpy as np

from likewise.types import Tensor
from likewise.video.change import Change
from likewise.video.control import Controller
from likewise.video.incremental import State
from likewise.video.layers import Floats
from likewise.video.method import Frame, Thresholds
from likewise.video.model import VideoModel

BREAK_EVEN = 0.4
"""Share of changed blocks above which a full run is cheaper, whatever the model."""
WORTH = 0.95
"""Frames are computed incrementally while that takes less than so much of a full run, in the mean of the last few."""
CALM = 0.25
"""Share of changed blocks, from one frame to the next, below which it is worth to begin."""
LONGEST_WAIT = 64
STEADY = 30
"""Frames in a row after which beginning was no mistake."""
REFRESH_EVERY = 240
DRIFT = 2.0
"""Gray levels that what counts as unchanged may be off in the mean, before all is computed anew."""
SOONEST = 20
"""Frames between two refreshes for that reason."""


class Auto:
    """The default method."""

    def __init__(
        self,
        model: VideoModel,
        epsilon: float = 0.05,
        fixed: Thresholds | None = None,
        refresh_every: int = REFRESH_EVERY,
        drift: float = DRIFT,
    ) -> None:
        """Set up. fixed: thresholds that stay; None: a controller sets them. refresh_every: frames."""
        self._model = model
        self._controller = Controller(epsilon)
        self._fixed = fixed
        self._refresh_every = refresh_every
        self._drift = drift
        self._change = Change(model.shape, model.unit, model.kernels)
        self._state: State | None = None
        self._previous: Floats | None = None
        self._active = False
        self._wait = self._calm = 0
        self._frames = 0  # since the last refresh
        self._steady = 0  # since it began
        self._pace = 0.0  # mean seconds of the last frames

    @property
    def thresholds(self) -> Thresholds:
        """Those in use."""
        return self._fixed or self._controller.thresholds

    @property
    def risk(self) -> float:
        """See `Method.risk`."""
        return self._controller.risk

    @property
    def nbytes(self) -> int:
        """See `Method.nbytes`."""
        return (self._state.nbytes if self._state else 0) + (self._previous.nbytes if self._previous is not None else 0)

    def learn(self, wrong: bool) -> None:
        """See `Method.learn`."""
        self._controller.learn(wrong)

    def masks(self) -> Tensor:
        """See `Method.masks`."""
        return self._change.masks()

    def frame(self, given: Floats) -> Frame | None:
        """See `Method.frame`."""
        return self._next(given) if self._active else self._idle(given)

    def _idle(self, given: Floats) -> Frame | None:
        """Wait for frames that are much like the ones before."""
        previous, self._previous = self._previous, given
        if previous is None:
            return None
        self._controller.rest()
        share = self._change.find(given, previous, self.thresholds._replace(mean=1e9))
        self._calm = self._calm + 1 if share < CALM else 0
        if self._calm <= self._wait:
            return None
        self._previous = None
        self._active, self._steady = True, 0
        return self._refresh(given)

    def _refresh(self, given: Floats) -> Frame:
        model = self._model
        if self._state is None:
            if not model.plain_s:
                self._state = model.warm()
            else:
                self._state = model.network.state()
        model.network.refresh(self._state, given)
        self._frames, self._controller.refresh = 0, False
        self._change.blocks[:] = 1
        return self._answer(self._state, 1.0, 1.0)

    def _next(self, given: Floats) -> Frame | None:
        model, state = self._model, self._state
        assert state is not None
        self._frames += 1
        self._steady += 1
        if self._steady == STEADY:
            self._wait = 0
        thresholds = self.thresholds
        started = model.clock()
        dirty = self._change.find(given, state.frame, thresholds)
        drifted = self._change.drift > self._drift and self._frames >= SOONEST
        if drifted or self._frames >= self._refresh_every or self._controller.refresh:
            return self._refresh(given)
        if not dirty:
            return self._answer(state, 0.0, 0.0)
        if dirty > BREAK_EVEN or self._pace > WORTH * model.plain_s > 0.0:
            if dirty > BREAK_EVEN:
                self._controller.cut()
            self._pace = 0.0
            self._active, self._calm = False, 0
            self._wait = min(max(1, 2 * self._wait), LONGEST_WAIT)
            self._previous = given
            return None
        name = model.plan.input
        places = self._change.take_over(given, state.frame, state.kept[name], model.network.pads[name])
        work = model.network.step(state, places, thresholds.alpha, care=thresholds.care) / max(model.plan.work, 1)
        self._pace += 0.2 * (model.clock() - started - self._pace)
        return self._answer(state, work, dirty)

    def _answer(self, state: State, work: float, dirty: float) -> Frame:
        outputs = tuple(state.outputs[name] for name in self._model.plan.outputs)
        if work and not all(np.isfinite(each).all() for each in outputs if each.dtype.kind == "f"):
            self._active, self._state = False, None  # what overflowed once would stay so
        return Frame(outputs, work, dirty)
