"""Keeping state beyond a request: replay at start, following peers, journaling what policies learned, expiry."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import chain, groupby
from pathlib import Path
from time import monotonic, perf_counter

from likewise.decision.ladder import Ladder
from likewise.errors import JournalError, LikewiseError
from likewise.function.adoption import SLICE_BYTES, slices
from likewise.function.function import Function
from likewise.function.registrations import Registrations
from likewise.function.registry import Registry
from likewise.journal.blocks import entries_of
from likewise.learning.projections import Projector
from likewise.lookup.bulk import blocks, hold, release
from likewise.lookup.saved import restore, save
from likewise.ports import Journal, Policy
from likewise.records import EntryBlock, Inserted, Invalidated, Learned, Observed, Record, Registered, Unregistered
from likewise.types import Entry

log = logging.getLogger("likewise.replication")

PROJECTION = ":projection"
LADDER = ":ladder"
"""Under which name a function's ladder is kept; no key type can be called so."""
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


def _end(records: Sequence[Record], start: int, count: int) -> int:
    """Return where a slice of at most `count` records ends, which takes in some 256 kB of results or one record."""
    size, end = 0, start
    while end < min(len(records), start + count):
        record = records[end]
        size += record.entry.result.size_bytes if isinstance(record, Inserted) else 0
        if size > SLICE_BYTES and end > start:
            break
        end += 1
    return end


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
        registrations: Registrations | None = None,
        period_s: float = 2.0,
        expire_period_s: float = 1.0,
        seal_period_s: float = 300.0,
        evidence_period_s: float = 0.5,
    ) -> None:
        """Set up. missing, degraded: told what is not ready and what does not work, by name.

        registrations: takes the functions that other nodes registered; None: there are none.
        period_s, expire_period_s, seal_period_s, evidence_period_s: between two looks at what was learned, at what
        expired, between two snapshots, and between two records of evidence for other nodes.
        """
        self._registry = registry
        self._journal = journal
        self._missing = missing
        self._degraded = degraded
        self._registrations = registrations
        self._period_s = period_s
        self._expire_period_s = expire_period_s
        self._seal_period_s = seal_period_s
        self._evidence_period_s = evidence_period_s
        self._whole = False  # what is here holds all that the journal had: a snapshot may take its place
        self._sealed: tuple[object, ...] = ()
        self._seal_soon = asyncio.Event()
        self._kept: tuple[object, ...] = ()
        self._written: dict[tuple[str, str], int] = {}
        self._left_out: Counter[str] = Counter()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the journal, replay and follow it in the background while the block runs; flush and close after."""
        await self._journal.start()
        self._journal.supply(self._live, self._registrations)
        for fn in self._registry:
            self._journal.expect(fn.journal_id)
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
            fn = self._registry.of_journal(address)
            if fn is None:
                if inserted:
                    self._left_out[address] += sum(1 for _ in group)
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

    def _restore(self, fn: Function, record: Learned) -> None:
        name, projection, _ = record.key_type.partition(PROJECTION)
        learner: Policy | Projector | Ladder | None = (fn.projectors if projection else fn.policies).get(name)
        if record.key_type == LADDER and fn.variants is not None:
            learner = fn.variants.ladder
        if learner is None:
            return  # a key type that is gone, or is projected no more
        try:
            learner.restore(record.state)
        except (LikewiseError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
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
        self._report_damage()
        self._missing.pop("journal", None)
        log.info("replayed the journal: %d entries in %.1f s", adopted, monotonic() - started)
        if self._left_out:
            log.info(
                "left out %d entries of the journal: made by functions, specs or files that are not served now (%s)",
                self._left_out.total(),
                ", ".join(address[:100] for address in list(self._left_out)[:10]),
            )
            self._left_out.clear()
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
            # others' records come again once a shared journal is back; a file is not read a second time
            self._degraded["journal" if self._journal.shared else "replay"] = error.detail
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
                for record in group:
                    if self._registrations is not None and isinstance(record, Registered | Unregistered):
                        await self._registrations.follow(record)  # what comes behind it waits: it may be its entries
                continue
            part, at, paced = list(group), 0, Pace()
            while at < len(part):
                end = _end(part, at, paced.count)
                with paced:
                    adopted += self.apply(part[at:end])
                at = end
                await asyncio.sleep(0)  # requests are served meanwhile
        return adopted

    async def _adopt_slices(self, block: EntryBlock) -> int:
        fn = self._registry.of_journal(block.function)
        if fn is None:
            self._left_out[block.function] += len(block)
            return 0
        adopted, paced = 0, Pace()
        try:
            for part in slices(block, lambda: paced.count):
                with paced:
                    adopted += fn.adopter.adopt_block(part)
                await asyncio.sleep(0)
        except LikewiseError as error:
            log.warning("what was kept of %s does not fit it any more and is left out: %s", fn.id, error)
        return adopted

    async def _seal_now_and_then(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._seal_soon.wait(), self._seal_period_s)
            self._seal_soon.clear()
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
        now = tuple((fn.journal_id, *fn.namespace.statistics().values()) for fn in self._registry)
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
        fn = self._registry.of_journal(address)
        if fn is not None:
            for block in blocks(fn.namespace, 256):
                yield from entries_of(block)

    async def _write_learned(self) -> None:
        while True:
            await asyncio.sleep(self._period_s)
            self._append_learned()
            self._report_damage()
            up = self._journal.statistics().get("up", 1.0)
            if up:
                self._degraded.pop("journal", None)
            else:
                why = self._journal.failure.rstrip(".") or "It is not reachable"
                self._degraded["journal"] = f"{why}. Requests are answered; sharing and keeping resume by themselves."

    def _report_damage(self) -> None:
        damage = self._journal.damage
        if damage != self._degraded.get("damage", ""):
            self._sealed = ()  # what is here may be more than what the journal has now
            self._seal_soon.set()
        if damage:
            self._degraded["damage"] = damage
        else:
            self._degraded.pop("damage", None)

    def _append_learned(self) -> None:
        for fn in self._registry:
            for key_type, policy in fn.policies.items():
                requests = policy.statistics().requests
                if requests and self._written.get((fn.journal_id, key_type)) != requests:
                    self._written[fn.journal_id, key_type] = requests
                    self._journal.append(Learned(fn.journal_id, key_type, policy.state()))
            ladder = fn.variants.ladder if fn.variants is not None else None
            if ladder is not None and self._written.get((fn.journal_id, LADDER), 0) != ladder.counters.requests:
                self._written[fn.journal_id, LADDER] = ladder.counters.requests
                self._journal.append(Learned(fn.journal_id, LADDER, ladder.state()))
            for key_type, projector in fn.projectors.items():
                name = key_type + PROJECTION
                if projector.fits and self._written.get((fn.journal_id, name)) != projector.fits:
                    self._written[fn.journal_id, name] = projector.fits
                    self._journal.append(Learned(fn.journal_id, name, projector.state()))

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
