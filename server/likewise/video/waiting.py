"""Frames that wait for their turn in a stream, or have it: bounded in number, in bytes and in time, by account."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from likewise.errors import DeadlineExceeded, Overloaded
from likewise.shares import Shares


@dataclass(slots=True, eq=False)
class Frame:
    """A frame that is here."""

    account: str
    size_bytes: int
    limit: asyncio.Timeout | None = None
    """Ends its waiting."""
    must_go: bool = False


class FrameRoom:
    """The room that the frames of one function have together. Belongs to one event loop.

    Where there is none left, an account that has a larger share of it than the one that asks gives up the newest of its
    frames that still wait.
    """

    def __init__(self, limit: int = 256, limit_bytes: int = 256 << 20, patience_s: float = 10.0) -> None:
        """Set up. limit_bytes: of decoded frames, but for a single one; patience_s: how long one may wait."""
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._patience_s = patience_s
        self._waiting: Shares[Frame] = Shares()
        self._counts: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._counts.total()

    @contextmanager
    def place(self, account: str, size_bytes: int) -> Iterator[Frame]:
        """Take room for a frame for the block. Raises Overloaded."""
        while len(self) and (
            len(self) >= self._limit or self._bytes.total() + size_bytes > self._limit_bytes
        ):  # a frame alone may have any size
            other = self._other(account, size_bytes)
            if other is None:
                raise self._overloaded()
            self._waiting.remove(other.account, other)
            self._leave(other)
            other.must_go = True
            if other.limit is not None:
                other.limit.reschedule(asyncio.get_running_loop().time())
        frame = Frame(account, size_bytes)
        self._counts[account] += 1
        self._bytes[account] += size_bytes
        try:
            yield frame
        finally:
            if not frame.must_go:
                self._leave(frame)

    @asynccontextmanager
    async def waiting(self, frame: Frame, within_s: float) -> AsyncIterator[None]:
        """Let a frame wait in the block. within_s: time for which an answer is of use.

        Raises Overloaded, DeadlineExceeded.
        """
        self._waiting.add(frame.account, frame)
        try:
            async with asyncio.timeout(min(self._patience_s, within_s)) as frame.limit:
                yield
        except TimeoutError:
            if not frame.must_go and within_s <= self._patience_s:
                raise DeadlineExceeded(
                    "The time in Request-Timeout passed before the frame had its turn; give more, or send fewer."
                ) from None
            raise self._overloaded() from None
        finally:
            frame.limit = None
            self._waiting.remove(frame.account, frame)

    def _other(self, account: str, size_bytes: int) -> Frame | None:
        """Return the frame that makes room for one more of an account."""
        least = self._share(account, 1, size_bytes)
        for each in sorted(self._waiting.accounts(), key=self._share, reverse=True):
            if each != account and self._share(each) > least:
                return self._waiting.newest(each)
        return None

    def _share(self, account: str, more: int = 0, more_bytes: int = 0) -> float:
        return max(
            (self._counts[account] + more) / self._limit, (self._bytes[account] + more_bytes) / self._limit_bytes
        )

    def _leave(self, frame: Frame) -> None:
        self._counts[frame.account] -= 1
        self._bytes[frame.account] -= frame.size_bytes
        if not self._counts[frame.account]:
            del self._counts[frame.account], self._bytes[frame.account]

    def _overloaded(self) -> Overloaded:
        return Overloaded(
            f"{len(self)} frames of streams are here, and this one had no turn; send fewer, or with `late=drop`",
            1.0,
        )
