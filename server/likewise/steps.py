"""The small steps of the pipeline: to make, keep and withdraw entries, to learn from results, and to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from likewise.errors import DeadlineExceeded, TooLarge
from likewise.function.coalescing import Leader
from likewise.function.function import Function
from likewise.ports import Journal
from likewise.randomness import system_ids
from likewise.records import Inserted, Invalidated, Learned
from likewise.requests import Answer, Asked, Outcome
from likewise.types import Clock, Entry, Key, Lesson, Result, Verdict

T = TypeVar("T")


class Steps:
    """What the ways through the pipeline have in common. One per worker, on its event loop."""

    def __init__(self, journal: Journal, clock: Clock, max_result_bytes: int) -> None:
        """Set up. max_result_bytes: the largest result that is kept or answered."""
        self._journal = journal
        self._clock = clock
        self._max_result_bytes = max_result_bytes
        self._new_id = system_ids()
        self._background: set[asyncio.Task[Any]] = set()

    def entry(
        self,
        fn: Function,
        keys: dict[str, Key],
        result: Result,
        cost_s: float,
        ttl_s: float | None = None,
        tags: tuple[str, ...] = (),
        digest: bytes = b"",
        signature: str = "",
        origin: str = "",
    ) -> Entry:
        """Return a new entry, stamped now, with an id of its own."""
        now = self._clock()
        limit = fn.namespace.default_ttl_s
        expires_at = now + (limit if ttl_s is None else min(ttl_s, limit))
        id = self._new_id()
        return Entry(id, keys, result, cost_s, now, expires_at, tags, digest=digest, signature=signature, origin=origin)

    async def flush(self) -> None:
        """Return once everything so far is as durable as the journal makes it."""
        await self._journal.flush()

    async def settle(self) -> None:
        """Wait for what runs in the background."""
        while self._background:
            await asyncio.wait(self._background)

    # ── small steps ────────────────────────────────────────────────────────────────────────────────────────

    def _keep(self, fn: Function, entry: Entry, label: int, account: str) -> None:
        if fn.retired:  # its name may be served by another function now
            return
        fn.keep(entry, label, account)
        self._journal.append(Inserted(fn.journal_id, entry))

    def _learn(
        self, fn: Function, key_type: str, verdict: Verdict, nearest_id: int, result: Result
    ) -> tuple[Lesson, int]:
        lesson, label, contradicted = fn.learn(key_type, verdict, nearest_id, result)
        if fn.retired:
            return lesson, label
        self._withdraw(fn, contradicted)
        if lesson.wrong and verdict.probe:  # what was charged must not be forgotten in a crash
            self._journal.append(Learned(fn.journal_id, key_type, fn.policies[key_type].state()))
        return lesson, label

    def secure(self, fn: Function) -> None:
        """Have the journal know what leases hold, so that no crash gives it back."""
        self._journal.append(Learned(fn.journal_id, fn.key_type, fn.policies[fn.key_type].state()))

    def _withdraw(self, fn: Function, entry_id: int) -> None:
        if entry_id >= 0:
            record = Invalidated(fn.journal_id, self._clock(), (entry_id,))
            fn.adopter.withdraw(record)
            self._journal.append(record)

    def _share(self, fn: Function, asked: Asked, answer: Answer) -> Answer:
        """Return a leader's answer as that of a follower with the very same input."""
        reason = "same input in flight"
        fn.tell(asked, Outcome.COALESCED, reason, fn.runner.mean_cost_s if fn.runner else 0.0, answer.result)
        return Answer(answer.result, Outcome.COALESCED, reason, answer.entry_id, 0.0, answer.ttl_s, answer.stored)

    def _run(self, work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """Start work that goes on whoever stops waiting for it."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Answer]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; where nobody did, the budget was told

    def _promising(self, fn: Function, asked: Asked) -> Leader | None:
        """Return the inference in flight that is worth waiting for, if there is one."""
        return fn.in_flight.same(asked.identity) or self._near(fn, asked, Outcome.HIT)

    @staticmethod
    def _near(fn: Function, asked: Asked, outcome: Outcome) -> Leader | None:
        """Return one with another input that is worth waiting for, once."""
        if outcome is Outcome.COALESCED:
            return None
        return fn.in_flight.near(asked.key, fn.neighbors.look_up(asked), fn.confident)

    async def _wait(self, fn: Function, asked: Asked, work: asyncio.Future[T]) -> T:
        """Wait for what others need, too, as long as a request waits for inference.

        Raises Overloaded after that, or DeadlineExceeded where the request gives it less time.
        """
        assert fn.runner is not None
        left_s = asked.left_s
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(work), min(left_s, fn.runner.patience_s))
        if left_s < fn.runner.patience_s:
            raise DeadlineExceeded("The time in Request-Timeout passed while its result was computed for others, too.")
        raise fn.runner.overloaded(f"waited over {fn.runner.patience_s:g} s for inference")

    def _check_size(self, result: Result) -> None:
        if result.size_bytes > self._max_result_bytes:
            raise TooLarge(
                f"The result has {result.size_bytes} bytes, the limit is {self._max_result_bytes}; "
                "raise max_result_bytes, or return less."
            )
