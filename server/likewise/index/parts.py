"""The slots and keys of a moment, to be read while the index they are of goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

from likewise.types import Keys, Slots


class Parts:
    """Slots and keys in parts, as often as they are read, in any thread but one at a time."""

    def __init__(self, slots: Callable[[], Slots], keys: Callable[[Slots, int], Keys], chunk: int) -> None:
        """Set up.

        slots: returns all, shape (n,); asked once, by who reads first. keys: returns those of the slots from a row on,
        shape (n, d). chunk: rows in a part.
        """
        self._find = slots
        self._keys = keys
        self._chunk = chunk

    @cached_property
    def _slots(self) -> Slots:
        return self._find()

    def __len__(self) -> int:
        """Return the number of keys, not of parts."""
        return len(self._slots)

    def __iter__(self) -> Iterator[tuple[Slots, Keys]]:
        slots = self._slots
        for start in range(0, len(slots), self._chunk):
            part = slots[start : start + self._chunk]
            yield part, self._keys(part, start)
