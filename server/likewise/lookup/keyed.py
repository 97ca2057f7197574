"""What index kinds offer one another, beyond what the core asks of an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from likewise.ports import Index
from likewise.types import Keys, Slots


class KeyedIndex(Index, Protocol):
    """An index that gives its keys back."""

    def slots(self) -> Slots:
        """Return the live slots, in no order."""

    def keys(self, slots: Slots) -> Keys:
        """Return a copy of the keys of live slots, shape (n, d); approximate where the index keeps them so."""

    def snapshot(self, chunk: int) -> Iterator[tuple[Slots, Keys]]:
        """Return the slots and keys as they are now, in parts, to be read in another thread while this changes."""

    @property
    def worn(self) -> bool:
        """True: time to rebuild."""
