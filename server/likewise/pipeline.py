"""THE FLOW: read → climb the ladder → reuse, or compute → learn → insert → journal."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from math import inf
from time import perf_counter
from typing import Any

from likewise.climbing import Climber
from likewise.errors import NotCached
from likewise.events import Answered
from likewise.function.coalescing import Leader
from likewise.function.function import Function
from likewise.function.tickets import Pending
from likewise.records import Invalidated
from likewise.requests import NO_CONTROL, Answer, Asked, Control, Outcome, Ticket
from likewise.types import Entry, Key, Keys, Reason, Result, Session, Source, Verdict

NOTHING = Verdict(Source.NONE, Reason.NO_OFFER)

# What every hit needs at hand: reading an enumeration's member costs as much as a call, and a named tuple's class takes
# twice as long to call as what it calls.
_HIT = Outcome.HIT
_NONE = Source.NONE
_new = tuple.__new__

CLOCKS_DIFFER_S = 5.0
"""How far the clocks of two nodes may be apart: after an invalidation, what a peer stamped up to so much later is not
adopted here either, since it may have been made before. It costs a few inferences, and nothing on a single node."""


class Pipeline(Climber):
    """Answers requests. One per worker, on its event loop."""

    # ── raw inputs ─────────────────────────────────────────────────────────────────────────────────────────

    async def answer(
        self,
        fn: Function,
        media_type: str,
        body: bytes,
        control: Control = NO_CONTROL,
        session: Session | None = None,
        ticket: str = "",
    ) -> Answer:
        """Return the result for a raw input, from reuse or from the model. Raises LikewiseError.

        session: that of the device that asks; None where it is not known.
        ticket: that of a lookup of the input's key that found nothing; the result is computed, and learned from for it.
        """
        asked = await (fn.reader if ticket else fn).read(media_type, body, control, session)
        if ticket and not (control.no_store or control.only_if_cached or control.stream):
            pending = fn.tickets.redeem(ticket, asked.account)
            if pending is not None:
                return await self._answer_ticket(fn, asked, pending)
        if control.stream and fn.streams and not control.no_store:
            await fn.streams.follow(asked)
            if fn.governor is not None and asked.offered is not None:
                fn.governor.charge(asked.account, asked.offered.cost_s)
        found = self._climb(fn, asked)
        return found if isinstance(found, Answer) else await found

    def begin(
        self, fn: Function, media_type: str, body: bytes, control: Control = NO_CONTROL, session: Session | None = None
    ) -> Answer | Coroutine[Any, Any, Answer]:
        """Return the result for a small raw input where the cache has it, else what is left to do.

        What is left has to be awaited: the policy may count on its result already. Raises LikewiseError.
        """
        asked = fn.read_small(media_type, body, control, session) if control.stream is None else None
        return self.answer(fn, media_type, body, control, session) if asked is None else self._climb(fn, asked)

    def _climb(self, fn: Function, asked: Asked) -> Answer | Coroutine[Any, Any, Answer]:
        if asked.control.no_store:
            return self._bypass(fn, asked)
        if (
            fn.in_flight
            and not asked.control.no_cache
            and asked.offered is None
            and self._promising(fn, asked) is not None
        ):
            return self._join(fn, asked)
        return self._decide(fn, asked, _HIT)

    def _decide(
        self, fn: Function, asked: Asked, outcome: Outcome, held: bool = False
    ) -> Answer | Coroutine[Any, Any, Answer]:
        control = asked.control
        verdict = NOTHING
        holding = fn.holding
        if holding is not None:  # 0: refused before the coin, so that no tokens wait for a probe that waits itself
            asked.limit = holding.limit(asked.account)
        for rung in fn.ladder:
            if (
                holding is not None
                and rung is fn.neighbors
                and asked.limit < inf
                and not (control.no_cache or asked.offered)
                and (place := self._place(fn, asked, holding, held)) is not None
            ):
                return self._hold(fn, asked, holding, place, outcome)
            offer = rung.offer(asked)
            if offer is None:
                continue
            verdict = offer
            if offer.origin is not None and fn.streams is not None and fn.runner is not None:
                if offer.source is not _NONE and not control.no_cache:
                    taken, saved_s = fn.streams.take(asked, offer, fn.runner.mean_cost_s)
                    fn.tell(asked, taken.outcome, taken.reason, saved_s, taken.result)
                    return taken
                break  # one coin for each request
            if (
                offer.source is not _NONE
                and not control.no_cache
                and (control is NO_CONTROL or fn.fresh(offer.slot, control))
            ):
                if rung is fn.repeats:
                    outcome = Outcome.EXACT
                    if asked.session is not None:
                        asked.session.last = offer.label
                return self._reuse(fn, asked, offer, outcome)
        if control.claim is not None:
            verdict = fn.claimed(verdict, control.claim)
        variants = fn.variants
        if (
            variants is not None
            and asked.offered is None
            and not (verdict.probe or control.no_cache or control.only_if_cached)
        ):
            return self._ask_variants(fn, variants, asked, verdict)
        if control.only_if_cached:
            if verdict.probe:  # the coin has fallen: the check is owed, even if nobody waits for it
                leader = fn.in_flight.lead(asked.identity, asked.key)
                self._run(self._compute(fn, asked, verdict, leader, fn.nearest_id(verdict)))
            raise NotCached(f"Nothing that `{fn.id}` has is safe to reuse for this input; ask without only-if-cached.")
        return self._compute_now(fn, asked, verdict)

    async def _join(self, fn: Function, asked: Asked) -> Answer:
        """Wait for an inference in flight where that promises an answer, then decide as ever."""
        outcome = _HIT
        while (leader := (same := fn.in_flight.same(asked.identity)) or self._near(fn, asked, outcome)) is not None:
            with fn.reader.waits(asked):
                answer = await self._wait(fn, asked, leader.follow())
            if same is not None and answer is not None:
                return self._share(fn, asked, answer)
            if same is None:
                outcome, asked.neighbors = Outcome.COALESCED, None  # entries came and went while this waited
            await fn.reader.again(asked)
        found = self._decide(fn, asked, outcome)
        return found if isinstance(found, Answer) else await found

    # ── keys ───────────────────────────────────────────────────────────────────────────────────────────────

    def lookup(
        self,
        fn: Function,
        key: Key,
        key_type: str | None = None,
        control: Control = NO_CONTROL,
        session: Session | None = None,
    ) -> Answer | Ticket:
        """Return the answer for a key, or the ticket with which a device may insert what it computes."""
        if control.no_store:
            return self._turn_away(fn)
        limit = fn.tickets.allowance(session)
        asked = Asked(key_type or fn.key_type, key, session, control, perf_counter(), limit, True)
        verdict = fn.neighbors.offer(asked)
        if control is NO_CONTROL and verdict.source is not _NONE:
            return self._reuse(fn, asked, verdict, _HIT)
        return self._hand_out(fn, asked, verdict)

    async def lookup_input(
        self, fn: Function, media_type: str, body: bytes, control: Control = NO_CONTROL, session: Session | None = None
    ) -> Answer | Ticket:
        """Return what `lookup` would for the primary key of a raw input. Raises LikewiseError."""
        asked = await fn.reader.read(media_type, body, control, session)
        if control.no_store:
            return self._turn_away(fn)
        asked.limit, asked.deferred = fn.tickets.allowance(session), True
        return self._hand_out(fn, asked, fn.neighbors.offer(asked))

    def lookup_many(
        self,
        fn: Function,
        keys: Keys,
        key_type: str | None = None,
        control: Control = NO_CONTROL,
        session: Session | None = None,
    ) -> list[Answer | Ticket]:
        """Return what `lookup` would for each key; shape (n, d), one search for all."""
        if control.no_store:
            return [self._turn_away(fn) for _ in keys]
        name = key_type or fn.key_type
        answers: list[Answer | Ticket] = []
        for key, neighbors in zip(keys, fn.neighbors.look_up_many(name, keys), strict=True):
            asked = Asked(name, key, session, control, -1.0, fn.tickets.allowance(session), True)
            asked.neighbors = neighbors
            answers.append(self._hand_out(fn, asked, fn.neighbors.offer(asked)))
        return answers

    def _hand_out(self, fn: Function, asked: Asked, verdict: Verdict) -> Answer | Ticket:
        control = asked.control
        if verdict.source is not _NONE:
            if not control.no_cache and (control is NO_CONTROL or fn.fresh(verdict.slot, control)):
                return self._reuse(fn, asked, verdict, _HIT)
            verdict = fn.observe(verdict)
        if control.claim is not None:
            verdict = fn.claimed(verdict, control.claim)
        outcome = Outcome.PROBE if verdict.probe else Outcome.MISS
        ticket = fn.tickets.issue(asked.key_type, verdict, fn.nearest_id(verdict), asked.session)
        fn.tell(asked, outcome, verdict.reason)
        return Ticket(ticket, outcome)

    def _turn_away(self, fn: Function) -> Ticket:
        """Return the answer to a lookup that is to leave no trace: compute it yourself, and bring nothing."""
        fn.emit(Answered(fn.id, Outcome.BYPASS, "no-store"))
        return Ticket("", Outcome.BYPASS)

    # ── entries ────────────────────────────────────────────────────────────────────────────────────────────

    def insert(self, fn: Function, entry: Entry, ticket: str | None, account: str = "") -> int:
        """Keep a result that a device computed, and learn from it; return the entry's id, or -1 if not kept.

        Without a ticket there was no verdict that it could confirm or contradict: it is kept, and nothing is learned.
        """
        self._check_size(entry.result)
        pending = fn.tickets.redeem(ticket, account) if ticket else None
        if pending is None:
            self._keep(fn, entry, fn.labels.label(entry.result), account)
            return entry.id
        lesson, label = self._learn(fn, pending.key_type, pending.verdict, pending.nearest_id, entry.result)
        if not lesson.insert:
            return -1
        self._keep(fn, entry, label, account)
        return entry.id

    def redeem(self, fn: Function, ticket: str, result: Result, account: str) -> bool | None:
        """Learn from a result that another worker was brought for a ticket of this one.

        Returns whether it is worth keeping there; None where the ticket is unknown, used, expired or another account's.
        """
        pending = fn.tickets.redeem(ticket, account)
        if pending is None:
            return None
        lesson, _ = self._learn(fn, pending.key_type, pending.verdict, pending.nearest_id, result)
        return lesson.insert

    def invalidate(
        self, fn: Function, ids: Sequence[int] = (), tag: str | None = None, everything: bool = False
    ) -> list[int]:
        """Take entries out by exactly one selector, everywhere; return the ids that were here."""
        record = Invalidated(fn.journal_id, self._clock(), tuple(ids), tag, everything)
        removed = fn.adopter.withdraw(record, CLOCKS_DIFFER_S)
        self._journal.append(record)
        return removed

    # ── the two ends of the flow ───────────────────────────────────────────────────────────────────────────

    def _reuse(self, fn: Function, asked: Asked, verdict: Verdict, outcome: Outcome) -> Answer:
        result, id, age_s, ttl_s, cost_s = fn.namespace.use(verdict.slot)
        reason = verdict.reason
        fn.tell(asked, outcome, reason, cost_s, result)
        return _new(Answer, (result, outcome, reason, id, age_s, ttl_s, True, verdict.confidence, ""))

    def _compute_now(
        self, fn: Function, asked: Asked, verdict: Verdict, nearest_id: int | None = None
    ) -> Coroutine[Any, Any, Answer]:
        """Return what computes and answers. Others with the same input wait for it from now on, begun or not.

        nearest_id: as `Function.nearest_id` has it of a verdict made just now; of one made before, as it was then.
        """
        if fn.governor is not None and not verdict.probe and asked.offered is None:
            fn.governor.admit(asked.account)
        nearest_id = fn.nearest_id(verdict) if nearest_id is None else nearest_id
        leader = fn.in_flight.lead(asked.identity, asked.key)
        work = self._answer_computed(fn, asked, verdict, leader, nearest_id)
        leader.hold(work, lambda: fn.abandon(verdict))
        return work

    async def _answer_computed(
        self, fn: Function, asked: Asked, verdict: Verdict, leader: Leader, nearest_id: int
    ) -> Answer:
        work = self._compute(fn, asked, verdict, leader, nearest_id)
        # What a probe finds out settles the budget, so it goes on when its client has gone, or cannot wait any longer.
        answer = await (self._wait(fn, asked, self._run(work)) if verdict.probe else work)
        fn.tell(asked, answer.outcome, answer.reason, 0.0, answer.result)
        return answer

    async def _compute(self, fn: Function, asked: Asked, verdict: Verdict, leader: Leader, nearest_id: int) -> Answer:
        if verdict.reuse:
            verdict = fn.observe(verdict)
        with leader:
            started, asked.wanted = perf_counter(), leader.wanted
            try:
                result, cost_s = await fn.compute(asked, probe=verdict.probe)
                self._check_size(result)
            except BaseException:
                fn.abandon(verdict)
                raise
            asked.infer_s = perf_counter() - started
            lesson, label = self._learn(fn, asked.key_type, verdict, nearest_id, result)
            entry_id = -1
            if lesson.insert and not fn.retired:
                entry = self.entry(fn, fn.keys(asked), result, cost_s, digest=asked.digest, signature=asked.signature)
                self._keep(fn, entry, label, asked.account)
                entry_id = entry.id
            elif not lesson.insert:  # its nearest neighbor has an equal result
                fn.repeats.note(asked.digest, nearest_id)
            outcome = Outcome.PROBE if verdict.probe else Outcome.MISS
            ttl_s = fn.namespace.default_ttl_s
            stored = entry_id >= 0
            answer = Answer(result, outcome, verdict.reason, entry_id, 0.0, ttl_s, stored, verdict.confidence)
            leader.done.set_result(answer)
            return answer

    async def _answer_ticket(self, fn: Function, asked: Asked, pending: Pending) -> Answer:
        """Compute what a lookup did not find. It was counted then, so it is not counted again."""
        work = self._compute_ticket(fn, asked, pending)
        return await (self._wait(fn, asked, self._run(work)) if pending.verdict.probe else work)

    async def _compute_ticket(self, fn: Function, asked: Asked, pending: Pending) -> Answer:
        verdict = pending.verdict
        try:
            if fn.governor is not None and not verdict.probe:
                fn.governor.admit(asked.account)
            result, cost_s = await fn.infer(asked, probe=verdict.probe)
            self._check_size(result)
        except BaseException:
            fn.abandon(verdict, pending.key_type)
            raise
        lesson, label = self._learn(fn, pending.key_type, verdict, pending.nearest_id, result)
        entry_id = -1
        if lesson.insert and not fn.retired:
            entry = self.entry(fn, fn.keys(asked), result, cost_s, digest=asked.digest, signature=asked.signature)
            self._keep(fn, entry, label, asked.account)
            entry_id = entry.id
        outcome = Outcome.PROBE if verdict.probe else Outcome.MISS
        return Answer(result, outcome, verdict.reason, entry_id, 0.0, fn.namespace.default_ttl_s, entry_id >= 0)

    async def _bypass(self, fn: Function, asked: Asked) -> Answer:
        if fn.governor is not None:
            fn.governor.admit(asked.account)
        result, _ = await fn.infer(asked, probe=False)
        self._check_size(result)
        fn.tell(asked, Outcome.BYPASS, "no-store")
        return Answer(result, Outcome.BYPASS, "no-store")
