"""How many batches run at once, over all functions of a server, and on which threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

from likewise.inference.threads import Threads

MOST_LENT = 8
"""Threads beyond the limit at most."""


class Starter(Protocol):
    """What waits for a worker."""

    is_waiting: bool

    def start(self) -> None:
        """Take the free worker."""


class Workers:
    """How many batches may run at once, over all functions of a server."""

    def __init__(self, executor: Executor, limit: int) -> None:
        self.executor = executor
        self.limit = self.free = limit
        self.lent = 0
        """Threads beyond the limit, for as long as others are in models that take long, or do not end."""
        self._waiting: deque[Starter] = deque()

    def run(self, work: Callable[..., None], *args: object) -> None:
        """Have work done on one of the threads, which says by itself when it is."""
        executor = self.executor
        executor.run(work, *args) if isinstance(executor, Threads) else executor.submit(work, *args)

    def lend(self) -> bool:
        """Go on beside a batch that takes long, on a thread more; return whether there is one."""
        if self.lent >= MOST_LENT or not isinstance(self.executor, Threads):
            return False
        self.lent += 1
        self.executor.extend(self.limit + self.lent)
        self.release()
        return True

    def wait(self, batcher: Starter) -> None:
        """Remember a batcher that has work and found no free worker."""
        if not batcher.is_waiting:
            batcher.is_waiting = True
            self._waiting.append(batcher)

    def release(self) -> None:
        """Give a worker back, and start the batcher that has waited longest."""
        self.free += 1
        while self.free and self._waiting:
            batcher = self._waiting.popleft()
            batcher.is_waiting = False
            batcher.start()
