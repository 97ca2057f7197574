"""Reads what other nodes publish, and notices when a stream was trimmed beyond this node or lost by Redis.

How a node finds its way back, per function:

- *Redis was away*: reading goes on behind the last record read; nothing was lost.
- *Trimmed*: the stream went on without this node for longer than it is kept, so invalidations may have been
  missed. The node is told to drop everything of the function (an `Invalidated` with `everything`), and reads
  the whole stream anew; what it has not sent yet is given back to it at the end.
- *Lost*: Redis came back empty or with an older state. Entries live on in the nodes' memories: each node reads
  what there is, then publishes again its invalidations and those live entries (`supply`) that it did not find.
  One node begins, the others wait a random moment, so that most entries are sent once. A duplicate does no
  harm: an id that is known already is ignored.

- *Taken*: somebody put something else at its key. The function is left alone, the others go on; once the key is gone,
  the stream counts as lost.

In every case an entry that was invalidated by its id stays out for good, and one that was created before an
invalidation by tag or of everything stays out however late it arrives.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable

from likewise.errors import JournalError
from likewise.journal import codec
from likewise.journal.buffer import Buffer, Item
from likewise.journal.redis.publisher import Publisher
from likewise.journal.redis.reads import Reads, cancelled
from likewise.journal.redis.refusals import CommandRefused, understood
from likewise.journal.redis.registration_store import RegistrationStore
from likewise.journal.redis.streams import START, Amount, Link, Names, Stream, StreamEntry, StreamId, StreamStatus
from likewise.journal.withdrawals import Withdrawals
from likewise.records import Inserted, Invalidated, Record
from likewise.types import Entry

_log = logging.getLogger(__name__)
_AT_ONCE = 256


class Follower:
    """Follows the streams of all functions.

    batch: most records read of a stream at once.
    block_ms: how long one read waits for news, and how often new functions are looked for.
    republish_within_s: nodes spread over this time when they publish again what Redis lost.
    """

    def __init__(
        self,
        link: Link,
        names: Names,
        buffer: Buffer,
        publisher: Publisher,
        withdrawals: Withdrawals,
        registration_store: RegistrationStore,
        *,
        origin: str,
        batch: int,
        block_ms: int,
        retry_s: tuple[float, float],
        republish_within_s: float,
    ) -> None:
        self._link = link
        self._names = names
        self._buffer = buffer
        self._publisher = publisher
        self._withdrawals = withdrawals
        self._registration_store = registration_store
        self._origin = origin
        self._amount = Amount(batch)
        self._block_ms = block_ms
        self._retry_s = retry_s
        self._republish_within_s = republish_within_s
        self.streams: dict[str, Stream] = {}
        self.live: Callable[[str], Iterable[Entry]] | None = None
        self.failure = ""
        self.resynchronized = 0
        self.republished = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._anew: set[str] = set()
        self._wake = asyncio.Event()

    def expect(self, function: str) -> None:
        """Follow a function from its start; where it is followed already, begin again."""
        if function not in self.streams:
            self.streams[function] = Stream(function, self._origin, self._withdrawals)
        elif self.streams[function].epoch:
            self._anew.add(function)
        self.wake()

    def wake(self) -> None:
        """Look at once what there is to follow, and exchange what is registered."""
        self._wake.set()

    async def replay(self) -> AsyncIterator[list[Record]]:
        """Yield what is registered, then all from the streams' starts up to their present ends. Raises JournalError."""
        with understood():
            if changes := await self._registration_store.exchange():
                yield list(changes)
            self._anew.clear()
            for stream in await self._look():
                try:
                    stream.rewind(await self._status(stream))
                except CommandRefused as error:
                    self._leave_alone(stream, error)
                    continue
                stream.wiped = True  # a replay begins from nothing: this process's own records belong to it
                while not stream.caught_up:
                    count = self._amount.count
                    entries = await self._range(stream, count)
                    if records := stream.admit(entries):
                        yield records
                    if len(entries) < count:
                        break
                stream.wiped = False

    async def follow(self) -> AsyncIterator[list[Record]]:
        """Yield what is news, for ever; while Redis is away, wait for it."""
        reads = Reads(self._link, self._names, self._amount, self._block_ms, self._wake)
        failures = 0
        looked = -1.0
        try:
            while True:
                try:
                    with understood():
                        if looked < 0 or self._wake.is_set() or time.monotonic() - looked >= self._block_ms / 1000:
                            self._wake.clear()
                            if changes := await self._registration_store.exchange():
                                yield list(changes)
                            for stream in await self._look():
                                if records := await self._check(stream):
                                    yield records
                            looked = time.monotonic()
                        reads.begin(self.streams.values())
                        for stream, generation, entries, count in await reads.finished():
                            if generation != stream.generation:
                                continue
                            # A full batch may mean that this node is behind, and the stream is trimmed meanwhile.
                            if len(entries) >= count:
                                if records := await self._check(stream):
                                    yield records
                                if generation != stream.generation:
                                    continue
                            if records := stream.admit(entries):
                                yield records
                            if records := self._arrive(stream):
                                yield records
                    if failures:
                        _log.warning("Redis can be read again.")
                    failures, self.failure = 0, next(filter(None, (each.broken for each in self.streams.values())), "")
                except JournalError as error:
                    failures += 1
                    looked = -1.0  # it may have come back as another
                    if not self.failure:
                        _log.warning("Redis cannot be read; this node goes on alone until it can. %s", error.detail)
                    self.failure = error.detail
                    first, longest = self._retry_s
                    await asyncio.sleep(min(longest, first * 2.0 ** min(failures - 1, 20)) * random.uniform(0.5, 1.0))
        finally:
            await reads.cancel()

    async def close(self) -> None:
        """Stop publishing again."""
        await cancelled(self._tasks)

    async def _look(self) -> list[Stream]:
        for raw in sorted(await self._link.ask("SMEMBERS", self._names.functions)):
            name = raw.decode(errors="replace")  # of others, perhaps: no key has such a name
            if name not in self.streams:
                self.streams[name] = Stream(name, self._origin, self._withdrawals)
        return list(self.streams.values())

    async def _status(self, stream: Stream) -> StreamStatus:
        key, at = self._names.stream(stream.function), str(stream.position)
        epoch_key = self._names.epoch(stream.function)
        epoch = await self._link.ask("GET", epoch_key)
        if epoch is None:
            stream.begins = bool(await self._link.ask("SET", epoch_key, uuid.uuid4().hex, "NX"))
            epoch = await self._link.ask("GET", epoch_key)
        answers = await self._link.ask_many(
            [
                ("XRANGE", key, at, at, "COUNT", 1),
                ("XRANGE", key, "-", "+", "COUNT", 1),
                ("XREVRANGE", key, "+", "-", "COUNT", 1),
            ]
        )
        for answer in answers:
            if isinstance(answer, JournalError):
                raise answer
        position, first, last = answers
        return StreamStatus(
            epoch.decode(errors="replace") if epoch else "",
            StreamId.parse(first[0][0]) if first else None,
            StreamId.parse(last[0][0]) if last else None,
            bool(position),
        )

    async def _check(self, stream: Stream) -> list[Record]:
        """Compare a stream with what this node has read of it; return what the node is to be told."""
        # Taken before the look: what is sent meanwhile may stand behind the end that is read up to.
        pending = self._pending(stream.function)
        try:
            status = await self._status(stream)
        except CommandRefused as error:
            self._leave_alone(stream, error)
            return []
        healed, stream.broken = bool(stream.broken), ""
        known = bool(stream.epoch)
        verdict = "lost" if healed else stream.judge(status)
        anew = stream.function in self._anew
        self._anew.discard(stream.function)
        if not (known or healed):
            stream.rewind(status)
        elif anew and not verdict:
            stream.rewind(status)
            stream.wiped = True
        elif verdict == "lost":
            _log.error("Redis lost the stream of %s; it is read from its start and completed.", stream.function)
            self.resynchronized += 1
            stream.rewind(status)
            stream.seen = set()
            stream.emptied = True
            wait_s = 0.0 if stream.begins else random.uniform(0.2, 1.0) * self._republish_within_s
            task = asyncio.create_task(self._republish(stream, stream.generation, wait_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif verdict == "trimmed":
            _log.warning(
                "The stream of %s was trimmed beyond what this node has read: its entries are dropped and read anew. "
                "Raise stream_entries if this happens often.",
                stream.function,
            )
            self.resynchronized += 1
            stream.rewind(status)
            stream.wiped = True
            stream.unsent = _inserted(pending) | _inserted(self._pending(stream.function))
            # of no moment: what is here goes, and what the stream still has may come in, whenever it was made
            return [Invalidated(stream.function, 0.0, everything=True)]
        stream.begins = False
        return []

    def _leave_alone(self, stream: Stream, error: CommandRefused) -> None:
        if not stream.broken:
            _log.error("%s is not shared until what is at its keys is gone. %s", stream.function, error.detail)
        stream.broken = error.detail

    def _arrive(self, stream: Stream) -> list[Record]:
        """Once a dropped function has been read again, return what this node had not sent when it was dropped."""
        if not (stream.wiped and stream.caught_up):
            return []
        stream.wiped = False
        unsent = stream.unsent | _inserted(self._pending(stream.function))
        stream.unsent = {}
        return [record for record in unsent.values() if not self._withdrawals.covers(stream.function, record.entry)]

    def _pending(self, function: str) -> list[Item]:
        """Return the inserts of a function that Redis has not confirmed."""
        waiting = (*self._publisher.in_flight, *self._buffer.waiting(function))
        return [item for item in waiting if item.function == function and item.kind == codec.INSERTED]

    async def _republish(self, stream: Stream, generation: int, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        while not stream.caught_up and stream.generation == generation:  # noqa: ASYNC110 - the follower moves both
            await asyncio.sleep(0.02)
        if stream.generation != generation:  # lost once more; another task sees to it
            return
        for invalidated in self._withdrawals.records(stream.function):
            self._buffer.append(invalidated, again=True)
        self._publisher.wake()
        sent = 0
        for entry in self.live(stream.function) if self.live is not None else ():
            if entry.id in stream.seen:
                continue
            # Wait for room rather than drop what is newer.
            while len(self._buffer) > self._buffer.max_items // 2:  # noqa: ASYNC110 - the buffer knows no events
                await asyncio.sleep(0.02)
            self._buffer.append(Inserted(stream.function, entry), again=True)
            self._publisher.wake()
            sent += 1
            if sent % _AT_ONCE == 0:
                await asyncio.sleep(0)
        self.republished += sent
        if stream.generation == generation:
            stream.emptied = False
            stream.seen = set()
        _log.warning("%d entries of %s were published again.", sent, stream.function)

    async def _range(self, stream: Stream, count: int) -> list[StreamEntry]:
        start = "-" if stream.position == START else f"({stream.position}"
        key = self._names.stream(stream.function)
        try:
            entries: list[StreamEntry] = await self._link.ask(
                "XRANGE", key, start, str(stream.catch_up_to), "COUNT", count
            )
        except JournalError:
            self._amount.fail()
            raise
        self._amount.take(entries, count)
        return entries


def _inserted(items: Iterable[Item]) -> dict[int, Inserted]:
    """Return the records of inserts by the id of their entry."""
    records = (codec.decode(item.frame) for item in items)
    return {record.entry.id: record for record in records if isinstance(record, Inserted)}
