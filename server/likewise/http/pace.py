"""Long work on the event loop in slices, between which everybody else is served."""

from __future__ import annotations

import asyncio
from time import perf_counter

SLICE_S = 0.001


class Pace:
    """Measures how long one request has kept the event loop."""

    def __init__(self, slice_s: float = SLICE_S) -> None:
        """Begin now."""
        self._slice_s = slice_s
        self._until = perf_counter() + slice_s

    async def rest(self) -> None:
        """Let others go first where the slice is used up; call it between two steps."""
        if perf_counter() >= self._until:
            await asyncio.sleep(0)
            self._until = perf_counter() + self._slice_s
