"""Threads that run what is handed to them, first come, first served."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

LAST_S = 60.0
"""Threads that are not done this long after the end are left alone."""

Work = tuple[Callable[..., object], tuple[Any, ...], "Future[Any] | None"]


class Threads(Executor):
    """An executor that also takes work whose end nobody waits for, at a third of the price.

    `ThreadPoolExecutor` makes a future, two locks and a condition for each call and settles them on the thread: between
    two runs of a model, which empties the core's caches, that is felt.
    """

    def __init__(self, limit: int, name: str, begin: Callable[[], object] = lambda: None) -> None:
        """Set up. limit: threads at most, which come as there is work; name: what theirs begin with.

        begin: what each thread does first; it must not raise.
        """
        self._begin = begin
        self._limit = limit
        self._name = name
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._over = False
        atexit.register(self.shutdown)  # a thread must not be within a model when the interpreter goes

    def run(self, work: Callable[..., object], *args: Any) -> None:
        """Have work done; what it returns is lost, and it must not raise. Raises RuntimeError after `shutdown`."""
        self._put((work, args, None))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return a future of what `fn` returns. Raises RuntimeError after `shutdown`."""
        future: Future[Any] = Future()
        self._put(((lambda: fn(*args, **kwargs)), (), future))
        return future

    def _put(self, work: Work) -> None:
        if len(self._threads) < self._limit:
            self._start()
        if self._over:
            raise RuntimeError("no work is taken after shutdown")
        self._queue.put(work)

    def extend(self, limit: int) -> None:
        """Have so many threads at least, where there is work for them."""
        self._limit = max(self._limit, limit)

    def _start(self) -> None:
        with self._starting:
            if len(self._threads) < self._limit and not self._over:
                name = f"{self._name}_{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _work(self) -> None:
        self._begin()
        get = self._queue.get
        while (item := get()) is not None:
            work, args, future = item
            if future is None:
                work(*args)
            elif future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:
                    future.set_exception(error)
            del item, work, args, future  # nothing is kept alive while there is no work

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads behind what waits; cancel_futures: what waits is dropped instead."""
        with self._starting:
            self._over = True
        if cancel_futures:
            with suppress(Empty):
                while True:
                    dropped = self._queue.get_nowait()
                    if dropped is not None and dropped[2] is not None:
                        dropped[2].cancel()
        for _ in self._threads:
            self._queue.put(None)
        if wait:
            atexit.unregister(self.shutdown)
            until = monotonic() + LAST_S
            for thread in self._threads:
                thread.join(max(0.0, until - monotonic()))
