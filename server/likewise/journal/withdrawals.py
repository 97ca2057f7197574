"""Invalidations by the time at which they were made, on a clock that nobody can set: what they keep out, and how long.

Nodes stamp invalidations and entries by their own clocks, which may be wrong. An invalidation of a clock that runs
ahead counts as one of the moment at which it arrives, so that it keeps out nothing that is new. An entry from the
future may be as old as an entry can be, so every invalidation that such an entry may precede keeps it out.
"""

from __future__ import annotations

import math
from dataclasses import replace

from likewise.clocks import SteadyClock
from likewise.journal.tombstones import Tombstones
from likewise.records import Invalidated
from likewise.types import Entry

CLOCKS_DIFFER_S = 5.0
"""How far the clocks of two nodes may be apart and still be compared."""


class Withdrawals:
    """Tombstones in the time of a steady clock. Ids never come back; tags and everything by when entries were made."""

    def __init__(
        self,
        clock: SteadyClock,
        *,
        longest_s: float | None = None,
        max_ids: int = 1_000_000,
        max_tags: int | None = None,
    ) -> None:
        """Set up. longest_s: how long an entry lives at most; None: entries from the future are judged elsewhere."""
        self._clock = clock
        self._longest_s = longest_s
        self._tombstones = Tombstones(max_ids, max_tags)

    def __len__(self) -> int:
        return len(self._tombstones)

    @property
    def merged(self) -> int:
        """Tags taken for everything."""
        return self._tombstones.merged

    def add(self, record: Invalidated, margin_s: float = 0.0) -> None:
        """Remember an invalidation; what was made up to `margin_s` later is kept out, too."""
        self._tombstones.add(record, self._until(record) + margin_s, ids_until=math.inf)

    def knows(self, record: Invalidated) -> bool:
        """Say whether an invalidation adds nothing to what is remembered."""
        return self._tombstones.knows(replace(record, at=self._until(record)))

    def covers(self, function: str, entry: Entry) -> bool:
        """Say whether an entry is to be kept out."""
        if not len(self._tombstones):
            return False
        made_at, now = entry.created_at + self._clock.shift(), self._clock.now()
        if self._longest_s is not None and made_at > now + CLOCKS_DIFFER_S:
            made_at = now - self._longest_s
        tombstones = self._tombstones
        return tombstones.covers(function, entry.id, made_at) or tombstones.covers_tags(function, entry.tags, made_at)

    def records(self, function: str) -> list[Invalidated]:
        """Return what is remembered for a function as invalidations, for a journal that lost them."""
        shift = self._clock.shift()
        return [replace(each, at=each.at - shift) for each in self._tombstones.records(function)]

    def _until(self, record: Invalidated) -> float:
        return min(record.at + self._clock.shift(), self._clock.now())
