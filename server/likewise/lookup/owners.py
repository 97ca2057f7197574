"""Which account brought which entry: one that has over its share of the room makes room itself for what it brings."""

from __future__ import annotations

from collections import Counter

import numpy as np

from likewise.lookup.columns import Columns
from likewise.types import Slots

SCANNED = 2048
"""Namespaces up to this size are searched whole for the entries of an account."""
DRAWN = 256
"""In larger ones so many are drawn at random."""
NOBODY = np.empty(0, np.int64)


class Owners:
    """The accounts of the entries in slots. What came from the journal, or from peers, is that of the empty account."""

    def __init__(
        self, columns: Columns, share: float, limits: tuple[int, int], rng: np.random.Generator | None = None
    ) -> None:
        """Set up. share: of the limits, entries and bytes, that an account may have while others have some; 1: all."""
        self._columns = columns
        self._share = share
        self._limits = limits
        self._rng = rng or np.random.default_rng(0)
        self._of = np.zeros(columns.capacity, np.uint32)
        self._numbers = {"": 0}
        self._names = {0: ""}
        self._entries: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()

    def put(self, slot: int, account: str, size: int) -> None:
        """Take note of a new entry."""
        number = self._numbers.get(account)
        if number is None:
            number = next(each for each in range(len(self._names) + 1) if each not in self._names)
            self._numbers[account], self._names[number] = number, account
        self._of[slot] = number
        self._entries[number] += 1
        self._bytes[number] += size

    def put_many(self, slots: Slots, size: int) -> None:
        """Take note of new entries of the empty account. size: of all together."""
        self._of[slots] = 0
        self._entries[0] += len(slots)
        self._bytes[0] += size

    def drop(self, slot: int, size: int) -> None:
        """Take note that an entry is gone."""
        number = int(self._of[slot])
        self._entries[number] -= 1
        self._bytes[number] -= size
        if number and not self._entries[number]:
            del self._numbers[self._names.pop(number)], self._entries[number], self._bytes[number]

    def crowding(self, account: str, size: int) -> Slots:
        """Return entries of an account of which one has to make room for one more of so many bytes; none: any may.

        It is its own only where it would have over its share, and others have entries as well.
        """
        number = self._numbers.get(account)
        if number is None or self._share >= 1.0:
            return NOBODY
        most, most_bytes = (self._share * each for each in self._limits)
        count = self._entries[number]
        if (count < most and self._bytes[number] + size <= most_bytes) or count == self._entries.total():
            return NOBODY
        columns, high = self._columns, self._columns.high
        if high > SCANNED:
            drawn = self._rng.integers(0, high, DRAWN)
            own: Slots = drawn[(self._of[drawn] == number) & (columns.order[drawn] > 0)]
            if own.size:
                return own
        return np.flatnonzero((self._of[:high] == number) & (columns.order[:high] > 0))
