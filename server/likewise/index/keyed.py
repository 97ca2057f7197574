"""What index kinds offer one another, beyond what the core asks of an index."""

from __future__ import annotations

from typing import Protocol

from likewise.index.parts import Parts
from likewise.ports import Index
from likewise.types import Keys, Slots


class KeyedIndex(Index, Protocol):
    """An index that gives its keys back."""

    @property
    def kind(self) -> str:
        """Name of the kind that searches now."""

    def slots(self) -> Slots:
        """Return the live slots, in no order."""

    def keys(self, slots: Slots) -> Keys:
        """Return a copy of the keys of live slots, shape (n, d); approximate where the index keeps them so."""

    def snapshot(self, chunk: int) -> Parts:
        """Return the slots and keys as they are now, in parts, to be read in another thread while this changes."""

    @property
    def worn(self) -> bool:
        """True: time to rebuild."""
