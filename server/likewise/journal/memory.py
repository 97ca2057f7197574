"""The journal that keeps nothing, and a log in memory over which several nodes of one process share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from likewise.journal import codec
from likewise.ports import Registrations
from likewise.records import EntryBlock, Record
from likewise.types import Entry


class SharedLog:
    """What several nodes of one process append, in order; unbounded, for emulating a cluster in tests and demos."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, bytes]] = []
        """Node and frame of each record. Frames, not records, so that nodes never share an array."""
        self.grown = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def append(self, node: str, record: Record) -> None:
        """Add a record and wake who follows. Raises JournalError (codec)."""
        self.frames.append((node, codec.encode(record)))
        task = asyncio.ensure_future(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self.grown:
            self.grown.notify_all()


class MemoryJournal:
    """Keeps nothing beyond the process, and nothing at all without a shared log.

    node: this node's name in the shared log.
    """

    def __init__(self, log: SharedLog | None = None, node: str = "", batch: int = 1000) -> None:
        self._log = log
        self._node = node
        self._batch = batch
        self._at = 0
        self._appended = 0
        self._adopted = 0
        self._up = False

    @property
    def shared(self) -> bool:
        """Whether there is a log to share."""
        return self._log is not None

    async def start(self) -> None:
        """Nothing has to be opened."""
        self._up = True

    def append(self, record: Record) -> None:
        """Count a record, and hand it to the other nodes if there are any."""
        self._appended += 1
        if self._log is not None:
            self._log.append(self._node, record)

    async def flush(self) -> None:
        """Return at once: memory is as durable as it gets here."""

    async def blocks(self) -> AsyncIterator[EntryBlock]:
        """Yield nothing: there is no snapshot."""
        return
        yield  # makes this a generator

    async def replay(self) -> AsyncIterator[Sequence[Record]]:
        """Yield what is in the shared log, or nothing without one."""
        if self._log is not None:
            self._at = 0
            end = len(self._log.frames)
            while self._at < end:
                frames = self._log.frames[self._at : min(end, self._at + self._batch)]
                self._at += len(frames)
                yield [codec.decode(frame) for _, frame in frames]

    async def follow(self) -> AsyncIterator[Sequence[Record]]:
        """Yield what other nodes append behind what was replayed; end at once without a shared log."""
        log = self._log
        while log is not None:
            async with log.grown:
                await log.grown.wait_for(lambda: len(log.frames) > self._at)
            frames = log.frames[self._at : self._at + self._batch]
            self._at += len(frames)
            records = [codec.decode(frame) for node, frame in frames if node != self._node]
            if records:
                self._adopted += len(records)
                yield records

    async def seal(self, blocks: Iterable[EntryBlock], *, prune: bool = True) -> None:
        """Do nothing: there is no snapshot."""

    def sealed(self) -> tuple[Path, str] | None:
        """Return None: there is no snapshot."""
        return None

    def supply(self, live: Callable[[str], Iterable[Entry]], registrations: Registrations | None = None) -> None:
        """Do nothing: what is shared here is never lost while the process lives."""

    def expect(self, function: str) -> None:
        """Do nothing: what is followed is the log of all functions."""

    @property
    def failure(self) -> str:
        """Nothing: memory does not fail."""
        return ""

    @property
    def damage(self) -> str:
        """Nothing: this node keeps no files of it."""
        return ""

    def statistics(self) -> Mapping[str, float]:
        """Return the counters that every journal has."""
        return {
            "appended": self._appended,
            "written": self._appended,
            "dropped": 0,
            "pending": 0,
            "bytes": sum(len(frame) for _, frame in self._log.frames) if self._log is not None else 0,
            "adopted": self._adopted,
            "up": float(self._up),
        }

    async def close(self) -> None:
        """Nothing is held."""
        self._up = False
