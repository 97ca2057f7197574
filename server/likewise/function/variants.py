"""The variants of a function's model as rungs: what each says of an input, and the climb from one to the next."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from likewise.decision.ladder import Ladder, Step
from likewise.decision.opinions import Opinion, opinion
from likewise.errors import DeadlineExceeded, LikewiseError
from likewise.function.paging import PagedModel, Pager
from likewise.function.parts import Computation
from likewise.function.variant_spec import VariantSpec
from likewise.inference.batching import Batcher
from likewise.inference.model import OnnxModel
from likewise.requests import Asked
from likewise.results.encode import Encode
from likewise.results.labels import Labels
from likewise.types import Lesson, Result, Tensor, Verdict

REMEMBERED = 10_000
"""Inputs of which it is known that a variant answered them."""

_log = logging.getLogger("likewise.function.variants")


class Said(NamedTuple):
    """What a variant answers, and what that is worth."""

    result: Result
    opinion: Opinion
    cost_s: float
    variant: str


class Variant:
    """A cheaper model of a function, ready to be asked."""

    def __init__(
        self,
        step: Step,
        memory_bytes: int,
        tensor_of: Callable[[Asked], Tensor],
        model: PagedModel,
        encode: Encode,
        labels: Labels,
        batcher: Batcher | None = None,
        *,
        quick: bool = True,
    ) -> None:
        """Set up. memory_bytes: what it takes once loaded; tensor_of: what it takes of a request.

        batcher: asks it off the event loop; None: it takes no more than the key. quick: whether it is quick enough to
        be asked right there, about an input that was read there.
        """
        self.step = step
        self.name = step.name
        self._quick = quick
        self.mean_cost_s = 0.0
        """Moving average of the seconds that an opinion takes."""
        self.asked = self.failures = 0
        self._tensor_of = tensor_of
        self.model = model
        self.memory_bytes = memory_bytes
        self.reached_per_s = 1.0
        """How often it was or would have been asked lately."""
        self.reached: Callable[[], int] = lambda: 0
        self.saved_s: Callable[[], float] = lambda: 0.0
        self._encode = encode
        self._labels = labels
        self._batcher = batcher

    def is_quick(self, asked: Asked) -> bool:
        """Say whether it may be asked `now` on the event loop; otherwise it is asked `later`."""
        return self._quick and not (asked.large and self._batcher is not None)

    def now(self, asked: Asked) -> Said:
        """Return its answer, on the calling thread. Raises LikewiseError."""
        started = perf_counter()
        scores = self.model.one(self._tensor_of(asked))
        return self._said(asked, scores, perf_counter() - started)

    async def later(self, asked: Asked) -> Said:
        """Return its answer from a worker. Raises LikewiseError."""
        assert self._batcher is not None
        (scores, *_), cost_s = await self._batcher.infer(asked.decoded(), within_s=asked.left_s, account=asked.account)
        return self._said(asked, scores, cost_s)

    def _said(self, asked: Asked, scores: Tensor, cost_s: float) -> Said:
        asked.opinions_s += cost_s
        result = self._encode([scores])  # refuses what is not finite
        self.asked += 1
        self.mean_cost_s += max(0.02, 1.0 / self.asked) * (cost_s - self.mean_cost_s)
        return Said(result, opinion(scores.ravel().tolist(), self._labels.label(result)), cost_s, self.name)

    def failed(self, function: str, error: LikewiseError) -> None:
        """Count a failure; requests go on without it."""
        self.failures += 1
        if self.failures.bit_count() == 1:  # the first, and ever more rarely
            _log.warning("variant %s of %s failed (%d times so far): %s", self.name, function, self.failures, error)


Climbing = Generator[Variant, Said | None, tuple[Verdict, Said | None]]
"""Yields the variant to ask, takes what it said (None: it failed), returns the verdict and the answer given, if one is.
"""


class Variants:
    """The variants of one function, in order of cost, and the policy that decides about them."""

    def __init__(
        self, function: str, variants: Sequence[Variant], ladder: Ladder, pager: Pager, full_cost_s: Callable[[], float]
    ) -> None:
        """Set up. pager: decides which are loaded; full_cost_s: returns what a full inference takes."""
        self._function = function
        self._variants = variants
        self.ladder = ladder
        self.pager = pager
        self._answered: OrderedDict[bytes, None] = OrderedDict()
        self._begun = False
        for at, each in enumerate(variants):
            each.reached = partial(ladder.reached, at)
            each.saved_s = partial(_saved_s, ladder, at, full_cost_s)
        pager.put(variants)

    def __iter__(self) -> Any:
        return iter(self._variants)

    def leave(self, digest: bytes) -> bool:
        """Say whether an input is the full model's: the first of all, and one that a variant answered before.

        So whoever sends the very same again is soon answered outright, and the budget is at risk once for it. digest:
        empty where the model is not deterministic, so that no repeat is exact.
        """
        if not digest or (self._begun and digest not in self._answered):
            return False
        self._begun = True
        self._answered.pop(digest, None)
        return True

    def note(self, digest: bytes) -> None:
        """Take note that a variant answered an input."""
        if digest:
            self._answered[digest] = None
            if len(self._answered) > REMEMBERED:
                self._answered.popitem(last=False)

    def climb(self, asked: Asked, base: Verdict) -> Climbing:
        """Ask one variant after another about what the neighbors' policy refused."""
        ladder = self.ladder
        climb = ladder.enter(base)
        while (at := ladder.next(climb, asked.limit)) >= 0:
            said = yield self._variants[at]
            if said is None:
                ladder.skip(climb)
                continue
            verdict = ladder.offer(climb, said.opinion, asked.limit)
            if verdict is not None:
                return verdict, said
        return ladder.finish(climb), None

    def ask(
        self, asked: Asked, climb: Climbing, variant: Variant | None = None
    ) -> Variant | tuple[Verdict, Said | None]:
        """Go on while variants are quick; return the first that is not, or how it ended. variant: None at the start."""
        try:
            variant = variant or next(climb)
            while variant.is_quick(asked):
                try:
                    said: Said | None = variant.now(asked)
                except LikewiseError as error:
                    variant.failed(self._function, error)
                    said = None
                variant = climb.send(said)
        except StopIteration as end:
            found: tuple[Verdict, Said | None] = end.value
            return found
        return variant

    async def ask_on(self, asked: Asked, climb: Climbing, variant: Variant) -> tuple[Verdict, Said | None]:
        """Go on with a variant that is not quick, to the end."""
        found: Variant | tuple[Verdict, Said | None] = variant
        while isinstance(found, Variant):
            try:
                said: Said | None = await found.later(asked)
            except DeadlineExceeded:
                raise
            except LikewiseError as error:
                found.failed(self._function, error)
                said = None
            try:
                found = self.ask(asked, climb, climb.send(said))
            except StopIteration as end:
                found = end.value
        assert not isinstance(found, Variant)
        return found

    def learn(self, verdict: Verdict, label: int) -> tuple[Lesson, Verdict, bool]:
        """Take in the full model's label for a request that came this far.

        Returns the lesson on the neighbors and the verdict on them, and whether what would have been answered is wrong.
        """
        base: Verdict = verdict.climb.base
        lesson = self.ladder.learn(verdict, label)
        return lesson, base, verdict.label != label if verdict is not base else lesson.wrong

    def statistics(self) -> Mapping[str, dict[str, float]]:
        """Return what each variant did so far, by name."""
        shares = self.ladder.statistics()
        return {
            each.name: {
                **shares[each.name],
                "failures": each.failures,
                "mean_cost_s": each.mean_cost_s,
                "loaded": each.model.present,
            }
            for each in self._variants
        }


QUICK_S = 0.001
"""Seconds up to which a variant is asked on the event loop, as keys are extracted there; others go to the workers."""


def variants_of(
    rungs: Sequence[tuple[VariantSpec, Computation, Callable[[], OnnxModel]]],
    labels: Labels,
    queue: Callable[[Computation], Batcher],
) -> list[Variant]:
    """Return variants ready to be asked.

    rungs: in order of cost, each with what loads its model again; queue: makes that of one that takes the input.
    """
    built = []
    for spec, found, load in rungs:
        assert isinstance(found.model, OnnxModel)
        step = Step(spec.name, spec.cost, spec.agreement)
        model = PagedModel(found.model, load)
        takes_key = spec.takes == "key"
        quick = takes_key or _is_quick(found.model, model.one)
        tensor_of = _key_of if takes_key else _tensor_of(found)
        batcher = None if takes_key else queue(replace(found, model=model))
        built.append(Variant(step, spec.memory_bytes, tensor_of, model, found.encode, labels, batcher, quick=quick))
    return built


def _saved_s(ladder: Ladder, at: int, full_cost_s: Callable[[], float]) -> float:
    return ladder.saving(at) * full_cost_s()


def _key_of(asked: Asked) -> Tensor:
    return asked.key


def _tensor_of(computation: Computation) -> Callable[[Asked], Tensor]:
    def tensor_of(asked: Asked) -> Tensor:
        return computation.prepare(asked.decoded())

    return tensor_of


def _is_quick(model: OnnxModel, run: Callable[[Tensor], Tensor]) -> bool:
    """Say whether a model may be asked on the event loop: the quickest of a few runs counts."""
    if None in model.shape:
        return False
    zeros = np.zeros([axis or 1 for axis in model.shape], model.dtype)
    times = []
    for _ in range(5):
        started = perf_counter()
        run(zeros)
        times.append(perf_counter() - started)
    return min(times) <= QUICK_S
