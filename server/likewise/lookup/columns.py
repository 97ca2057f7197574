"""What is kept of each entry beside key and result: one array for each fact, 58 bytes for each slot."""

from __future__ import annotations

import numpy as np

from likewise.errors import InvalidValue
from likewise.index.views import floats, ints
from likewise.types import Slots

MAX_CAPACITY = 100_000_000


class Columns:
    """Facts about entries by slot. Arrays for arithmetic, views of the same memory for single facts.

    The arrays have their full length from the start, so they never grow: a page of them takes memory only once it is
    written. Reading one number through a view takes a third of what it takes through an array.
    """

    def __init__(self, capacity: int) -> None:
        """Set up for `capacity` slots. Raises InvalidValue for fewer than 1 or more than 100 million."""
        if not 1 <= capacity <= MAX_CAPACITY:
            raise InvalidValue(f"A capacity of {capacity} entries cannot be used; take 1 to {MAX_CAPACITY}.")
        self.capacity = capacity
        self.ids = np.zeros(capacity, np.int64)
        self.labels = np.zeros(capacity, np.int64)
        self.order = np.zeros(capacity, np.int64)
        """Number of the insertion, from 1; 0 where the slot is free."""
        self.created = np.zeros(capacity, np.float64)
        self.expires = np.zeros(capacity, np.float64)
        self.cost = np.zeros(capacity, np.float32)
        """Seconds."""
        self.size = np.zeros(capacity, np.int32)
        """Bytes of keys, result and tags."""
        self.uses = np.zeros(capacity, np.uint32)
        self.used = np.zeros(capacity, np.uint32)
        """Ticks of the eviction policy; see there."""
        self.media = np.zeros(capacity, np.uint16)
        self.id_of = ints(self.ids)
        self.label_of = ints(self.labels)
        self.order_of = ints(self.order)
        self.created_of = floats(self.created)
        self.expires_of = floats(self.expires)
        self.cost_of = floats(self.cost)
        self.size_of = ints(self.size)
        self.uses_of = ints(self.uses)
        self.used_of = ints(self.used)
        self.media_of = ints(self.media)
        self.high = 0
        """Slots below this have been used."""
        self._free: list[int] = []

    def take(self) -> int:
        """Return a free slot. Raises IndexError where there is none."""
        if self._free:
            return self._free.pop()
        if self.high == self.capacity:
            raise IndexError("no slot is free")
        self.high += 1
        return self.high - 1

    def take_many(self, count: int) -> Slots:
        """Return `count` free slots; those not used before stand last. Raises IndexError where there are fewer."""
        again = min(count, len(self._free))
        if self.high + count - again > self.capacity:
            raise IndexError("not so many slots are free")
        slots = np.empty(count, np.int64)
        if again:
            slots[:again] = self._free[-again:]
            del self._free[-again:]
        slots[again:] = np.arange(self.high, self.high + count - again)
        self.high += count - again
        return slots

    def give(self, slot: int) -> None:
        """Make a slot free again."""
        self.order_of[slot] = 0
        self._free.append(slot)

    def live(self) -> Slots:
        """Return the slots in use, ascending."""
        return np.flatnonzero(self.order[: self.high])

    @property
    def nbytes(self) -> int:
        """Bytes of the slots used so far."""
        arrays = (self.ids, self.labels, self.order, self.created, self.expires)
        arrays_small = (self.cost, self.size, self.uses, self.used, self.media)
        return self.high * sum(each.itemsize for each in (*arrays, *arrays_small)) + 8 * len(self._free)
