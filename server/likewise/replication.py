"""Keeping state beyond a request: replay at start, following peers, journaling what policies learned, expiry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import chain, groupby
from pathlib import Path
from time import monotonic, perf_counter

from likewise.errors import JournalError, LikewiseError
from likewise.function.function import Function, Registry
from likewise.function.registrations import Uploads
from likewise.journal.blocks import entries_of, part_of
from likewise.lookup.bulk import blocks, hold, release
from likewise.lookup.saved import restore, save
from likewise.ports import Journal
from likewise.types import (
    Entry,
    EntryBlock,
    Inserted,
    Invalidated,
    Learned,
    Observed,
    Record,
    Registered,
    Unregistered,
)

log = logging.getLogger("likewise.replication")

PROJECTION = ":projection"
"""After the name of a key type, which has no colon: the record of what its projector learned, not its policy."""

SLICE_S = 0.003
"""How long the loop may be busy with the journal before requests have their turn."""


class Pace:
    """How many entries fit into one slice of time; learns it from the slices before. Use as a context manager."""

    def __init__(self) -> None:
        self.count = 32
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        spent = perf_counter() - self._started
        if spent > SLICE_S:
            self.count = max(1, int(self.count * max(0.25, SLICE_S / spent)))
        elif spent < SLICE_S / 2:
            self.count = min(1024, 2 * self.count)


def _indexes_beside(snapshot: Path) -> Path:
    return snapshot.with_name(snapshot.name + ".indexes")


class Keeper:
    """Applies the journal to the functions, and writes to it what the policies learned."""

    def __init__(
        self,
        registry: Registry,
        journal: Journal,
        missing: MutableMapping[str, str],
        degraded: MutableMapping[str, str],
        *,
        uploads: Uploads | None = None,
        period_s: float = 2.0,
        expire_period_s: float = 1.0,
        seal_period_s: float = 300.0,
        evidence_period_s: float = 0.5,
    ) -> None:
        """Set up. missing, degraded: told what is not ready and what does not work, by name.

        uploads: takes the functions that other nodes registered; None: there are none.
        period_s, expire_period_s, seal_period_s, evidence_period_s: between two looks at what was learned, at what
        expired, between two snapshots, and between two records of evidence for other nodes.
        """
        self._registry = registry
        self._journal = journal
        self._missing = missing
        self._degraded = degraded
        self._uploads = uploads
        self._period_s = period_s
        self._expire_period_s = expire_period_s
        self._seal_period_s = seal_period_s
        self._evidence_period_s = evidence_period_s
        self._whole = False  # what is here holds all that the journal had: a snapshot may take its place
        self._sealed: tuple[object, ...] = ()
        self._kept: tuple[object, ...] = ()
        self._written: dict[tuple[str, str], int] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the journal, replay and follow it in the background while the block runs; flush and close after."""
        await self._journal.start()
        self._journal.supply(self._live, self._uploads)
        for fn in self._registry:
            self._journal.expect(fn.id)
        tasks = [
            asyncio.create_task(self._replay_and_follow()),
            asyncio.create_task(self._write_learned()),
            asyncio.create_task(self._tell_evidence()),
            asyncio.create_task(self._expire()),
            asyncio.create_task(self._seal_now_and_then()),
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
            self._append_evidence()
            await self._seal()
            await self._journal.close()

    def apply(self, records: Sequence[Record]) -> int:
        """Apply records in order; return how many entries came in."""
        adopted = 0
        for (address, inserted), group in groupby(records, lambda each: (each.function, isinstance(each, Inserted))):
            fn = self._function(address)
            if fn is None:
                continue
            if inserted:
                adopted += fn.adopter.adopt_many([each.entry for each in group if isinstance(each, Inserted)])
                continue
            for record in group:
                if isinstance(record, Invalidated):
                    fn.adopter.withdraw(record)
                elif isinstance(record, Learned):
                    self._restore(fn, record)
                elif isinstance(record, Observed):
                    fn.evidence.take_in(record)
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
        started = monotonic()
        self._missing["journal"] = "replaying"
        for fn in self._registry:
            hold(fn.namespace)
        try:
            adopted = await self._load()
            await self._restore_indexes()
        finally:
            for fn in self._registry:
                release(fn.namespace)
        self._missing.pop("journal", None)
        log.info("replayed the journal: %d entries in %.1f s", adopted, monotonic() - started)
        async for batch in self._journal.follow():
            await self._apply_slices(batch)

    async def _load(self) -> int:
        """Take in the snapshot, then the records behind it; what cannot be read is left out."""
        adopted = 0
        try:
            async for block in self._journal.blocks():
                adopted += await self._adopt_slices(block)
                self._missing["journal"] = f"replaying, {adopted} entries so far"
            async for batch in self._journal.replay():
                adopted += await self._apply_slices(batch)
                self._missing["journal"] = f"replaying, {adopted} entries so far"
        except JournalError as error:
            self._degraded["journal"] = error.detail
            log.error("the journal cannot be replayed; starting with what was read: %s", error.detail)
        else:
            self._whole = True
        return adopted

    async def _restore_indexes(self) -> None:
        """Search by what was kept beside the snapshot, instead of building it anew."""
        sealed = await asyncio.to_thread(self._journal.sealed)
        if sealed is not None:
            started = monotonic()
            self._missing["journal"] = "reading indexes"
            count = await restore([fn.namespace for fn in self._registry], _indexes_beside(sealed[0]), sealed[1])
            if count:
                log.info("%d indexes are used as they were kept, read in %.1f s", count, monotonic() - started)

    async def _apply_slices(self, records: Sequence[Record]) -> int:
        adopted = 0
        for of_functions, group in groupby(records, lambda each: isinstance(each, Registered | Unregistered)):
            if of_functions:
                for word in group:
                    await self._follow_registration(word)
                continue
            part, at, paced = list(group), 0, Pace()
            while at < len(part):
                end = min(len(part), at + paced.count)
                with paced:
                    adopted += self.apply(part[at:end])
                at = end
                await asyncio.sleep(0)  # requests are served meanwhile
        return adopted

    async def _follow_registration(self, word: Record) -> None:
        """Serve, or serve no more, what another node was told to. What comes behind it waits: it may be its entries."""
        if self._uploads is None:
            return
        place = f"function {word.function.partition('@')[0]}"
        try:
            if isinstance(word, Registered):
                fn = await asyncio.to_thread(self._uploads.adopt, word)
                if fn is not None:
                    self._registry.put(fn)
                    self._journal.expect(fn.id)
                    log.info("serving %s, which was registered on another node", fn.id)
            elif isinstance(word, Unregistered) and await asyncio.to_thread(self._uploads.obey, word):
                self._registry.remove(word.function.partition("@")[0])
                log.info("serving %s no more, it was removed on another node", word.function)
        except Exception as error:  # whatever a model does to its loader: following goes on
            self._degraded[place] = f"{word.function}, registered on another node, is not served here: {error}"
            log.error("%s", self._degraded[place])
        else:
            self._degraded.pop(place, None)

    async def _adopt_slices(self, block: EntryBlock) -> int:
        fn = self._function(block.function)
        if fn is None:
            return 0
        adopted, at, paced = 0, 0, Pace()
        try:
            while at < len(block):
                end = min(len(block), at + paced.count)
                with paced:
                    adopted += fn.adopter.adopt_block(part_of(block, at, end))
                at = end
                await asyncio.sleep(0)
        except LikewiseError as error:
            log.warning("what was kept of %s does not fit it any more and is left out: %s", fn.id, error)
        return adopted

    async def _seal_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._seal_period_s)
            await self._seal()

    async def _seal(self) -> None:
        """Keep a snapshot, unless what is here is not all there was, or nothing changed since the last."""
        await self._seal_entries()
        sealed = await asyncio.to_thread(self._journal.sealed)
        if sealed is None or not self._whole:
            return
        spaces = [fn.namespace for fn in self._registry]
        now = (sealed, *(tuple(space.kinds().items()) for space in spaces))
        if self._kept != now:  # the entries, or what they are searched by, which may be built long after a bulk load
            await save(spaces, _indexes_beside(sealed[0]), sealed[1])
            self._kept = now

    async def _seal_entries(self) -> None:
        now = tuple((fn.id, *fn.namespace.statistics().values()) for fn in self._registry)
        if not self._whole or self._sealed == now:
            return
        try:
            await self._journal.seal(chain.from_iterable(blocks(fn.namespace) for fn in list(self._registry)))
        except JournalError as error:
            log.error("no snapshot could be kept; the next start replays more: %s", error.detail)
        else:
            self._sealed = now

    def _live(self, address: str) -> Iterator[Entry]:
        """Yield a function's live entries, for a journal that lost them; entries may come and go meanwhile."""
        fn = self._function(address)
        if fn is not None:
            for block in blocks(fn.namespace, 256):
                yield from entries_of(block)

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

    async def _tell_evidence(self) -> None:
        while self._journal.shared:
            self._append_evidence()
            await asyncio.sleep(self._evidence_period_s)

    def _append_evidence(self) -> None:
        if self._journal.shared:
            for fn in self._registry:
                for record in fn.evidence.drain():
                    self._journal.append(record)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(self._expire_period_s)
            for fn in self._registry:
                fn.tend()
