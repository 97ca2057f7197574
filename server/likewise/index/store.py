"""Keys by slot, kept as they came: for an index that searches something else made of them."""

from __future__ import annotations

import numpy as np

from likewise.types import Keys, Slots

ROWS = 1024
"""Slots in a block; a block is there while one of its slots is in use."""


class KeyStore:
    """Keys in blocks by slot: adding never moves the others, and a block that is empty gives its memory back.

    Another thread may read while slots are added and removed: it finds old, new or torn keys in slots that
    change meanwhile, so it has to learn of those changes by itself.
    """

    def __init__(self, dimension: int) -> None:
        """Set up an empty store for keys of `dimension` numbers."""
        self.dimension = dimension
        self._blocks: list[Keys | None] = []
        self._used: list[int] = []
        self._present = bytearray()

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(block.nbytes for block in self._blocks if block is not None) + len(self._present)

    def put(self, slots: Slots, keys: Keys) -> None:
        """Keep keys, shape (n, dimension), under slots that are free."""
        for slot, key in zip(slots.tolist(), keys, strict=True):
            number, row = divmod(slot, ROWS)
            while number >= len(self._blocks):
                self._blocks.append(None)
                self._used.append(0)
                self._present.extend(bytes(ROWS))
            block = self._blocks[number]
            if block is None:
                block = self._blocks[number] = np.zeros((ROWS, self.dimension), np.float32)
            block[row] = key
            self._used[number] += 1
            self._present[slot] = 1

    def drop(self, slot: int) -> None:
        """Forget the key of a slot; one that has none is a no-op."""
        if not 0 <= slot < len(self._present) or not self._present[slot]:
            return
        number = slot // ROWS
        self._present[slot] = 0
        self._used[number] -= 1
        if not self._used[number]:
            self._blocks[number] = None

    def peek(self, slot: int) -> Keys | None:
        """Return a copy of the key of a slot, shape (1, dimension), or None where it has none."""
        number, row = divmod(slot, ROWS)
        block = self._blocks[number] if number < len(self._blocks) else None
        if block is None or slot >= len(self._present) or not self._present[slot]:
            return None
        found: Keys = block[row : row + 1].copy()
        return found

    def slots(self) -> Slots:
        """Return the slots in use, ascending."""
        return np.flatnonzero(np.frombuffer(bytes(self._present), np.uint8))

    def get(self, slots: Slots) -> Keys:
        """Return a copy of the keys of slots, shape (n, dimension); zeros where a block is gone."""
        found = np.zeros((len(slots), self.dimension), np.float32)
        numbers = slots // ROWS
        for number in np.unique(numbers).tolist():
            block = self._blocks[number]
            if block is not None:
                here = numbers == number
                found[here] = block[slots[here] % ROWS]
        return found
