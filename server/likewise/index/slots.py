"""What all index kinds share: where a slot's key stands, and what may be added."""

from __future__ import annotations

import numpy as np

from likewise.errors import InvalidValue
from likewise.index.views import ints
from likewise.types import Keys, Slots


class SlotMap:
    """Slot to row, as one array of int32: 4 bytes for each slot up to the highest, -1 where there is none."""

    def __init__(self, slots: int = 256) -> None:
        """Set up room for `slots`; it grows as higher ones come."""
        self._rows = np.full(slots, -1, np.int32)
        self._view = ints(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._rows.nbytes

    def _reach(self, slot: int) -> None:
        if slot >= len(self._rows):
            grown = np.full(max(slot + 1, 2 * len(self._rows)), -1, np.int32)
            grown[: len(self._rows)] = self._rows
            self._rows = grown
            self._view = ints(grown)

    def put(self, slots: Slots, rows: Slots) -> None:
        """Set the rows of slots that have none; see check_free."""
        if len(slots) == 1:
            slot = int(slots[0])
            self._reach(slot)
            self._view[slot] = int(rows[0])
        elif len(slots):
            self._reach(int(slots.max()))
            self._rows[slots] = rows

    def check_free(self, slots: Slots) -> None:
        """Raise InvalidValue where a slot has a row already."""
        if len(slots) == 1:
            if self.has(int(slots[0])):
                raise _taken(int(slots[0]))
        else:
            known = slots[slots < len(self._rows)]
            taken = known[self._rows[known] >= 0]
            if taken.size:
                raise _taken(int(taken[0]))

    def set(self, slot: int, row: int) -> None:
        """Change the row of a slot that has one."""
        self._view[slot] = row

    def renumber(self, slots: Slots, rows: Slots) -> None:
        """Change the rows of slots that have one; both of shape (n,)."""
        self._rows[slots] = rows

    def get(self, slots: Slots) -> Slots:
        """Return the rows of slots, -1 where there is none; slots must be within reach."""
        return self._rows[slots].astype(np.int64)

    def get_any(self, slots: Slots) -> Slots:
        """Return the rows of slots, -1 where there is none or they are out of reach."""
        rows = np.full(len(slots), -1, np.int64)
        known = slots < len(self._rows)
        rows[known] = self._rows[slots[known]]
        return rows

    def row(self, slot: int) -> int:
        """Return the row of a slot, or -1."""
        view = self._view
        return view[slot] if 0 <= slot < len(view) else -1

    def has(self, slot: int) -> bool:
        """Say whether a slot has a row."""
        return self.row(slot) >= 0

    def pop(self, slot: int) -> int:
        """Forget a slot; return its row, or -1 where it has none."""
        if not 0 <= slot < len(self._view):
            return -1
        row = self._view[slot]
        self._view[slot] = -1
        return row

    def slots(self) -> Slots:
        """Return the slots that have a row, ascending."""
        return np.flatnonzero(self._rows >= 0)


def _taken(slot: int) -> InvalidValue:
    return InvalidValue(f"Slot {slot} is in the index already; remove it first.")


def check_added(slots: Slots, keys: Keys, dimension: int) -> Keys:
    """Return the keys, C-contiguous float32. Raises InvalidValue unless there is one of the dimension for each slot."""
    keys = np.ascontiguousarray(keys, np.float32)
    if keys.shape != (len(slots), dimension):
        raise InvalidValue(
            f"Keys of shape {keys.shape} for {len(slots)} slots; the index takes ({len(slots)}, {dimension})."
        )
    several = len(slots) > 1
    if len(slots) and int(slots.min() if several else slots[0]) < 0:
        raise InvalidValue("A slot is negative; slots start at 0.")
    if several and len(np.unique(slots)) != len(slots):
        raise InvalidValue("A slot comes twice in one call; give each key a slot of its own.")
    return keys
