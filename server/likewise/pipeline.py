"""THE FLOW: read → lookup → decide → hit, or infer → learn → insert → journal."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from likewise.errors import LikewiseError, NotCached, TooLarge
from likewise.function.function import Function
from likewise.ports import Journal
from likewise.types import (
    NO_CONTROL,
    Answer,
    Clock,
    Control,
    Entry,
    Input,
    Inserted,
    Invalidated,
    Key,
    Keys,
    Learned,
    Lesson,
    Neighbors,
    Outcome,
    Result,
    Ticket,
    Session,
    Verdict,
)

CLOCKS_DIFFER_S = 5.0
"""How far the clocks of two nodes may be apart: after an invalidation, what a peer stamped up to so much later is not
adopted here either, since it may have been made before. It costs a few inferences, and nothing on a single node."""


class Asked(NamedTuple):
    """A request for the result of a raw input, read."""

    body: bytes
    value: Input
    key: Key
    control: Control
    session: Session | None
    started: float
    """When it came, by perf_counter."""


class Pipeline:
    """Answers requests. One per worker, on its event loop."""

    def __init__(self, journal: Journal, clock: Clock, max_result_bytes: int) -> None:
        """Set up. max_result_bytes: the largest result that is kept or answered."""
        self._journal = journal
        self._clock = clock
        self._max_result_bytes = max_result_bytes
        self._background: set[asyncio.Task[None]] = set()

    async def answer(
        self, fn: Function, media_type: str, body: bytes, control: Control = NO_CONTROL, session: Session | None = None
    ) -> Answer:
        """Return the result for a raw input, from reuse or from the model. Raises LikewiseError.

        session: that of the device that asks; None where it is not known.
        """
        started = perf_counter()
        value, key = await fn.read(media_type, body)
        found = self._look(fn, Asked(body, value, key, control, session, started))
        return found if isinstance(found, Answer) else await found

    def begin(
        self, fn: Function, media_type: str, body: bytes, control: Control = NO_CONTROL, session: Session | None = None
    ) -> Answer | Coroutine[Any, Any, Answer]:
        """Return the result for a small raw input where the cache has it, else what is left to do for it.

        What is left has to be awaited: the policy already counts on its result. Raises LikewiseError.
        """
        started = perf_counter()
        value, key = fn.read_inline(media_type, body)
        return self._look(fn, Asked(body, value, key, control, session, started))

    def _look(self, fn: Function, asked: Asked) -> Answer | Coroutine[Any, Any, Answer]:
        if asked.control.no_store:
            return self._bypass(fn, asked.value)
        if fn.in_flight and not asked.control.no_cache:
            return self._join(fn, asked)
        return self._decide(fn, asked, fn.lookup(asked.key), Outcome.HIT)

    async def _join(self, fn: Function, asked: Asked) -> Answer:
        neighbors, outcome = fn.lookup(asked.key), Outcome.HIT
        same = fn.in_flight.same(asked.body)
        if same is not None and (answer := await asyncio.shield(same.done)) is not None:
            return self._finish(fn, self._share(fn, answer), asked.started)
        near = fn.in_flight.near(asked.key, neighbors, fn.confident)
        if near is not None:
            await asyncio.shield(near.done)
            outcome = Outcome.COALESCED
        if same is not None or near is not None:  # entries came and went while this waited
            neighbors = fn.lookup(asked.key)
        found = self._decide(fn, asked, neighbors, outcome)
        return found if isinstance(found, Answer) else await found

    def _decide(
        self, fn: Function, asked: Asked, neighbors: Neighbors, outcome: Outcome
    ) -> Answer | Coroutine[Any, Any, Answer]:
        control = asked.control
        verdict = fn.decide(neighbors, asked.session)
        if verdict.reuse and not control.no_cache and (control is NO_CONTROL or fn.fresh(verdict.slot, control)):
            return self._finish(fn, self._reuse(fn, verdict, outcome), asked.started)
        if control.only_if_cached:
            self._check_later(fn, asked, verdict)
            raise NotCached(f"Nothing that `{fn.id}` has is safe to reuse for this input; ask without only-if-cached.")
        return self._compute_now(fn, asked, verdict)

    def lookup(
        self,
        fn: Function,
        key: Key,
        key_type: str | None = None,
        control: Control = NO_CONTROL,
        session: Session | None = None,
    ) -> Answer | Ticket:
        """Return the answer for a key, or the ticket with which a device may insert what it computes."""
        started = perf_counter()
        name = key_type or fn.key_type
        verdict = fn.judge(key, session, name, started)
        if verdict.reuse and (control is NO_CONTROL or fn.fresh(verdict.slot, control)):
            return self._finish(fn, self._reuse(fn, verdict, Outcome.HIT), started)
        return self._ticket(fn, verdict, name)

    def lookup_many(
        self,
        fn: Function,
        keys: Keys,
        key_type: str | None = None,
        control: Control = NO_CONTROL,
        session: Session | None = None,
    ) -> list[Answer | Ticket]:
        """Return what `lookup` would for each key; shape (n, d), one search for all."""
        name = key_type or fn.key_type
        answers: list[Answer | Ticket] = []
        for neighbors in fn.lookup_many(keys, name):
            verdict = fn.decide(neighbors, session, key_type)
            if verdict.reuse and (control is NO_CONTROL or fn.fresh(verdict.slot, control)):
                answers.append(self._count(fn, self._reuse(fn, verdict, Outcome.HIT)))
            else:
                answers.append(self._ticket(fn, verdict, name))
        return answers

    def insert(self, fn: Function, entry: Entry, ticket: str | None) -> int:
        """Keep a result that a device computed, and learn from it; return the entry's id, or -1 if not kept.

        Without a ticket there was no verdict that it could confirm or contradict: it is kept, and nothing is learned.
        """
        self._check_size(entry.result)
        pending = fn.tickets.redeem(ticket) if ticket else None
        if pending is None:
            self._keep(fn, entry, fn.labels.label(entry.result))
            return entry.id
        lesson, label = self._learn(fn, pending.key_type, pending.verdict, pending.nearest_id, entry.result)
        if not lesson.insert:
            return -1
        self._keep(fn, entry, label)
        return entry.id

    def invalidate(
        self, fn: Function, ids: Sequence[int] = (), tag: str | None = None, everything: bool = False
    ) -> list[int]:
        """Take entries out by exactly one selector, everywhere; return the ids that were here."""
        record = Invalidated(fn.id, self._clock(), tuple(ids), tag, everything)
        removed = fn.adopter.withdraw(record, CLOCKS_DIFFER_S)
        self._journal.append(record)
        return removed

    async def flush(self) -> None:
        """Return once everything so far is as durable as the journal makes it."""
        await self._journal.flush()

    async def settle(self) -> None:
        """Wait for what runs in the background."""
        while self._background:
            await asyncio.wait(self._background)

    # ── the two ends of the flow ───────────────────────────────────────────────────────────────────────────

    def _reuse(self, fn: Function, verdict: Verdict, outcome: Outcome) -> Answer:
        result, id, age_s, ttl_s, cost_s = fn.namespace.use(verdict.slot)
        fn.metrics.saved_s += cost_s
        return Answer(result, outcome, verdict.reason, id, age_s, ttl_s, True, verdict.confidence)

    async def _compute_now(self, fn: Function, asked: Asked, verdict: Verdict) -> Answer:
        return self._finish(fn, await self._compute(fn, asked, verdict), asked.started)

    async def _compute(self, fn: Function, asked: Asked, verdict: Verdict) -> Answer:
        nearest_id = fn.nearest_id(verdict)
        if verdict.reuse:
            verdict = fn.observe(verdict)
        with fn.in_flight.lead(asked.body, asked.key) as leader:
            try:
                result, cost_s = await fn.infer(asked.value, probe=verdict.probe)
                self._check_size(result)
            except BaseException:
                fn.abandon(verdict)
                raise
            lesson, label = self._learn(fn, fn.key_type, verdict, nearest_id, result)
            entry_id = -1
            if lesson.insert:
                entry = self.entry(fn, fn.keys(asked.value, asked.key), result, cost_s)
                self._keep(fn, entry, label)
                entry_id = entry.id
            outcome = Outcome.PROBE if verdict.probe else Outcome.MISS
            ttl_s = fn.namespace.default_ttl_s
            answer = Answer(result, outcome, verdict.reason, entry_id, 0.0, ttl_s, lesson.insert, verdict.confidence)
            leader.done.set_result(answer)
            return answer

    async def _bypass(self, fn: Function, value: Input) -> Answer:
        result, _ = await fn.infer(value, probe=False)
        self._check_size(result)
        fn.metrics.bypassed += 1
        return Answer(result, Outcome.MISS, "no-store")

    def entry(
        self,
        fn: Function,
        keys: dict[str, Key],
        result: Result,
        cost_s: float,
        ttl_s: float | None = None,
        tags: tuple[str, ...] = (),
    ) -> Entry:
        """Return a new entry, stamped now, with an id of its own."""
        now = self._clock()
        limit = fn.namespace.default_ttl_s
        return Entry(
            secrets.randbits(63), keys, result, cost_s, now, now + (limit if ttl_s is None else min(ttl_s, limit)), tags
        )

    # ── small steps ────────────────────────────────────────────────────────────────────────────────────────

    def _keep(self, fn: Function, entry: Entry, label: int) -> None:
        fn.keep(entry, label)
        self._journal.append(Inserted(fn.id, entry))

    def _learn(
        self, fn: Function, key_type: str, verdict: Verdict, nearest_id: int, result: Result
    ) -> tuple[Lesson, int]:
        lesson, label, contradicted = fn.learn(key_type, verdict, nearest_id, result)
        self._withdraw(fn, contradicted)
        if lesson.wrong and verdict.probe:  # what was charged must not be forgotten in a crash
            self._journal.append(Learned(fn.id, key_type, fn.policies[key_type].state()))
        return lesson, label

    def _withdraw(self, fn: Function, entry_id: int) -> None:
        if entry_id >= 0:
            record = Invalidated(fn.id, self._clock(), (entry_id,))
            fn.adopter.withdraw(record)
            self._journal.append(record)

    def _share(self, fn: Function, answer: Answer) -> Answer:
        """Return a leader's answer as that of a follower with the very same input."""
        fn.metrics.saved_s += fn.computing.batcher.mean_cost_s if fn.computing else 0.0
        return Answer(
            answer.result, Outcome.COALESCED, "same input in flight", answer.entry_id, 0.0, answer.ttl_s, answer.stored
        )

    def _ticket(self, fn: Function, verdict: Verdict, key_type: str) -> Ticket:
        outcome = Outcome.PROBE if verdict.probe else Outcome.MISS
        fn.metrics.outcomes[outcome] += 1
        if verdict.reuse:
            verdict = fn.observe(verdict)
        return Ticket(fn.tickets.issue(key_type, verdict, fn.nearest_id(verdict)), outcome)

    def _check_later(self, fn: Function, asked: Asked, verdict: Verdict) -> None:
        """Run the probe behind an answer that may not compute: the coin has fallen, the check is owed."""
        if not verdict.probe:
            fn.abandon(verdict)
            return

        async def check() -> None:
            try:
                await self._compute(fn, asked, verdict)
            except LikewiseError as error:
                fn.metrics.fail(error.slug)

        task = asyncio.create_task(check())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _check_size(self, result: Result) -> None:
        if result.size_bytes > self._max_result_bytes:
            raise TooLarge(
                f"The result has {result.size_bytes} bytes, the limit is {self._max_result_bytes}; "
                "raise max_result_bytes, or return less."
            )

    def _count(self, fn: Function, answer: Answer) -> Answer:
        fn.metrics.outcomes[answer.outcome] += 1
        return answer

    def _finish(self, fn: Function, answer: Answer, started: float) -> Answer:
        fn.metrics.outcomes[answer.outcome] += 1
        fn.metrics.stages["total"].observe(perf_counter() - started)
        return answer
