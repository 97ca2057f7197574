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
from likewise.video.worth import Worth

BREAK_EVEN = 0.4
"""Share of changed blocks above which a full run is cheaper, whatever the model."""
WORTH = 0.95
"""Frames are computed incrementally while that takes less than so much of a full run, in the mean of the last few."""
LONGEST = 3.0
"""Full runs that a frame is taken to cost at most: what took longer was held up by something else."""
CALM = 0.25
"""Share of changed blocks, from one frame to the next, below which it is worth to begin."""
LONGEST_WAIT = 64
LONGEST_LOOK = 6
"""Frames between two looks at whether frames are alike, while they are not."""
STEADY = 30
"""Frames in a row after which beginning was no mistake."""
RARE = 6
"""Frames between two sudden changes for the second to be computed anew at once, rather than waited for what comes."""
LONGEST_CALM = 16
"""Frames that have to be alike before it begins again, at most: twice as many each time when that was a mistake."""
REFRESH_EVERY = 60
DRIFT = 2.0
"""Gray levels that what counts as unchanged may be off in the mean, before all is computed anew."""
SOONEST = 10
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
        self._worth = Worth()
        self._failures = self._looks = 0
        self._wait = 0  # frames not looked at
        self._calm = 0  # looks in a row that saw about the same
        self._frames = 0  # since the last refresh, that had changed
        self._steady = 0  # since it began, or all changed at once
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
        self._worth.checked()

    def masks(self) -> Tensor:
        """See `Method.masks`."""
        return self._change.masks()

    def passes(self) -> bool:
        """See `Method.passes`."""
        if self._active or not (self._wait or not self._worth.pays):
            return False
        self._controller.rest()
        self._worth.frame(1.0)
        self._wait = max(0, self._wait - 1)
        self._previous = None
        return True

    def frame(self, given: Floats) -> Frame | None:
        """See `Method.frame`."""
        if not self._active:
            self._controller.rest()
            self._worth.frame(1.0)
            return self._idle(given)
        started = self._model.clock()
        found = self._next(given)
        full_s = self._model.plain_s
        self._worth.frame((self._took_s(started) / full_s if full_s else 0.0) + (found is None))
        return found

    def _took_s(self, started: float) -> float:
        """Return the seconds since then that a frame is taken to cost."""
        took_s = self._model.clock() - started
        return min(took_s, LONGEST * self._model.plain_s) if self._model.plain_s else took_s

    def _idle(self, given: Floats) -> Frame | None:
        """Wait for frames that are much like one before them, as many as it takes."""
        if self._previous is None:
            self._previous, self._calm = given, 0
            return None
        share = self._change.find(given, self._previous, self.thresholds)
        if share >= CALM:
            self._previous, self._calm = given, 0
            self._looks += 1
            self._wait = min(self._looks, LONGEST_LOOK)
            if self._looks % LONGEST_LOOK == 0:
                self._controller.cut()
            return None
        self._calm += 1
        if self._calm < min(1 << self._failures, LONGEST_CALM):
            return None
        self._looks = 0
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
        started = model.clock()
        model.network.refresh(self._state, given)
        model.refreshed(model.clock() - started)
        self._frames, self._controller.refresh = 0, False
        self._change.blocks[:] = 1
        return self._answer(self._state, 1.0, 1.0, full=True)

    def _next(self, given: Floats) -> Frame | None:
        model, state = self._model, self._state
        assert state is not None
        self._steady += 1
        if self._steady == STEADY:
            self._failures = 0
        thresholds = self.thresholds
        started = model.clock()
        dirty = self._change.find(given, state.frame, thresholds)
        self._frames += dirty > 0
        drifted = self._change.drift > self._drift and self._frames >= SOONEST
        if drifted or self._frames >= self._refresh_every or self._controller.refresh:
            return self._refresh(given)
        if dirty <= thresholds.skip:
            return self._answer(state, 0.0, dirty)
        sudden = dirty > BREAK_EVEN
        if sudden:
            self._controller.cut()
            if self._steady > RARE and self._worth.pays:
                self._steady = 0
                return self._refresh(given)
        if sudden or self._pace > WORTH * model.plain_s > 0.0 or not self._worth.pays:
            self._active, self._looks = False, 0
            self._failures += 1
            self._wait = 0 if sudden else min(1 << self._failures, LONGEST_WAIT) - 2
            self._pace, self._previous, self._calm = 0.0, given, 0
            return None
        name = model.plan.input
        places = self._change.take_over(given, state.frame, state.kept[name], model.network.pads[name])
        work = model.network.step(state, places, thresholds.alpha, care=thresholds.care) / max(model.plan.work, 1)
        self._pace += 0.2 * (self._took_s(started) - self._pace)
        return self._answer(state, work, dirty)

    def _answer(self, state: State, work: float, dirty: float, full: bool = False) -> Frame:
        outputs = tuple(state.outputs[name] for name in self._model.plan.outputs)
        if work and not all(np.isfinite(each).all() for each in outputs if each.dtype.kind == "f"):
            self._active, self._state = False, None  # what overflowed once would stay so
        return Frame(outputs, work, dirty, full)
