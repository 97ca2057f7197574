"""Reads of streams that wait for news, one at a time for each stream, and how much each asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from likewise.errors import JournalError
from likewise.journal.redis.streams import Amount, Link, Names, Stream, StreamEntry


class Found(NamedTuple):
    """What came of one stream."""

    stream: Stream
    generation: int
    """The stream's when it was asked for."""
    entries: list[StreamEntry]
    asked: int
    """How many entries were asked for."""


class Reads:
    """The reads that are under way. Belongs to one event loop."""

    def __init__(self, link: Link, names: Names, amount: Amount, block_ms: int, wake: asyncio.Event) -> None:
        """Set up. block_ms: how long one waits for news; wake: set where nobody should wait any longer."""
        self._link = link
        self._names = names
        self._amount = amount
        self._block_ms = block_ms
        self._wake = wake
        self._tasks: dict[tuple[tuple[str, int], ...], asyncio.Task[list[Found]]] = {}
        """By the functions that they read, each with its stream's generation."""

    def begin(self, streams: Iterable[Stream]) -> None:
        """Read those that can be read and are not being read.

        What a stream was asked before it was rewound is not waited for, nor are other streams by a new one.
        """
        busy = {each for group in self._tasks for each in group}
        free = {
            each: stream
            for stream in streams
            if not stream.broken and (each := (stream.function, stream.generation)) not in busy
        }
        groups = [(each,) for each in free] if self._link.clustered else [tuple(free)] if free else []
        for group in groups:
            self._tasks[group] = asyncio.create_task(self._read([free[each] for each in group]))

    async def finished(self) -> list[Found]:
        """Return what came, after some time at the latest. Raises what a read raised, where nothing else came."""
        wake = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait(
                (*self._tasks.values(), wake), timeout=self._block_ms / 1000, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            wake.cancel()
        done = [group for group, task in self._tasks.items() if task.done()]
        found: list[Found] = []
        failed: BaseException | None = None
        for task in [self._tasks.pop(group) for group in done]:
            failed = task.exception() or failed
            if not task.exception():
                found += task.result()
        if failed is not None and not found:
            raise failed
        return found

    async def cancel(self) -> None:
        """End all."""
        await cancelled(self._tasks.values())

    async def _read(self, streams: Sequence[Stream]) -> list[Found]:
        generations = [stream.generation for stream in streams]
        keys = [self._names.stream(stream.function) for stream in streams]
        positions = {key: stream.position for key, stream in zip(keys, streams, strict=True)}
        count = self._amount.count
        try:
            found = await self._link.read(positions, count, self._block_ms)
        except JournalError:
            self._amount.fail()
            raise
        for entries in found.values():
            self._amount.take(entries, count)
        return [
            Found(stream, generation, found[key], count)
            for stream, generation, key in zip(streams, generations, keys, strict=True)
            if key in found
        ]


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended."""
    pending = list(tasks)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
