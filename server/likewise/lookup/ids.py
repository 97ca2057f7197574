"""Entry ids to slots, without the memory of a dictionary and without its pause when it grows."""

from __future__ import annotations

from array import array

_SHARDS = 16_384
_MIX = 0x9E3779B97F4A7C15


class IdTable:
    """A hash table of 16,384 short lists of ids with their slots: about 16 bytes for each entry of a million.

    A dictionary of Python integers takes some 170, and stops for 50 ms when it grows at a million.
    """

    def __init__(self) -> None:
        self._ids: list[array[int] | None] = [None] * _SHARDS
        self._slots: list[array[int] | None] = [None] * _SHARDS

    def put(self, id: int, slot: int) -> None:
        """Remember the slot of an id that is not in the table."""
        shard = (id * _MIX >> 40) % _SHARDS
        ids, slots = self._ids[shard], self._slots[shard]
        if ids is None or slots is None:
            self._ids[shard], self._slots[shard] = array("q", (id,)), array("i", (slot,))
        else:
            ids.append(id)
            slots.append(slot)

    def get(self, id: int) -> int:
        """Return the slot of an id, or -1."""
        shard = (id * _MIX >> 40) % _SHARDS
        ids, slots = self._ids[shard], self._slots[shard]
        if ids is None or slots is None:
            return -1
        try:
            return slots[ids.index(id)]
        except (ValueError, OverflowError):
            return -1

    def pop(self, id: int) -> None:
        """Forget an id; unknown ones are a no-op."""
        shard = (id * _MIX >> 40) % _SHARDS
        ids, slots = self._ids[shard], self._slots[shard]
        if ids is None or slots is None:
            return
        try:
            place = ids.index(id)
        except (ValueError, OverflowError):
            return
        last_id, last_slot = ids.pop(), slots.pop()
        if place < len(ids):
            ids[place], slots[place] = last_id, last_slot
