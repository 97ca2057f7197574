"""What an index that stands in front of another one passes on as it is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from likewise.index.keyed import KeyedIndex
from likewise.index.moves import Move
from likewise.index.parts import Parts
from likewise.types import Keys, Slots


class Wrapper:
    """Passes on what only reads. The index in use may be replaced at any time, on the event loop."""

    _current: KeyedIndex

    @property
    def kind(self) -> str:
        """Name of the kind in use."""
        return self._current.kind

    @property
    def effort(self) -> float | None:
        """How hard a search looks, as a multiple of the usual; None where that cannot be chosen."""
        return self._current.effort

    def __len__(self) -> int:
        return len(self._current)

    def slots(self) -> Slots:
        """Return the live slots, in no order."""
        return self._current.slots()

    def keys(self, slots: Slots) -> Keys:
        """Return a copy of the keys of live slots as they came, shape (n, d)."""
        return self._current.keys(slots)

    def peek(self, slot: int) -> Keys | None:
        """Return a copy of a slot's key as it came, shape (1, d), or None; may be called while this changes."""
        while True:
            current = self._current
            found = current.peek(slot)
            if self._current is current:  # else its memory may have been given back before it was read
                return found

    def snapshot(self, chunk: int) -> Parts:
        """Return the slots as they are now and their keys, in parts."""
        return self._current.snapshot(chunk)


class Replacing(Wrapper, ABC):
    """A wrapper that replaces the index in use: what changes meanwhile is passed on to what is being built, too."""

    _move: Move | None
    _held: int | None

    @abstractmethod
    def _tend(self) -> None:
        """Take over what is complete, and begin what is due."""

    @property
    def held(self) -> int | None:
        """The capacity of the bulk load that was announced; None: there is none."""
        return self._held

    def hold(self, capacity: int) -> None:
        """Begin no replacement until `release`: a bulk load of up to `capacity` keys would only have to repeat itself.

        What is exact stays exact meanwhile, so adding costs next to nothing and a lookup a scan.
        """
        self._held = capacity
        self._current.hold(capacity)

    def add(self, slots: Slots, keys: Keys) -> None:
        """Add keys under slots that are not in the index. Raises InvalidValue for shapes that do not match."""
        self._current.add(slots, keys)
        if self._move is not None:
            self._move.added(slots, keys)
        self._tend()

    def remove(self, slots: Slots) -> None:
        """Take slots out; unknown ones are a no-op."""
        self._current.remove(slots)
        if self._move is not None:
            self._move.removed(slots)
        self._tend()
