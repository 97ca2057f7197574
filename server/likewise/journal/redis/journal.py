"""The journal in Redis Streams: many workers and many nodes share what each computes.

Every node searches its own memory, so a request never waits for Redis. `append` puts a record into a bounded
buffer; a task sends the buffer in pipelines; another follows the streams. While Redis is slow or away, records
wait and requests go on; what is dropped from a full buffer is counted. `follower.py` says how a node finds its
way back. Redis 6.2 or later, also as a cluster: all keys of a function are in one slot.

How durable a flushed record is, Redis decides: with `appendonly yes` and `appendfsync everysec`, up to a second
is lost in a crash of its machine.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from likewise.clocks import SteadyClock, monotonic
from likewise.errors import JournalError
from likewise.journal import codec
from likewise.journal.buffer import Buffer
from likewise.journal.redis.follower import Follower
from likewise.journal.redis.link import RedisLink
from likewise.journal.redis.publisher import Publisher
from likewise.journal.redis.refusals import understood
from likewise.journal.redis.registration_store import RegistrationStore
from likewise.journal.redis.streams import Names
from likewise.journal.withdrawals import Withdrawals
from likewise.ports import Registrations
from likewise.records import EntryBlock, Invalidated, Learned, Record, Registered, Unregistered
from likewise.types import Clock, Entry

_log = logging.getLogger(__name__)


class RedisJournal:
    """Shares records with all nodes of one Redis.

    url: `redis://`, `rediss://` (TLS) or `redis+cluster://`, with user, password and database as Redis has them.
    node: this node's name, unique among all; what it learned is found again under it.
    prefix: begins all keys, so that several installations can share one Redis.
    stream_entries: about how many records are kept for a function; a node that was away for longer starts over.
    buffer_records, buffer_bytes: what may wait while Redis is away; then the oldest entries are dropped.
    timeout_s, connect_timeout_s: after these Redis counts as away.
    flush_timeout_s, close_timeout_s: longest that `flush` and `close` wait for it.
    republish_within_s: nodes spread over this time when they publish again what Redis lost.
    max_tombstones: single invalidated entries that are remembered, so that they stay out.
    max_tombstone_tags: invalidated tags that are remembered for each function; beyond, the oldest stand for everything.
    """

    def __init__(
        self,
        url: str,
        *,
        node: str,
        cluster: bool | None = None,
        prefix: str = "likewise",
        stream_entries: int = 100_000,
        buffer_records: int = 65_536,
        buffer_bytes: int = 64 * 2**20,
        batch: int = 1000,
        block_s: float = 0.5,
        timeout_s: float = 2.0,
        connect_timeout_s: float = 1.0,
        flush_timeout_s: float = 5.0,
        close_timeout_s: float = 5.0,
        retry_s: tuple[float, float] = (0.05, 2.0),
        republish_within_s: float = 2.0,
        learned_ttl_s: int = 30 * 86_400,
        max_tombstones: int = 1_000_000,
        max_tombstone_tags: int = 10_000,
        clock: Clock = time.time,
    ) -> None:
        self._link = RedisLink(
            url, cluster=cluster, timeout_s=timeout_s, connect_timeout_s=connect_timeout_s, block_s=block_s
        )
        self._names = Names(prefix)
        self._node = node
        self._flush_timeout_s = flush_timeout_s
        self._close_timeout_s = close_timeout_s
        self._buffer = Buffer(buffer_records, buffer_bytes)
        steady = SteadyClock(clock, monotonic if clock is time.time else None)
        self._withdrawals = Withdrawals(steady, max_ids=max_tombstones, max_tags=max_tombstone_tags)
        # A node that starts again is another origin: what it published before is news to it.
        origin = f"{node}/{uuid.uuid4().hex[:12]}"
        self._publisher = Publisher(
            self._link,
            self._names,
            self._buffer,
            node=node,
            origin=origin,
            stream_entries=stream_entries,
            batch=batch,
            retry_s=retry_s,
            learned_ttl_s=learned_ttl_s,
        )
        self._registration_store = RegistrationStore(self._link, self._names)
        self._follower = Follower(
            self._link,
            self._names,
            self._buffer,
            self._publisher,
            self._withdrawals,
            self._registration_store,
            origin=origin,
            batch=batch,
            block_ms=max(1, int(block_s * 1000)),
            retry_s=retry_s,
            republish_within_s=republish_within_s,
        )
        self._task: asyncio.Task[None] | None = None
        self._adopted = 0
        self._replayed = 0

    @property
    def shared(self) -> bool:
        """True: that is what Redis is for."""
        return True

    async def start(self) -> None:
        """Begin to send. Redis need not be there yet."""
        self._task = asyncio.create_task(self._publisher.run(), name="likewise-publisher")

    def append(self, record: Record) -> None:
        """Buffer one record for sending. Raises JournalError only for a record that the codec refuses."""
        if isinstance(record, Registered | Unregistered):
            self._registration_store.publish(record)
            self._follower.wake()
            return
        self._buffer.append(record)
        if isinstance(record, Invalidated):
            self._withdrawals.add(record)
        self._publisher.wake()

    async def flush(self) -> None:
        """Return when Redis has every record appended so far. Raises JournalError if it does not take it now.

        Functions registered at run time are left to whoever follows.
        """
        if self._task is None:
            raise JournalError("The journal is not open; nothing can be sent.")
        await self._publisher.flush(self._flush_timeout_s)

    async def blocks(self) -> AsyncIterator[EntryBlock]:
        """Yield nothing: Redis keeps no snapshots."""
        return
        yield  # makes this a generator

    async def replay(self) -> AsyncIterator[Sequence[Record]]:
        """Yield what the streams hold, in order per function, then what this node learned.

        Raises JournalError when Redis is away; `follow` then begins with everything as soon as it is there.
        """
        async for records in self._follower.replay():
            self._replayed += len(records)
            yield records
        for function in list(self._follower.streams):
            with understood():
                states = await self._link.ask("HGETALL", self._names.learned(function, self._node))
                learned = [record for frame in states.values() if (record := _learned(frame, function)) is not None]
            if learned:
                yield learned

    async def follow(self) -> AsyncIterator[Sequence[Record]]:
        """Yield what other nodes append, in order per function, for ever; while Redis is away, wait for it.

        When this node has to start over, an `Invalidated` with `everything` comes first (see `follower.py`).
        """
        async for records in self._follower.follow():
            self._adopted += len(records)
            yield records

    async def seal(self, blocks: Iterable[EntryBlock], *, prune: bool = True) -> None:
        """Do nothing: Redis keeps no snapshots."""

    def sealed(self) -> tuple[Path, str] | None:
        """Return None: there is no snapshot."""
        return None

    def supply(self, live: Callable[[str], Iterable[Entry]], registrations: Registrations | None = None) -> None:
        """Say where this node's live entries of a function are, to be published again if Redis loses them.

        live: called on the event loop, and drawn from in pieces; it must stand entries coming and going meanwhile.
        registrations: what this node keeps of the functions registered at run time; put into Redis where it is newer.
        """
        self._follower.live = live
        self._registration_store.registrations = registrations

    def expect(self, function: str) -> None:
        """Follow the stream of a function from its start, also before anybody put anything into it."""
        self._follower.expect(function)

    @property
    def damage(self) -> str:
        """Nothing: this node keeps no files of it."""
        return ""

    def statistics(self) -> Mapping[str, float]:
        """Return counters and gauges: `up` is 0 while Redis does not answer; `bytes` is what was sent so far."""
        streams = self._follower.streams.values()
        return {
            "appended": self._buffer.appended,
            "written": self._publisher.written,
            "dropped": self._buffer.dropped + self._publisher.refused,
            "pending": len(self._buffer) + len(self._publisher.in_flight) + self._registration_store.pending,
            "pending_bytes": self._buffer.pending_bytes,
            "bytes": self._publisher.written_bytes,
            "up": float(self._task is not None and not self.failure),
            "adopted": self._adopted,
            "replayed": self._replayed,
            "write_failures": self._publisher.write_failures,
            "resynchronized": self._follower.resynchronized,
            "republished": self._follower.republished,
            "tombstones": len(self._withdrawals),
            "tombstones_merged": self._withdrawals.merged,
            "refused": sum(stream.refused for stream in streams),
            "corrupt": sum(stream.corrupt for stream in streams) + self._registration_store.refused,
        }

    @property
    def failure(self) -> str:
        """What is wrong at the moment, in words; empty while all is well."""
        return self._publisher.failure or self._follower.failure

    async def close(self) -> None:
        """Send what waits within `close_timeout_s`, then release everything."""
        if self._task is not None:
            try:
                await self._publisher.flush(self._close_timeout_s)
            except JournalError as error:
                _log.error("The journal was closed with %d records unsent: %s", len(self._buffer), error.detail)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._follower.close()
        await self._link.close()


def _learned(frame: bytes, function: str) -> Learned | None:
    try:
        record = codec.decode(frame)
    except JournalError:
        return None
    return record if isinstance(record, Learned) and record.function == function else None
