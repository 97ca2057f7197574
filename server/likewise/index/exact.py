"""An index that looks at every key: the truth, and the fastest while there are few."""

from __future__ import annotations

import numpy as np

from likewise.index.kernels import Scan
from likewise.index.keyed import ImmediateIndex
from likewise.index.parts import Parts
from likewise.index.slots import SlotMap, check_added
from likewise.index.views import ints
from likewise.types import Key, Keys, Slots

INITIAL_CAPACITY = 256


class ExactIndex(ImmediateIndex):
    """Keys side by side in one array; a removed key's row is taken by the last, so no space is lost."""

    kind = "exact"

    def __init__(self, dimension: int) -> None:
        """Set up an empty index for keys of `dimension` numbers."""
        self._dimension = dimension
        self._count = 0
        self._keys = np.zeros((INITIAL_CAPACITY, dimension), np.float32)
        self._scan = Scan(self._keys)
        self._slots = np.full(INITIAL_CAPACITY, -1, np.int64)
        self._slot_of = ints(self._slots)
        self._rows = SlotMap()

    @property
    def dimension(self) -> int:
        """Length of a key."""
        return self._dimension

    def __len__(self) -> int:
        return self._count

    def add(self, slots: Slots, keys: Keys) -> None:
        """Add keys under slots that are not in the index. Raises InvalidValue for shapes that do not match."""
        keys = check_added(slots, keys, self._dimension)
        self._rows.check_free(slots)
        end = self._count + len(slots)
        if end > len(self._keys):
            self._resize(max(end, 2 * len(self._keys)))
        self._keys[self._count : end] = keys
        self._slots[self._count : end] = slots
        self._rows.put(slots, np.arange(self._count, end, dtype=np.int64))
        self._count = end

    def remove(self, slots: Slots) -> None:
        """Take slots out; unknown ones are a no-op."""
        for slot in slots.tolist():
            row = self._rows.pop(slot)
            if row < 0:
                continue
            self._count -= 1
            last = self._count
            if row != last:
                self._keys[row] = self._keys[last]
                moved = self._slot_of[last]
                self._slot_of[row] = moved
                self._rows.set(moved, row)
        if self._count < len(self._keys) // 4 and len(self._keys) > INITIAL_CAPACITY:
            self._resize(max(INITIAL_CAPACITY, 2 * self._count))

    def hold(self, capacity: int) -> None:
        """Take room for so many keys now, so that the array is not copied as it grows to them.

        Memory is taken only as keys are written; removing most of them gives the room up.
        """
        super().hold(capacity)
        if capacity > len(self._keys):
            self._resize(capacity)

    def _resize(self, capacity: int) -> None:
        keys = np.zeros((capacity, self._dimension), np.float32)
        slots = np.full(capacity, -1, np.int64)
        keys[: self._count] = self._keys[: self._count]
        slots[: self._count] = self._slots[: self._count]
        self._keys, self._slots = keys, slots
        self._slot_of = ints(slots)
        self._scan = Scan(keys)

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, slots), both of shape (n, k), nearest first; +inf and -1 where there are fewer than k."""
        l2_sq, rows = self._scan.search(keys, k, self._count)
        missing = rows < 0
        slots = self._slots[rows]
        slots[missing] = -1
        l2_sq[missing] = np.inf
        return l2_sq, slots

    def search_one(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Return (l2_sq, slots) of the at most k nearest keys, nearest first, without padding."""
        count = self._count
        found = self._scan.search_one(key, k, count)
        l2_sq: list[float] = found.l2_sq.tolist()
        rows: list[int] = found.positions.tolist()
        if count < k:
            l2_sq, rows = l2_sq[:count], rows[:count]
        slot_of = self._slot_of
        return l2_sq, [slot_of[row] for row in rows]

    def has(self, slot: int) -> bool:
        """Say whether a slot is in the index."""
        return self._rows.has(slot)

    def slots(self) -> Slots:
        """Return a copy of the live slots, in no order."""
        return self._slots[: self._count].copy()

    def keys(self, slots: Slots) -> Keys:
        """Return a copy of the keys of live slots, shape (n, d)."""
        found: Keys = self._keys[self._rows.get(slots)]
        return found

    def peek(self, slot: int) -> Keys | None:
        """Return a copy of a slot's key, shape (1, d), or None; may be called in another thread while this changes."""
        while True:
            keys, row = self._keys, self._rows.row(slot)
            if row < 0:
                return None
            found = keys[row : row + 1].copy()
            if self._keys is keys and self._rows.row(slot) == row:  # else it was moved, and its row may be another's
                return found

    def snapshot(self, chunk: int) -> Parts:
        """Return the slots and their keys in parts, read as they are asked for; see KeyedIndex.

        Nothing is copied here and now: copying a million keys is a pause.
        """
        return Parts(self._rows.slots, lambda part, start: self._read(part), chunk)

    def _read(self, slots: Slots) -> Keys:
        """Return copies of the keys of slots, any key for those that are gone; may be called in another thread."""
        found = np.zeros((len(slots), self._dimension), np.float32)
        waiting = np.arange(len(slots))
        while len(waiting):
            keys, asked = self._keys, slots[waiting]
            rows = self._rows.get_any(asked)
            here = (rows >= 0) & (rows < len(keys))
            found[waiting[here]] = keys[rows[here]]
            # a key that was moved while it was read may have been overwritten by another: it is read again
            now = self._rows.get_any(asked)
            waiting = waiting[(now >= 0) & ((now != rows) | (self._keys is not keys))]
        return found

    def memory_bytes(self) -> int:
        """Return the bytes it holds, keys included."""
        return self._keys.nbytes + self._slots.nbytes + self._rows.nbytes
