"""What is kept of streams: one method with its state for each, bounded in bytes over all functions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from likewise.errors import LateFrame
from likewise.requests import StreamTag
from likewise.shares import Shares
from likewise.video.method import Method
from likewise.video.novelty import Novelty

Key = tuple[str, str, str]
"""Function (`name@version`), account, and what the stream is called: nobody reaches the streams of another account."""


class Stream:
    """One camera at one function. Its frames take turns, in the order in which they came."""

    def __init__(self) -> None:
        self.method: Method | None = None
        self.novelty = Novelty()
        self.frames = 0
        self.nbytes = 0
        self.kept = True
        """False once the store has dropped it; a frame that has its turn may still be computed."""
        self._lock = asyncio.Lock()
        self._arrived = 0
        self._newest = -1  # largest number of a frame that came
        self._last = -1  # largest number of a frame that had its turn
        self._sent = b""  # what that frame was

    @property
    def busy(self) -> bool:
        """Whether a frame has its turn."""
        return self._lock.locked()

    @asynccontextmanager
    async def turn(
        self, tag: StreamTag, waiting: AbstractAsyncContextManager[None] | None = None, sent: bytes = b""
    ) -> AsyncIterator[bool]:
        """Wait for a frame's turn; yield whether it is the next one (False: a later frame went before it).

        waiting: entered while it waits. sent: stands for what was sent; the last frame sent again, by a client that got
        no answer, is no late one. Raises LateFrame for a frame that is late, or was overtaken while it waited, where
        the tag asks for that, and whatever ends the waiting.
        """
        self._arrived += 1
        arrival = self._arrived
        self._newest = max(self._newest, tag.number)
        async with waiting or nullcontext():
            await self._lock.acquire()
        try:
            again = tag.number == self._last and sent == self._sent
            late = 0 <= tag.number <= self._last and not again
            overtaken = self._newest > tag.number if tag.number >= 0 else self._arrived > arrival
            if tag.drop_late and (late or overtaken):
                raise LateFrame(f"Frame of stream `{tag.name}` came late: a newer one is here; go on with the next.")
            if tag.number > self._last:
                self._last, self._sent = tag.number, sent
            self.frames += 1
            yield not late
        finally:
            self._lock.release()


class StreamStore:
    """All streams of a server. Belongs to one event loop.

    limit_bytes: of all state together; limit: streams remembered. Beyond either, the account that has most gives one
    up: the one that it did not use for longest, which starts anew when it comes back.
    """

    def __init__(self, limit_bytes: int = 1 << 30, limit: int = 10_000) -> None:
        self._limit_bytes = limit_bytes
        self._limit = limit
        self._streams: dict[Key, Stream] = {}
        self._shares: Shares[Key] = Shares()
        self._bytes_of: Counter[str] = Counter()
        self.nbytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._streams)

    def get(self, key: Key) -> Stream:
        """Return a stream, a new one at its first frame."""
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = Stream()
            self._shares.add(key[1], key)
            if len(self._streams) > self._limit:
                self._give_up(self._shares.ranked(), key)
        self._shares.use(key[1], key)
        return stream

    def of(self, function: str) -> list[Stream]:
        """Return the streams of a function."""
        return [stream for key, stream in self._streams.items() if key[0] == function]

    def forget(self, function: str) -> None:
        """Drop all streams of a function that is served no more."""
        for key in [key for key in self._streams if key[0] == function]:
            self._drop(key)

    def settle(self, key: Key, stream: Stream) -> None:
        """Take note of what a stream's state takes now, and keep to the limit."""
        now = stream.method.nbytes if stream.method is not None else 0
        if stream.kept:
            self._count(key[1], now - stream.nbytes)
            stream.nbytes = now
        while self.nbytes > self._limit_bytes:
            if not self._give_up([name for name, _ in self._bytes_of.most_common()], key):
                break

    def _give_up(self, accounts: list[str], spared: Key) -> bool:
        """Drop the stream that the first account that has another one did not use for longest, rather one at rest.

        One whose frame has its turn is computed to its end, and what it held is free then. Returns whether there was
        one.
        """
        for account in accounts:
            others = [key for key in self._shares.those_of(account) if key != spared]
            if others:
                self._drop(next((key for key in others if not self._streams[key].busy), others[0]))
                self.evictions += 1
                return True
        return False

    def _drop(self, key: Key) -> None:
        stream = self._streams.pop(key)
        self._shares.remove(key[1], key)
        stream.kept = False
        self._count(key[1], -stream.nbytes)

    def _count(self, account: str, nbytes: int) -> None:
        self.nbytes += nbytes
        self._bytes_of[account] += nbytes
        if not self._bytes_of[account]:
            del self._bytes_of[account]
