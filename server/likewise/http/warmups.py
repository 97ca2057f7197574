"""Downloads with which devices warm up, chosen one at a time: each takes up to seconds of the event loop, in slices."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from likewise.errors import Overloaded

MOST = 64
"""Downloads that are chosen or wait for that; half of them may be one account's."""


class WarmUps:
    """The turns of those who warm up at one worker. Belongs to one event loop."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._of: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, account: str) -> AsyncIterator[None]:
        """Wait for a turn, which lasts for the block. Raises Overloaded where too many wait."""
        if self._of.total() >= MOST or self._of[account] >= MOST // 2:
            raise Overloaded(f"{self._of.total()} devices warm up already; ask again in a few seconds.")
        self._of[account] += 1
        try:
            async with self._lock:
                yield
        finally:
            self._of[account] -= 1
            self._of += Counter()  # without accounts that have none
