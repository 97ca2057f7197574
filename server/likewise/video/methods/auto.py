"""Frames answered once more, computed in part or in full, as changes allow and as it pays."""

from __future__ import annotations

import numpy as np

from likewise.types import Tensor
from likewise.video.change import Change
from likewise.video.control import Controller, Record
from likewise.video.layers import Floats
from likewise.video.method import Frame, Thresholds
from likewise.video.methods.answered import Answered
from likewise.video.model import VideoModel
from likewise.video.state import State
from likewise.video.worth import Worth

BREAK_EVEN = 0.4
"""Share of changed blocks above which a full run is cheaper, whatever the model."""
LONGEST = 3.0
"""Full runs that a frame is taken to cost at most: what took longer was held up by something else."""
CALM = 0.25
"""Share of changed blocks, from one computed frame to the next, below which frames may be worth computing in part."""
GOOD = 0.45
"""Full runs that a frame of a stretch costs at most, in the mean, with its refresh, for another to follow at once."""
WORTH = 0.95
"""The same, for a stretch to go on."""
ENOUGH = 4
"""Frames of a stretch before that is asked."""
LONGEST_CALM = 16
"""Calm frames that are waited for, at most: 2, and twice as many each time when a stretch was not worth it."""
LONGEST_LOOK = 6
"""Frames between two looks at whether frames are alike, while they are not."""
RENEWAL = 0.9
"""Full runs that a renewal costs at most, for that to be made in place of full runs and refreshes."""
PART = 0.3
"""Share of changed blocks below which computing in part is cheaper than a renewal, for each full run that costs."""
ROUNDING = 1e-3
"""Probability that a renewal's answer is not the full run's, before any was checked: it is but for rounding."""
IN_PART = 0.15
"""Of the changed blocks that may be let pass to save a full run, the share for what is cheaper: computing in part."""
REFRESH_EVERY = 60
"""Frames computed in part after which all is computed anew, and frames that may have the same answer."""


class Auto:
    """The default method."""

    def __init__(
        self,
        model: VideoModel,
        epsilon: float = 0.05,
        fixed: Thresholds | None = None,
        refresh_every: int = REFRESH_EVERY,
    ) -> None:
        """Set up. fixed: thresholds that stay; None: a controller sets them. refresh_every: frames."""
        self._model = model
        self._controller = Controller(epsilon)
        self._fixed = fixed
        self._refresh_every = refresh_every
        self._change = Change(model.shape, model.unit, model.kernels)
        self._last = Answered(model)
        self._state: State | None = None
        self._current = False  # whether the state is that of the last answer
        self._worth = Worth()
        self._looks = self._wait = 0  # frames that were not alike; frames not looked at
        self._calm = 0  # computed frames in a row that were much like the one before
        self._failures = 0  # stretches that were not worth it
        self._frames = 0  # of this stretch, that were computed in part
        self._cost = 0.0  # of this stretch, in full runs
        self._renewals = Record(ROUNDING, 1.0)
        self._renewed = False  # whether the last answer is a renewal's

    @property
    def thresholds(self) -> Thresholds:
        """Those in use."""
        return self._fixed or self._controller.thresholds

    @property
    def risk(self) -> float:
        """See `Method.risk`."""
        return self._renewals.risk if self._renewed else self._controller.risk

    @property
    def nbytes(self) -> int:
        """See `Method.nbytes`."""
        return (self._state.nbytes if self._state else 0) + (0 if self._current else self._last.nbytes)

    def learn(self, wrong: bool) -> None:
        """See `Method.learn`."""
        if self._renewed:
            self._renewals.learn(wrong)
        else:
            self._controller.learn(wrong)
        self._worth.checked()

    def masks(self) -> Tensor:
        """See `Method.masks`."""
        return self._change.masks()

    def passes(self) -> bool:
        """See `Method.passes`."""
        if not self._wait and self._worth.pays:
            return False
        self._controller.rest()
        self._worth.frame(1.0)
        self._wait = max(0, self._wait - 1)
        self._current = False
        self._last.forget()
        return True

    def frame(self, given: Floats) -> Frame | None:
        """See `Method.frame`."""
        started = self._model.clock()
        found = self._next(given)
        if found is None or found.full or self._renewed:
            self._controller.rest()
        self._worth.frame(self._runs(started) + (found is None))
        return found

    def _runs(self, started: float) -> float:
        """Return how many full runs what was done since then is taken to cost."""
        full_s = self._model.plain_s
        return min((self._model.clock() - started) / full_s, LONGEST) if full_s else 0.0

    def _next(self, given: Floats) -> Frame | None:
        last, thresholds = self._last, self.thresholds
        self._renewed = False
        if last.frame is None:
            return self._whole(given)
        if self._controller.refresh and self._renews:
            return self._renewal(given)
        if self._controller.refresh:
            return self._refresh(given) if self._current else self._whole(given)
        dirty = self._change.find(given, last.frame, thresholds)
        if not dirty and not self._change.drift:
            return last.again(dirty, same=True)
        light = self._change.drift > thresholds.drift
        passed = thresholds.skip * (IN_PART if self._current else 1.0)
        if dirty <= passed and not light and last.since < self._refresh_every:
            self._looks = 0
            return last.again(dirty)
        if self._renews:
            return self._renewed_or_part(given, dirty, light)
        if not self._current:
            return self._fresh(given, dirty)
        if dirty > BREAK_EVEN:
            self._controller.cut()
        if light or dirty > BREAK_EVEN or self._frames >= self._refresh_every:
            return self._renew(given)
        return self._part(given, dirty)

    @property
    def _renews(self) -> bool:
        """Whether renewals take the place of full runs; not where thresholds stay at zero, as they round otherwise."""
        return self._model.renewal_runs <= RENEWAL and (self._fixed is None or self._fixed.alpha > 0)

    def _renewed_or_part(self, given: Floats, dirty: float, light: bool) -> Frame:
        """Compute a frame as a whole where that is cheaper or due, else in part."""
        if dirty <= BREAK_EVEN:
            self._looks = 0
        elif self._looks % LONGEST_LOOK == 0:
            self._controller.cut()
        self._looks += dirty > BREAK_EVEN
        few = dirty <= PART * self._model.renewal_runs
        if self._current and few and not light and self._frames < self._refresh_every:
            return self._part(given, dirty)
        return self._renewal(given)

    def _renewal(self, given: Floats) -> Frame:
        model = self._model
        if self._state is None:
            self._state = model.network.state() if model.plain_s else model.warm()
        started = model.clock()
        model.network.renew(self._state, given)
        model.took(model.clock() - started, model.renewal_runs)
        self._frames, self._cost = 0, model.renewal_runs
        self._current = self._renewed = True
        self._controller.refresh = False
        self._change.blocks[:] = 1
        return self._answer(self._state, 1.0, 1.0)

    def _fresh(self, given: Floats, dirty: float) -> Frame | None:
        """Compute a frame in full, with the state where the last frames were alike; leave it where they are not."""
        if dirty > BREAK_EVEN:
            if self._looks % LONGEST_LOOK == 0:
                self._controller.cut()
            self._calm = 0
            self._looks += 1
            self._wait = min(self._looks, LONGEST_LOOK)
            self._last.forget()
            return None
        self._looks = 0
        steady = self._change.drift <= 0.5 * self.thresholds.drift
        self._calm = self._calm + 1 if dirty < CALM and steady else 0
        if self._calm < min(2 << self._failures, LONGEST_CALM):
            return self._whole(given)
        return self._refresh(given)

    def _renew(self, given: Floats) -> Frame:
        """End a stretch of frames computed in part, and begin another if it was good."""
        if self._cost <= GOOD * (1 + self._frames):
            self._failures = 0
            return self._refresh(given)
        self._failures += 1
        return self._whole(given)

    def _whole(self, given: Floats) -> Frame:
        self._current, self._controller.refresh = False, False
        model, started = self._model, self._model.clock()
        found = self._last.whole(given)
        model.took(model.clock() - started)
        self._change.blocks[:] = 1
        return found

    def _refresh(self, given: Floats) -> Frame:
        model = self._model
        if self._state is None:
            self._state = model.network.state() if model.plain_s else model.warm()
        started = model.clock()
        model.network.refresh(self._state, given)
        model.took(model.clock() - started, model.refresh_runs)
        self._frames, self._calm, self._cost = 0, 0, model.refresh_runs
        self._current, self._controller.refresh = True, False
        self._change.blocks[:] = 1
        return self._answer(self._state, 1.0, 1.0, full=True)

    def _part(self, given: Floats, dirty: float) -> Frame:
        model, state, thresholds = self._model, self._state, self.thresholds
        assert state is not None
        started, name = model.clock(), model.plan.input
        places = self._change.take_over(given, state.frame, state.kept[name], model.network.pads[name])
        work = model.network.step(state, places, thresholds.alpha, care=thresholds.care) / max(model.plan.work, 1)
        self._frames += 1
        self._cost += self._runs(started)
        found = self._answer(state, work, dirty)
        if not self._renews and self._frames >= ENOUGH and self._cost > WORTH * (1 + self._frames):
            self._current = False
            self._failures += 1
        return found

    def _answer(self, state: State, work: float, dirty: float, full: bool = False) -> Frame:
        outputs = tuple(state.outputs[name] for name in self._model.plan.outputs)
        self._last.keep(state.frame, outputs)
        if work and not all(np.isfinite(each).all() for each in outputs if each.dtype.kind == "f"):
            self._current, self._state = False, None  # what overflowed once would stay so
            self._last.forget()
        return Frame(outputs, work, dirty, full)
