"""Slots that requests take for as long as they are under way, and that accounts share."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from likewise.shares import Shares


class Slots:
    """So many at once; no account has more than half, and where none is free accounts take turns. For one event loop.

    Within an account whoever came first goes first.
    """

    def __init__(self, limit: int) -> None:
        """Set up. limit: slots, at least 2."""
        self._limit = limit
        self._held: Counter[str] = Counter()
        self._waiting: Shares[asyncio.Future[None]] = Shares()

    def __len__(self) -> int:
        return self._held.total()

    @asynccontextmanager
    async def one(self, account: str) -> AsyncIterator[None]:
        """Wait for a slot, which is held for the block."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.add(account, turn)
        self._grant()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._held[account] -= 1
                if not self._held[account]:
                    del self._held[account]
            else:
                self._waiting.remove(account, turn)
            self._grant()

    def _grant(self) -> None:
        """Let those go ahead for whom there is a slot."""
        while self._held.total() < self._limit:
            account = next((each for each in self._waiting.accounts() if self._held[each] < self._limit // 2), None)
            if account is None:
                return
            turn = self._waiting.oldest(account)
            self._waiting.take(account, turn)
            if not turn.cancelled():
                self._held[account] += 1
                turn.set_result(None)
