"""S3-FIFO: newcomers prove themselves in a small queue, so that a scan cannot wash out what is used."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from likewise.index.views import ints
from likewise.lookup.columns import Columns
from likewise.types import Slots

SMALL_SHARE = 0.1
MAX_FREQUENCY = 3
MAX_SECOND_CHANCES = 64
"""The main queue's head is passed over at most this often for one victim, so that no eviction takes long."""


class Queue:
    """First in, first out, with removal from anywhere: slots linked through two arrays that several queues share."""

    def __init__(self, after: memoryview[int], before: memoryview[int]) -> None:
        """Set up an empty queue. after and before: the neighbor of each slot, -1 at the ends."""
        self._after = after
        self._before = before
        self.head = self.tail = -1
        self.count = 0

    def push(self, slot: int) -> None:
        """Put a slot that is in no queue at the tail."""
        self._after[slot], self._before[slot] = -1, self.tail
        if self.tail >= 0:
            self._after[self.tail] = slot
        else:
            self.head = slot
        self.tail = slot
        self.count += 1

    def remove(self, slot: int) -> None:
        """Take a slot of this queue out."""
        after, before = self._after[slot], self._before[slot]
        if before >= 0:
            self._after[before] = after
        else:
            self.head = after
        if after >= 0:
            self._before[after] = before
        else:
            self.tail = before
        self.count -= 1


class S3Fifo:
    """Evicts from a small queue what was not used since it came, else from the main queue what was not used of late.

    An id that was evicted from the small queue not long ago and comes back (from a peer, or the journal) goes to the
    main queue at once. Source: Yang et al., FIFO queues are all you need for cache eviction (SOSP 2023).
    """

    def __init__(self, columns: Columns, rng: np.random.Generator) -> None:
        """Set up over the columns; the generator is not needed."""
        self._columns = columns
        links = (ints(np.zeros(columns.capacity, np.int32)), ints(np.zeros(columns.capacity, np.int32)))
        self._small = Queue(*links)
        self._main = Queue(*links)
        self._is_main = bytearray(columns.capacity)
        self._ghosts: OrderedDict[int, None] = OrderedDict()

    def inserted(self, slot: int) -> None:
        """Take note of a new entry."""
        self._columns.used_of[slot] = 0
        known = self._columns.id_of[slot] in self._ghosts
        self._is_main[slot] = known
        (self._main if known else self._small).push(slot)

    def touched(self, slot: int) -> None:
        """Take note of a use."""
        if self._columns.used_of[slot] < MAX_FREQUENCY:
            self._columns.used_of[slot] += 1

    def removed(self, slot: int) -> None:
        """Take note that an entry is gone, for whatever reason."""
        (self._main if self._is_main[slot] else self._small).remove(slot)

    def victim(self) -> int:
        """Return the slot to give up."""
        small, main, used_of = self._small, self._main, self._columns.used_of
        moves = 0
        while True:
            total = small.count + main.count
            if small.count and (small.count >= SMALL_SHARE * total or not main.count):
                slot = small.head
                if not used_of[slot] or moves >= MAX_SECOND_CHANCES:
                    self._remember(self._columns.id_of[slot])
                    return slot
                small.remove(slot)
                main.push(slot)
                self._is_main[slot] = 1
                used_of[slot] = 0
            else:
                slot = main.head
                if not used_of[slot] or moves >= MAX_SECOND_CHANCES:
                    return slot
                used_of[slot] -= 1
                main.remove(slot)
                main.push(slot)
            moves += 1

    def worst(self, slots: Slots) -> int:
        """Return which of these was used least, as far as is remembered; the oldest, of several."""
        columns = self._columns
        ties = slots[columns.used[slots] == columns.used[slots].min()]
        return int(ties[columns.order[ties].argmin()])

    def _remember(self, id: int) -> None:
        self._ghosts[id] = None
        while len(self._ghosts) > self._small.count + self._main.count:
            self._ghosts.popitem(last=False)
