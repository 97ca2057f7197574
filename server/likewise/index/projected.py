"""An index that searches what a projection makes of keys, while everyone outside sees the keys as they came."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from likewise.errors import InvalidValue
from likewise.index.auto import AutoIndex
from likewise.index.keyed import KeyedIndex
from likewise.index.moves import Cancelled, Move, fill
from likewise.index.parts import Parts
from likewise.index.slots import check_added
from likewise.index.store import KeyStore
from likewise.ports import Projection
from likewise.types import Key, Keys, Slots

Make = Callable[[int], KeyedIndex]
"""Dimension -> an empty index."""


class Projected:
    """Keys as they came, beside an index over their projections. The projection never changes."""

    def __init__(self, dimension: int, projection: Projection, index: KeyedIndex) -> None:
        """Set up an empty index for keys of `dimension` numbers; `index` is empty and of the projection's dimension."""
        self.projection = projection
        self.index = index
        self._store = KeyStore(dimension)

    @property
    def dimension(self) -> int:
        """Length of a key as it comes."""
        return self._store.dimension

    @property
    def kind(self) -> str:
        """The kind that searches the projections."""
        return self.index.kind

    def __len__(self) -> int:
        return len(self.index)

    def add(self, slots: Slots, keys: Keys) -> None:
        """Add keys under slots that are not in the index. Raises InvalidValue for shapes that do not match."""
        keys = check_added(slots, keys, self.dimension)
        self.index.add(slots, self.projection.many(keys))
        self._store.put(slots, keys)

    def remove(self, slots: Slots) -> None:
        """Take slots out; unknown ones are a no-op."""
        for slot in slots.tolist():
            before = len(self.index)
            self.index.remove(np.array([slot], np.int64))
            if len(self.index) < before:
                self._store.drop(slot)

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, slots) between projections, both of shape (n, k), nearest first; see Index."""
        return self.index.search(self.projection.many(keys), k)

    def search_one(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Return (l2_sq, slots) between projections of the at most k nearest keys, nearest first."""
        return self.index.search_one(self.projection.one(key), k)

    def slots(self) -> Slots:
        """Return the live slots, in no order."""
        return self.index.slots()

    def keys(self, slots: Slots) -> Keys:
        """Return a copy of the keys of live slots as they came, shape (n, d)."""
        return self._store.get(slots)

    def snapshot(self, chunk: int) -> Parts:
        """Return the slots as they are now and their keys, in parts, read as they are asked for.

        A slot that changes meanwhile may come with either key: who copies has to follow the changes too, as Move does.
        """
        slots, store = self.slots(), self._store
        return Parts(lambda: slots, lambda part, start: store.get(part), chunk)

    @property
    def worn(self) -> bool:
        """True: time to rebuild."""
        return self.index.worn

    def memory_bytes(self) -> int:
        """Return the bytes it holds, both sorts of keys included."""
        return self._store.nbytes + self.index.memory_bytes()


class ProjectedIndex:
    """Searches keys as they are or by a projection, and changes from one to the other without a pause.

    The index for a new projection is filled in a background thread from the keys as they came, brought up to date
    with what was added and removed meanwhile, and taken over between two calls on the loop. Without background
    that happens inside `project`: the same answers, in a deterministic order, with a pause.
    """

    def __init__(self, plain: KeyedIndex, make: Make, *, background: bool = True) -> None:
        """Set up around an index. make: returns the indexes that come after it."""
        self._current = plain
        self._make = make
        self._background = background
        self._move: Move | None = None
        self._wanted: Projection | None = None

    @property
    def dimension(self) -> int:
        """Length of a key as it comes."""
        return self._current.dimension

    @property
    def kind(self) -> str:
        """The kind in use now."""
        return self._current.kind

    @property
    def projection(self) -> Projection | None:
        """What is searched by now; None: the keys as they are."""
        return self._current.projection if isinstance(self._current, Projected) else None

    @property
    def moving(self) -> bool:
        """True while another projection is on its way."""
        return self._move is not None

    def __len__(self) -> int:
        return len(self._current)

    def project(self, projection: Projection | None) -> None:
        """Begin to search by a projection, or by the keys as they are (None); one that is on its way is given up.

        Raises InvalidValue where the projection does not take keys of this dimension.
        """
        if projection is not None:
            made = projection.many(np.zeros((1, self.dimension), np.float32))
            if made.shape != (1, projection.dimension):
                raise InvalidValue(f"The projection makes {made.shape} of a key of {self.dimension} numbers; fit anew.")
        self.close()
        self._wanted = projection
        inline = not self._background or not len(self._current)
        self._move = Move(self._current, self._build, background=not inline)
        self._tend()

    def _build(self, parts: Parts, cancelled: Cancelled) -> KeyedIndex | None:
        projection = self._wanted
        inner = self._make(self.dimension if projection is None else projection.dimension)
        if isinstance(inner, AutoIndex):
            inner.background = False  # it is filled in a thread of its own already
            inner.hold(len(parts))
        index = inner if projection is None else Projected(self.dimension, projection, inner)
        if not fill(index, parts, cancelled):
            return None
        if isinstance(inner, AutoIndex):
            inner.release()
        return index

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

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, slots), both of shape (n, k), nearest first; +inf and -1 where there are fewer than k."""
        if self._move is not None:
            self._tend()
        return self._current.search(keys, k)

    def search_one(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Return (l2_sq, slots) of the at most k nearest keys, nearest first, without padding."""
        if self._move is not None:
            self._tend()
        return self._current.search_one(key, k)

    def slots(self) -> Slots:
        """Return the live slots, in no order."""
        return self._current.slots()

    def keys(self, slots: Slots) -> Keys:
        """Return a copy of the keys of live slots as they came, shape (n, d)."""
        return self._current.keys(slots)

    def snapshot(self, chunk: int) -> Parts:
        """Return the slots as they are now and their keys, in parts; see Projected."""
        return self._current.snapshot(chunk)

    @property
    def worn(self) -> bool:
        """True: time to rebuild."""
        return self._current.worn

    def memory_bytes(self) -> int:
        """Return the bytes it holds, keys included; what is on its way is not counted."""
        return self._current.memory_bytes()

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait until nothing is on its way. Blocks; for tests, tools and the end of a bulk load."""
        while self._move is not None:
            self._move.join(timeout_s)
            self._tend()
        inner = self._current.index if isinstance(self._current, Projected) else self._current
        if isinstance(inner, AutoIndex):
            inner.settle(timeout_s)

    def close(self) -> None:
        """Give up what is on its way; its thread ends by itself."""
        if self._move is not None:
            self._move.cancelled = True
            self._move = None

    def _tend(self) -> None:
        """Take over what is complete."""
        move = self._move
        if move is None or not (move.ready or move.failed):
            return
        successor = None if move.failed else move.finish()
        if successor is None and not move.failed:
            return
        self._move = None
        if successor is None:
            return
        old, self._current = self._current, successor
        if isinstance(old, AutoIndex):
            old.close()
        inner = successor.index if isinstance(successor, Projected) else successor
        if isinstance(inner, AutoIndex):
            inner.background = self._background
        if self._background:
            # freeing hundreds of megabytes takes milliseconds: not on the loop
            threading.Thread(target=[old].clear, name="likewise-index-drop", daemon=True).start()
