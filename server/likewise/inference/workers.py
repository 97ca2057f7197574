"""How many batches run at once, over all functions of a server, and on which threads."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

from likewise.inference.threads import Threads

MOST_LOST = 8
"""Threads that are replaced when they are lost; a server that loses more has to be started again."""

log = logging.getLogger("likewise.inference")


class Starter(Protocol):
    """What waits for a worker."""

    is_waiting: bool

    def start(self) -> None:
        """Take the free worker."""


class Workers:
    """How many batches may run at once, over all functions of a server."""

    def __init__(self, executor: Executor, limit: int) -> None:
        self.executor = executor
        self.free = limit
        self.lost = 0
        """Threads that are lost in models that do not end."""
        self._waiting: deque[Starter] = deque()

    def run(self, work: Callable[..., None], *args: object) -> None:
        """Have work done on one of the threads, which says by itself when it is."""
        executor = self.executor
        executor.run(work, *args) if isinstance(executor, Threads) else executor.submit(work, *args)

    def replace(self) -> None:
        """Go on without a thread that is lost, on another one."""
        self.lost += 1
        log.error("an inference does not end; %d threads are lost so, of %d that are replaced", self.lost, MOST_LOST)
        if isinstance(self.executor, Threads) and self.lost <= MOST_LOST:
            self.executor.replace()
            self.release()

    def found(self) -> None:
        """Take back a thread that was lost, and is done after all."""
        self.lost -= 1
        if self.lost >= MOST_LOST:  # one of those that were not replaced
            self.release()

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
