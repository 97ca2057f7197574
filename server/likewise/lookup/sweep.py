"""Finding what has expired, a few slots at a time."""

from __future__ import annotations

import numpy as np

from likewise.lookup.columns import Columns


class Sweep:
    """Goes round the slots of a namespace; knows when there is nothing to look for."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._hand = 0
        self.soonest = float("inf")
        """A lower bound of all expiries: before it nothing has expired."""
        self._soonest_behind = float("inf")  # of what the sweep has passed, or what came since it began

    def note(self, expires_at: float) -> None:
        """Take note of a new entry, or of the first of many to expire."""
        self.soonest = min(self.soonest, expires_at)
        self._soonest_behind = min(self._soonest_behind, expires_at)

    def expired(self, now: float, limit: int) -> list[int]:
        """Look at the next `limit` slots and return those that have expired, which the caller is to take out."""
        if now < self.soonest:
            return []
        columns = self._columns
        start, end = self._hand, min(self._hand + limit, columns.high)
        part = slice(start, end)
        live = columns.order[part] > 0
        over = columns.expires[part] <= now
        staying = columns.expires[part][live & ~over]
        if staying.size:
            self._soonest_behind = min(self._soonest_behind, float(staying.min()))
        self._hand = end
        if end == columns.high:
            self._hand = 0
            self.soonest, self._soonest_behind = self._soonest_behind, float("inf")
        found: list[int] = (np.flatnonzero(live & over) + start).tolist()
        return found
