"""What every index kind offers beyond what the core asks of an index, and what most kinds have no need of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from likewise.index.outline import Outline
from likewise.index.parts import Parts
from likewise.index.saved import SavedIndex
from likewise.ports import Index, Projection
from likewise.types import Keys, Slots

SlotsOf = Callable[[], Slots]


class KeyedIndex(Index, Protocol):
    """An index that gives its keys back, can be told of a bulk load, and owns what it does in the background.

    Kinds and what is wrapped around them are used through this alone: a wrapper passes every call on.
    """

    background: bool
    """True: what takes long is done in a thread. False: there and then, for what a thread of its own fills already."""

    @property
    def kind(self) -> str:
        """Name of the kind that searches now."""

    def slots(self) -> Slots:
        """Return the live slots, in no order."""

    def keys(self, slots: Slots) -> Keys:
        """Return a copy of the keys of live slots, shape (n, d); approximate where the index keeps them so."""

    def peek(self, slot: int) -> Keys | None:
        """Return a copy of a slot's key, shape (1, d), or None; may be called in another thread while this changes.

        A slot that is removed and added again meanwhile may come with either key.
        """

    def snapshot(self, chunk: int) -> Parts:
        """Return the slots and keys in parts, to be read in another thread while this changes, and while it is kept.

        The slots are those of when the first part is read, each once. One that changes after this call may be there or
        not, with any key: who copies has to follow the changes too, as Move does.
        """

    @property
    def worn(self) -> bool:
        """True: time to rebuild."""

    @property
    def effort(self) -> float | None:
        """How much a search looks at, in the kind's own unit; None where the kind has no such thing."""

    @property
    def held(self) -> int | None:
        """The capacity of the bulk load that was announced by `hold`; None: there is none."""

    def hold(self, capacity: int) -> None:
        """Begin nothing that a bulk load of up to `capacity` keys would only have to repeat, until `release`."""

    def release(self, cancelled: Callable[[], bool] | None = None) -> None:
        """The bulk load is over: begin what is due.

        cancelled: gives that up, where it is done there and then and somebody wants its thread back.
        """

    @property
    def moving(self) -> bool:
        """True while a replacement is on its way."""

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait until no replacement is on its way, at most `timeout_s`. Blocks; for tests and tools."""

    def close(self) -> None:
        """Give up what is on its way and begin nothing more; threads end by themselves. Answers go on."""

    @property
    def projection(self) -> Projection | None:
        """By what keys are searched; None: as they are."""

    def outline(self) -> Outline | None:
        """Return what is saved of the index that searches now, beside its keys; None where it is as quickly made anew.

        Call it where the index is changed, and read it in a thread.
        """

    def restore(self, saved: SavedIndex, slots: SlotsOf) -> bool:
        """Begin to replace what searches by a saved index over the keys that are here; return whether it can be.

        slots: called in the thread that builds, for the slots of the saved positions; see TombstonedIndex.
        What cannot be used is given up with a line in the log.
        """

    def discard(self) -> None:
        """Give the memory back, as far as the allocator would keep it; nothing may be asked any more."""


class ImmediateIndex:
    """What a kind has to say to these calls that does all its work at once and keeps nothing waiting."""

    background = False
    _held: int | None = None

    @property
    def worn(self) -> bool:
        """False: it renews itself, or removal leaves nothing behind."""
        return False

    @property
    def effort(self) -> float | None:
        """None: there is nothing to choose."""
        return None

    @property
    def held(self) -> int | None:
        """The capacity of the bulk load that was announced; None: there is none."""
        return self._held

    def hold(self, capacity: int) -> None:
        """Take note of a bulk load."""
        self._held = capacity

    def release(self, cancelled: Callable[[], bool] | None = None) -> None:
        """Take note that it is over."""
        self._held = None

    @property
    def moving(self) -> bool:
        """False: nothing is ever on its way."""
        return False

    def settle(self, timeout_s: float | None = None) -> None:
        """Return at once: nothing is on its way."""

    def close(self) -> None:
        """Do nothing: nothing is on its way."""

    @property
    def projection(self) -> Projection | None:
        """None: keys are searched as they are."""
        return None

    def outline(self) -> Outline | None:
        """None: it is as quickly made anew."""
        return None

    def restore(self, saved: SavedIndex, slots: SlotsOf) -> bool:
        """Return False: it is filled as keys are loaded."""
        return False

    def discard(self) -> None:
        """Do nothing: the memory goes with the object."""
