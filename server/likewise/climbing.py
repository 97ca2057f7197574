"""The part of the flow where variants of a model are asked: between what the ladder refused and the full model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Coroutine
from typing import Any

from likewise.decision.opinions import is_worth_an_entry
from likewise.function.function import Function
from likewise.function.holding import Holding, Place
from likewise.function.variants import Climbing, Said, Variant, Variants
from likewise.requests import Answer, Asked, Outcome
from likewise.steps import Steps
from likewise.types import Verdict


class Climber(Steps):
    """The flow's steps, and the climb beyond the neighbors."""

    @abstractmethod
    def _compute_now(
        self, fn: Function, asked: Asked, verdict: Verdict, nearest_id: int | None = None
    ) -> Coroutine[Any, Any, Answer]:
        """Return what computes and answers; nearest_id: as it was when the verdict was made, None: just now."""

    @abstractmethod
    def _decide(
        self, fn: Function, asked: Asked, outcome: Outcome, held: bool = False
    ) -> Answer | Coroutine[Any, Any, Answer]:
        """Return the answer of the first rung that gives one, or what computes it. held: whether it has waited."""

    @staticmethod
    def _place(fn: Function, asked: Asked, holding: Holding, held: bool) -> Place | None:
        """Return where a request waits for probes; None where it need not, has waited, or cannot.

        Sets the tokens that a probe of it may hold where its neighbors leave hardly a doubt.
        """
        if near_certain := fn.neighbors.is_near_certain(asked):
            asked.limit = holding.limit_of_near_certain(asked.account)
        return None if held or asked.limit else holding.take(asked, near_certain)

    async def _hold(self, fn: Function, asked: Asked, holding: Holding, place: Place, outcome: Outcome) -> Answer:
        """Let a request wait for probes, then decide."""
        try:
            with fn.reader.waits(asked):
                while not holding.lets_go(place):
                    holding.wait(place)
                    await self._wait(fn, asked, place.called)
            await fn.reader.again(asked)
            asked.neighbors = None  # entries came and went while this waited
            found = self._decide(fn, asked, outcome, held=True)
        finally:
            holding.leave(place)
        return found if isinstance(found, Answer) else await found

    def _ask_variants(
        self, fn: Function, variants: Variants, asked: Asked, refused: Verdict
    ) -> Answer | Coroutine[Any, Any, Answer]:
        """Answer with a variant of the model what the ladder refused, or compute."""
        if fn.governor is not None and fn.governor.exhausted(asked.account):
            return self._compute_now(fn, asked, refused)  # which refuses it: opinions cost something, too
        if self._has_time(fn, asked) and variants.leave(asked.digest):
            return self._compute_now(fn, asked, refused)
        nearest_id = fn.nearest_id(refused)
        climb = variants.climb(asked, refused)
        found = variants.ask(asked, climb)
        self._charge(fn, asked)
        if isinstance(found, Variant):
            return self._ask_on(fn, variants, asked, climb, found, nearest_id)
        verdict, said = found
        if said is not None and not verdict.probe:
            return self._answer_said(fn, asked, verdict, said)
        return self._compute_now(fn, asked, verdict, nearest_id)

    async def _ask_on(
        self, fn: Function, variants: Variants, asked: Asked, climb: Climbing, variant: Variant, nearest_id: int
    ) -> Answer:
        try:
            verdict, said = await variants.ask_on(asked, climb, variant)
        finally:
            self._charge(fn, asked)
        if said is not None and not verdict.probe:
            return self._answer_said(fn, asked, verdict, said)
        while said is None and (same := fn.in_flight.same(asked.identity)) is not None:  # it was begun meanwhile
            with fn.reader.waits(asked):
                answer = await self._wait(fn, asked, same.follow())
            if answer is not None:
                return self._share(fn, asked, answer)
            await fn.reader.again(asked)
        return await self._compute_now(fn, asked, verdict, nearest_id)

    @staticmethod
    def _has_time(fn: Function, asked: Asked) -> bool:
        """Say whether the full model can take a request at once, within its time and the budgets."""
        if fn.runner is None or fn.runner.queued or asked.left_s < 2.0 * fn.runner.mean_cost_s:
            return False
        return fn.governor is None or not fn.governor.wait_s(asked.account)

    @staticmethod
    def _charge(fn: Function, asked: Asked) -> None:
        """Account for what variants said, whether it is answered or not."""
        if fn.governor is not None and asked.opinions_s:
            fn.governor.charge(asked.account, asked.opinions_s)
        asked.opinions_s = 0.0

    def _answer_said(self, fn: Function, asked: Asked, verdict: Verdict, said: Said) -> Answer:
        result, opinion, cost_s, name = said
        self._check_size(result)
        asked.infer_s, id = cost_s, -1
        if is_worth_an_entry(verdict) and not fn.retired:
            # without its digest: an exact repeat is answered without a coin, so by the full model's results alone
            entry = self.entry(fn, fn.keys(asked), result, cost_s, signature=asked.signature, origin=name)
            self._keep(fn, entry, opinion.label, asked.account)
            id = entry.id
        saved_s = max(0.0, fn.runner.mean_cost_s - cost_s) if fn.runner else 0.0
        if fn.variants is not None:
            fn.variants.note(asked.digest)
        fn.tell(asked, Outcome.VARIANT, verdict.reason, saved_s, result)
        ttl_s, stored = fn.namespace.default_ttl_s, id >= 0
        return Answer(result, Outcome.VARIANT, verdict.reason, id, 0.0, ttl_s, stored, verdict.confidence, name)
