"""An index that searches what a projection makes of keys, while everyone outside sees the keys as they came."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import numpy as np

from likewise.errors import InvalidValue
from likewise.index.keyed import KeyedIndex, SlotsOf
from likewise.index.moves import Build, Cancelled, Move, drop, fill
from likewise.index.outline import Outline, probes
from likewise.index.parts import Parts
from likewise.index.projection import Projected
from likewise.index.saved import SavedIndex
from likewise.index.wrapper import Replacing
from likewise.ports import Projection
from likewise.types import Key, Keys, Slots

Make = Callable[[int], KeyedIndex]
"""Dimension -> an empty index."""


class ProjectedIndex(Replacing):
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
        self._held = plain.held
        self._closed = False

    @property
    def dimension(self) -> int:
        """Length of a key as it comes."""
        return self._current.dimension

    @property
    def projection(self) -> Projection | None:
        """What is searched by now; None: the keys as they are."""
        return self._current.projection if isinstance(self._current, Projected) else None

    @property
    def background(self) -> bool:
        """True: what takes long is done in a thread."""
        return self._background

    @background.setter
    def background(self, background: bool) -> None:
        self._background = self._current.background = background

    @property
    def moving(self) -> bool:
        """True while another projection, or another kind of index, is on its way."""
        return self._move is not None or self._current.moving

    def project(self, projection: Projection | None) -> None:
        """Begin to search by a projection, or by the keys as they are (None); one that is on its way is given up.

        Raises InvalidValue where the projection does not take keys of this dimension.
        """
        if projection is not None:
            made = projection.many(np.zeros((1, self.dimension), np.float32))
            if made.shape != (1, projection.dimension):
                raise InvalidValue(f"The projection makes {made.shape} of a key of {self.dimension} numbers; fit anew.")
        if self._closed:
            return
        self._give_up()
        self._wanted = projection
        inline = not self._background or not len(self._current)
        self._move = Move(self._current, self._builder(projection), background=not inline, stopped=lambda: self._closed)
        self._tend()

    def outline(self) -> Outline | None:
        """Return what is saved of the index in use, and what tells its projection; see KeyedIndex."""
        return None if self._move is not None else self._current.outline()

    def restore(self, saved: SavedIndex, slots: SlotsOf) -> bool:
        """Begin to replace what searches by a saved index, where that is of the projection in use; see KeyedIndex."""
        wanted = self._wanted
        if self._closed or not _made_by(wanted, saved, self.dimension):
            return False
        if wanted is None:
            return self._move is None and self._current.restore(saved, slots)
        self._give_up()
        build = self._builder(wanted, lambda index: index.restore(saved, slots))
        self._move = Move(self._current, build, background=self._background, stopped=lambda: self._closed)
        self._tend()
        return True

    def _builder(
        self, projection: Projection | None, restored: Callable[[KeyedIndex], bool] = lambda index: False
    ) -> Build:
        def build(parts: Parts, cancelled: Cancelled) -> KeyedIndex | None:
            inner = self._make(self.dimension if projection is None else projection.dimension)
            inner.background = False  # it is filled in a thread of its own already
            index = inner if projection is None else Projected(self.dimension, projection, inner)
            count = len(parts)
            index.hold(count)
            if not fill(index, parts, cancelled):
                index.close()
                return None
            if not restored(index) and self._held is None:
                index.release(cancelled)
            # what is due after the last changes comes in the background, once this is in use
            index.hold(count)
            return index

        return build

    def _give_up(self) -> None:
        if self._move is not None:
            self._move.cancel()
            self._move = None

    def release(self, cancelled: Cancelled | None = None) -> None:
        """The bulk load is over: begin what is due."""
        self._held = None
        self._current.release(cancelled)

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

    @property
    def worn(self) -> bool:
        """True: time to rebuild."""
        return self._current.worn

    def memory_bytes(self) -> int:
        """Return the bytes it holds, keys included; what is on its way is not counted."""
        return self._current.memory_bytes()

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait until nothing is on its way, at most `timeout_s`. Blocks; for tests and tools."""
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while self._move is not None:
            left = None if deadline is None else deadline - monotonic()
            self._move.join(None if left is None else max(0.0, left))
            self._tend()
            if left is not None and left <= 0:
                break
        self._current.settle(None if deadline is None else max(0.0, deadline - monotonic()))

    def close(self) -> None:
        """Give up what is on its way, here and in the index in use, and begin nothing more. Answers go on."""
        self._closed = True
        self._give_up()
        self._current.close()

    def discard(self) -> None:
        """Give the memory back; nothing may be asked any more."""
        self._current.discard()

    def _tend(self) -> None:
        """Take over what is complete."""
        move = self._move
        if move is None or not move.over:
            return
        successor = move.finish()
        if move.ready and successor is None:
            return
        self._move = None
        if successor is None:
            return
        old, self._current = self._current, successor
        drop(old, background=self._background)
        successor.background = self._background
        if self._held is None:
            successor.release()
        else:
            successor.hold(self._held)


def _made_by(projection: Projection | None, saved: SavedIndex, dimension: int) -> bool:
    made = saved.facts.get("projected")
    if projection is None or made is None:
        return projection is None and made is None
    expected = projection.many(probes(dimension))
    if made != expected.shape[1]:
        return False
    found = saved.column("probes", "<f4", expected.size).reshape(expected.shape)
    return bool(np.allclose(found, expected, rtol=1e-3, atol=1e-4))


def projectable(index: KeyedIndex, make: Make, *, background: bool) -> ProjectedIndex:
    """Return an index that can be searched by projections: the given one, or what is wrapped around it."""
    return index if isinstance(index, ProjectedIndex) else ProjectedIndex(index, make, background=background)
