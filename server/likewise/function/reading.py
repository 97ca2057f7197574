"""The queue in front of the threads that read large inputs: a small body may decode to very much, and take as long.

Accounts take turns. Within one, what decodes to least goes first, and now and then what has waited longest, so that
nobody waits for a row of huge pictures, and they are read, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from likewise.errors import DeadlineExceeded, Overloaded
from likewise.shares import Shares
from likewise.throughput import TIMELY, Throughput

T = TypeVar("T")

OLDEST_EVERY = 4
"""One in so many turns of an account goes to what has waited longest."""


@dataclass(slots=True, eq=False)
class _Waits:
    turn: asyncio.Future[None]
    account: str
    size: int


def reading_threads() -> int:
    """Return how many threads read inputs."""
    return max(2, os.cpu_count() or 2)


class ReadingQueue:
    """Reads so many inputs at once; bounded in number and in time. Belongs to one event loop."""

    def __init__(
        self, executor: Executor, threads: int | None = None, *, limit: int = 256, patience_s: float = 10.0
    ) -> None:
        """Set up. threads: of the executor; limit: inputs that may wait; patience_s: longest that one does."""
        self._executor = executor
        self._free = threads or reading_threads()
        self._limit = limit
        self._patience_s = patience_s
        self._waiting: Shares[_Waits] = Shares()
        self._turns = 0
        self._throughput = Throughput()

    def __len__(self) -> int:
        return len(self._waiting)

    async def run(self, read: Callable[..., T], *args: Any, size: int, account: str, within_s: float) -> T:
        """Return what `read` returns for the arguments, on a thread.

        size: numbers that the input decodes to, or any measure of the work. within_s: time that an answer is of use.
        Raises Overloaded where too many wait, or it has waited too long, or would; DeadlineExceeded, likewise; and
        whatever `read` raises.
        """
        loop = asyncio.get_running_loop()
        if self._free:
            self._free -= 1
        else:
            await self._wait(_Waits(loop.create_future(), account, size), within_s)
        try:
            work = self._executor.submit(read, *args)
        except BaseException:
            self._release()
            raise
        work.add_done_callback(lambda _: self._done(loop))
        return await asyncio.wrap_future(work)

    def _wait_s(self, waits: _Waits) -> float:
        """Return about how long an input would wait, by the pace of late and what goes before it."""
        ahead = sum(each.size <= waits.size for each in self._waiting.those_of(waits.account))
        return ahead * self._waiting.parties * self._throughput.pace_s(perf_counter())

    async def _wait(self, waits: _Waits, within_s: float) -> None:
        if (wait_s := self._wait_s(waits)) > TIMELY * min(self._patience_s, within_s):
            if within_s <= self._patience_s:
                raise DeadlineExceeded(f"It would take {wait_s:.2g} s to come to it, longer than Request-Timeout.")
            raise self._overloaded(f"It would take {wait_s:.0f} s to come to it")
        if not len(self):
            self._throughput.begin(perf_counter())
        if len(self) >= self._limit:
            self._make_room(waits)
        self._waiting.add(waits.account, waits)
        try:
            async with asyncio.timeout(min(self._patience_s, within_s)):
                await waits.turn
        except BaseException as error:
            self._waiting.remove(waits.account, waits)
            turn = waits.turn
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._release()  # it was its turn in this very moment
            if not isinstance(error, TimeoutError):
                raise
            if within_s <= self._patience_s:
                raise DeadlineExceeded(
                    "The time in Request-Timeout passed before the input could be read; give more, or come back."
                ) from None
            raise self._overloaded(f"An input waited over {self._patience_s:g} s to be read") from None

    def _make_room(self, waits: _Waits) -> None:
        """Refuse the largest input of the account that has most, where that is another's or larger; else this one."""
        waiting = self._waiting
        most = waiting.greediest()
        largest = max(waiting.those_of(most), key=lambda each: each.size)
        if (most != waits.account and waiting.of(most) <= waiting.of(waits.account) + 1) or (
            most == waits.account and largest.size <= waits.size
        ):
            raise self._overloaded(f"{self._limit} inputs wait to be read already")
        waiting.remove(most, largest)
        largest.turn.set_exception(self._overloaded(f"{self._limit} inputs wait to be read already"))

    def _done(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        """Give the thread to whoever's turn it is."""
        waiting = self._waiting
        while waiting:
            account = next(waiting.accounts())
            self._turns += 1
            if self._turns % OLDEST_EVERY == 0:
                waits = waiting.oldest(account)
            else:
                waits = min(waiting.those_of(account), key=lambda each: each.size)
            waiting.take(account, waits)
            self._throughput.served(perf_counter())
            if not waits.turn.done():
                waits.turn.set_result(None)
                return
        self._free += 1

    @staticmethod
    def _overloaded(why: str) -> Overloaded:
        return Overloaded(f"{why}; come back in about a second, or send smaller inputs")
