"""Keeping state beyond a request: replay at start, following peers, journaling what policies learned, expiry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager, suppress

from likewise.errors import JournalError, LikewiseError
from likewise.functions import Function, Registry
from likewise.ports import Journal
from likewise.types import Inserted, Invalidated, Learned, Record

log = logging.getLogger("likewise.keeping")

PROJECTION = ":projection"
"""After the name of a key type, which has no colon: the record of what its projector learned, not its policy."""


class Keeper:
    """Applies the journal to the functions, and writes to it what the policies learned."""

    def __init__(
        self,
        registry: Registry,
        journal: Journal,
        missing: MutableMapping[str, str],
        degraded: MutableMapping[str, str],
        *,
        period_s: float = 2.0,
        expire_period_s: float = 1.0,
    ) -> None:
        """Set up. missing, degraded: told what is not ready and what does not work, by name."""
        self._registry = registry
        self._journal = journal
        self._missing = missing
        self._degraded = degraded
        self._period_s = period_s
        self._expire_period_s = expire_period_s
        self._written: dict[tuple[str, str], int] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the journal, replay and follow it in the background while the block runs; flush and close after."""
        await self._journal.start()
        tasks = [
            asyncio.create_task(self._replay_and_follow()),
            asyncio.create_task(self._write_learned()),
            asyncio.create_task(self._expire()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            self._append_learned()
            await self._journal.close()

    def apply(self, records: Sequence[Record]) -> int:
        """Apply records in order; return how many entries came in."""
        adopted = 0
        for record in records:
            fn = self._function(record.function)
            if fn is None:
                continue
            if isinstance(record, Inserted):
                adopted += fn.adopt(record.entry)
            elif isinstance(record, Invalidated):
                fn.namespace.invalidate(ids=record.ids, tag=record.tag, everything=record.everything)
            else:
                self._restore(fn, record)
        return adopted

    def _function(self, address: str) -> Function | None:
        try:
            return self._registry.get(address)
        except LikewiseError:
            return None  # served no more, or not yet

    def _restore(self, fn: Function, record: Learned) -> None:
        name, projection, _ = record.key_type.partition(PROJECTION)
        learner = (fn.projectors if projection else fn.policies).get(name)
        if learner is None:
            return  # a key type that is gone, or is projected no more
        try:
            learner.restore(record.state)
        except (LikewiseError, KeyError, TypeError, ValueError) as error:
            log.warning("what %s learned cannot be used and is learned anew: %s", fn.id, error)

    async def _replay_and_follow(self) -> None:
        adopted = 0
        self._missing["journal"] = "replaying"
        try:
            async for batch in self._journal.replay():
                for start in range(0, len(batch), 64):
                    adopted += self.apply(batch[start : start + 64])
                    await asyncio.sleep(0)  # requests are served meanwhile
                self._missing["journal"] = f"replaying, {adopted} entries so far"
        except JournalError as error:
            self._degraded["journal"] = error.detail
            log.error("the journal cannot be replayed; starting with what was read: %s", error.detail)
        self._missing.pop("journal", None)
        log.info("replayed the journal: %d entries", adopted)
        async for batch in self._journal.follow():
            for start in range(0, len(batch), 64):
                self.apply(batch[start : start + 64])
                await asyncio.sleep(0)

    async def _write_learned(self) -> None:
        while True:
            await asyncio.sleep(self._period_s)
            self._append_learned()
            up = self._journal.statistics().get("up", 1.0)
            if up:
                self._degraded.pop("journal", None)
            else:
                self._degraded["journal"] = (
                    "not reachable; requests are answered, sharing and keeping resume by themselves"
                )

    def _append_learned(self) -> None:
        for fn in self._registry:
            for key_type, policy in fn.policies.items():
                requests = policy.statistics().requests
                if requests and self._written.get((fn.id, key_type)) != requests:
                    self._written[fn.id, key_type] = requests
                    self._journal.append(Learned(fn.id, key_type, policy.state()))
            for key_type, projector in fn.projectors.items():
                name = key_type + PROJECTION
                if projector.fits and self._written.get((fn.id, name)) != projector.fits:
                    self._written[fn.id, name] = projector.fits
                    self._journal.append(Learned(fn.id, name, projector.state()))

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(self._expire_period_s)
            for fn in self._registry:
                fn.tend()
