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
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from likewise.errors import JournalError
from likewise.journal import codec
from likewise.journal.buffer import Buffer
from likewise.journal.redis.follower import Follower
from likewise.journal.redis.publisher import Publisher
from likewise.journal.redis.registration_store import RegistrationStore
from likewise.journal.redis.streams import Names, StreamEntry, StreamId, remember
from likewise.journal.tombstones import Tombstones
from likewise.ports import Registrations
from likewise.types import Clock, Entry, EntryBlock, Invalidated, Record, Registered, Unregistered

_log = logging.getLogger(__name__)
_CLUSTER = {"redis+cluster://": "redis://", "rediss+cluster://": "rediss://"}


class RedisLink:
    """Two clients of one Redis: one for commands, one whose reads may wait for news."""

    def __init__(
        self, url: str, *, cluster: bool | None, timeout_s: float, connect_timeout_s: float, block_s: float
    ) -> None:
        for scheme, plain in _CLUSTER.items():
            if url.startswith(scheme):
                url, cluster = plain + url.removeprefix(scheme), True
        self.clustered = bool(cluster)
        self._calls: set[asyncio.Task[Any]] = set()
        kind: Any = RedisCluster if cluster else Redis
        options: dict[str, Any] = {
            "socket_connect_timeout": connect_timeout_s,
            "protocol": 2,
            # The publisher and the follower try again themselves, and must know when it is time to.
            "retry": Retry(NoBackoff(), 1 if cluster else 0),
        }
        try:
            self._client: Any = kind.from_url(url, socket_timeout=timeout_s, **options)
            self._reader: Any = kind.from_url(url, socket_timeout=timeout_s + block_s, **options)
        except (ValueError, RedisError) as error:
            raise JournalError(
                f"{_without_password(url)!r} is no Redis URL: {error}. Write redis://HOST:PORT/0, rediss:// for TLS, "
                "or redis+cluster://HOST:PORT for a cluster."
            ) from error

    async def ask(self, *command: str | bytes | int) -> Any:
        """Send one command (`streams.Link`)."""
        return await self._apart(self._client.execute_command(*command))

    async def ask_many(self, commands: Sequence[Sequence[str | bytes | int]]) -> list[Any]:
        """Send commands at once (`streams.Link`)."""
        pipeline = self._client.pipeline() if self.clustered else self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        answers = await self._apart(pipeline.execute(raise_on_error=False))
        return [_error(answer) if isinstance(answer, Exception) else answer for answer in answers]

    async def read(self, positions: Mapping[str, StreamId], count: int, block_ms: int) -> dict[str, list[StreamEntry]]:
        """Read streams behind positions (`streams.Link`)."""
        streams = {key: str(position) for key, position in positions.items()}
        answer = await self._apart(self._reader.xread(streams, count=count, block=block_ms))
        return {key.decode(): entries for key, entries in answer or ()}

    async def _apart(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Run a call of the client library in a task of its own.

        In Python 3.11 `asyncio.wait_for`, which the library uses, may swallow a cancellation; then whoever follows
        could not be stopped. `asyncio.wait` never does.
        """
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._forget)
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.cancel()
            raise
        try:
            return task.result()
        except Exception as error:
            # Nothing but the library runs in there. Most of its errors are RedisError or OSError, but when a connection
            # ends at the wrong moment, also AttributeError and others get out of it.
            raise _error(error) from error

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # it is read here where nobody waited for it

    async def close(self) -> None:
        """Close all connections."""
        while self._calls:  # once is enough unless a cancellation is swallowed
            for task in self._calls:
                task.cancel()
            await asyncio.wait(self._calls)
        for client in (self._client, self._reader):
            try:
                await client.aclose()
                if self.clustered:  # a client that was about to begin anew closes nothing by itself
                    await client.nodes_manager.aclose()
                    await client.nodes_manager.aclose("startup_nodes")
            except (RedisError, OSError):  # it is gone already
                continue


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
        self._tombstones = Tombstones(max_tombstones, max_tombstone_tags)
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
            self._tombstones,
            self._registration_store,
            origin=origin,
            batch=batch,
            block_ms=max(1, int(block_s * 1000)),
            retry_s=retry_s,
            republish_within_s=republish_within_s,
            clock=clock,
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
            remember(self._tombstones, record)
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
            states = await self._link.ask("HGETALL", self._names.learned(function, self._node))
            if learned := [record for frame in states.values() if (record := _decoded(frame)) is not None]:
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

    def statistics(self) -> Mapping[str, float]:
        """Return counters and gauges: `up` is 0 while Redis does not answer; `bytes` is what was sent so far."""
        streams = self._follower.streams.values()
        return {
            "appended": self._buffer.appended,
            "written": self._publisher.written,
            "dropped": self._buffer.dropped,
            "pending": len(self._buffer) + len(self._publisher.in_flight) + self._registration_store.pending,
            "pending_bytes": self._buffer.pending_bytes,
            "bytes": self._publisher.written_bytes,
            "up": float(self._task is not None and not self.failure),
            "adopted": self._adopted,
            "replayed": self._replayed,
            "write_failures": self._publisher.write_failures,
            "resynchronized": self._follower.resynchronized,
            "republished": self._follower.republished,
            "tombstones": len(self._tombstones),
            "tombstones_merged": self._tombstones.merged,
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


def _error(error: Exception) -> JournalError:
    return JournalError(f"Redis does not do what it was asked: {type(error).__name__}: {error}. See its own log.")


def _without_password(url: str) -> str:
    scheme, at, rest = url.rpartition("@")
    return f"{scheme.partition('://')[0]}://…@{rest}" if at else url


def _decoded(frame: bytes) -> Record | None:
    try:
        return codec.decode(frame)
    except JournalError:
        return None
