"""The connections to Redis, and when they are given up.

After a failover the name of a server may stand for another machine, while the old one still answers on connections
that are kept: read-only, loading, without its master. So whatever a server refuses for its own state, and not for what
it was asked, ends all connections; the next attempt resolves the name and signs in anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from likewise.errors import JournalError
from likewise.journal.redis.refusals import is_about_the_data, refusal
from likewise.journal.redis.streams import StreamEntry, StreamId

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
        self._stale: list[Any] = []  # clients whose connections are not to be used again
        self._calls: set[asyncio.Task[Any]] = set()
        kind: Any = RedisCluster if cluster else Redis
        options: dict[str, Any] = {
            "socket_connect_timeout": connect_timeout_s,
            "protocol": 2,
            # The publisher and the follower try again themselves, and must know when it is time to.
            "retry": Retry(NoBackoff(), 1 if cluster else 0),
        }
        if cluster:  # on every so many redirections it would close all connections, those of others in use, too
            options["reinitialize_steps"] = 0
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
        await self._renew(self._client)
        return await self._apart(self._client.execute_command(*command))

    async def ask_many(self, commands: Sequence[Sequence[str | bytes | int]]) -> list[Any]:
        """Send commands at once (`streams.Link`)."""
        await self._renew(self._client)
        pipeline = self._client.pipeline() if self.clustered else self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        answers = await self._apart(pipeline.execute(raise_on_error=False))
        for answer in answers:
            if isinstance(answer, Exception):
                self._judge(answer)
        return [refusal(answer) if isinstance(answer, Exception) else answer for answer in answers]

    async def read(self, positions: Mapping[str, StreamId], count: int, block_ms: int) -> dict[str, list[StreamEntry]]:
        """Read streams behind positions (`streams.Link`)."""
        await self._renew(self._reader)
        ends = (str(position) for position in positions.values())
        command: tuple[str | int, ...] = ("XREAD", "COUNT", count, "BLOCK", block_ms, "STREAMS", *positions, *ends)
        answer = await self._apart(self._execute_read(next(iter(positions)), command))
        return {key.decode(): entries for key, entries in answer or ()}

    async def _execute_read(self, key: str, command: Sequence[str | int]) -> Any:
        """Read from the node that has a key. Left to itself the library asks any, since it looks for keys up front."""
        if not self.clustered:
            return await self._reader.execute_command(*command)
        await self._reader.initialize()
        return await self._reader.execute_command(*command, target_nodes=self._reader.get_node_from_key(key))

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
            self._judge(error)
            raise refusal(error) from error

    def _judge(self, error: Exception) -> None:
        """Give up all connections where a server cannot do what it should for its own state."""
        if not self.clustered and not is_about_the_data(error):  # a cluster's client finds its way by itself
            self._stale = [self._client, self._reader]

    async def _renew(self, client: Any) -> None:
        """Close the connections of a client that were given up; the library opens others when they are needed."""
        if client not in self._stale:
            return
        self._stale.remove(client)
        with suppress(RedisError, OSError):  # it is gone already
            await client.connection_pool.disconnect(inuse_connections=False)

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


def _without_password(url: str) -> str:
    scheme, at, rest = url.rpartition("@")
    return f"{scheme.partition('://')[0]}://…@{rest}" if at else url
