"""Nodes that share a real Redis, as the tests of the journal need them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from journals import FUNCTION, Model, collect
from redis.asyncio import Redis
from redis_server import RedisServer

from likewise.errors import JournalError
from likewise.journal.redis.journal import RedisJournal
from likewise.records import Inserted, Invalidated
from likewise.types import Entry


class Node:
    """A journal with the state that a server would keep, following others."""

    def __init__(self, journal: RedisJournal) -> None:
        self.journal = journal
        self.model = Model()
        self.words = self.model.words
        self._task = asyncio.create_task(collect(journal, self.model))
        journal.supply(lambda function: [e for (f, _), e in list(self.model.entries.items()) if f == function])

    def insert(self, entry: Entry) -> None:
        self.model.apply([Inserted(FUNCTION, entry)])
        self.journal.append(Inserted(FUNCTION, entry))

    def invalidate(self, **selector: object) -> None:
        record = Invalidated(FUNCTION, selector.pop("at", 1e6), **selector)  # type: ignore[arg-type]
        self.model.apply([record])
        self.journal.append(record)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.journal.close()


Join = Callable[..., Awaitable[Node]]


@pytest.fixture
async def join(redis_server: RedisServer) -> AsyncIterator[Join]:
    """Let nodes join the fresh Redis of this test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(node: str, url: str = redis_server.url, **options: object) -> Node:
            given = {"block_s": 0.05, "timeout_s": 2.0, "republish_within_s": 0.2, "retry_s": (0.02, 0.1), **options}
            journal = RedisJournal(url, node=node, close_timeout_s=1.0, **given)  # type: ignore[arg-type]
            await journal.start()
            joined = Node(journal)
            stack.push_async_callback(joined.end)
            return joined

        yield start


async def ask_redis(server: RedisServer, *command: str, password: str | None = None) -> None:
    """Send one command over a connection of its own."""
    client = Redis(port=server.port, password=password)
    try:
        await client.execute_command(*command)
    finally:
        await client.aclose()


async def flushed(node: Node, timeout_s: float = 20.0) -> None:
    """Wait until what was appended is in Redis."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return await node.journal.flush()
        except JournalError:
            assert time.monotonic() < deadline, node.journal.failure
            await asyncio.sleep(0.02)
