"""What a graph and lists have in common: keys by position, appended and never moved, and removal by tombstone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Protocol
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from likewise.index.kernels import Answers
from likewise.index.keyed import ImmediateIndex
from likewise.index.outline import Outline
from likewise.index.parts import Parts
from likewise.index.saved import Column, SavedIndex
from likewise.index.slots import SlotMap, check_added
from likewise.index.views import ints
from likewise.types import Key, Keys, Slots

MIN_CAPACITY = 4096


class Engine(Protocol):
    """What searches, by position: 0 to count - 1 in the order of appending."""

    count: int

    def append(self, keys: Keys) -> None:
        """Append keys of shape (n, d), C-contiguous float32."""

    def filter(self, bitmap: NDArray[np.uint8] | None) -> None:
        """Find only positions whose bit is set, least significant first, from now on; None: find all."""

    def search_one(self, key: Key, k: int) -> Answers:
        """Return the answers, good until the next call; positions are -1 past the end."""

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, positions), both of shape (n, k), -1 past the end."""

    def scan(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, positions) by looking at every key."""

    def keys(self, positions: Slots) -> Keys:
        """Return a copy of the keys at positions, shape (n, d); may be called in other threads beside `append`."""

    def rows(self, start: int, end: int) -> Keys:
        """Return a copy of the keys at positions from start to before end; as `keys` otherwise."""

    def discard(self) -> None:
        """Give the memory back; nothing may be asked any more."""

    def memory_bytes(self) -> int:
        """Return the bytes of keys and of what leads to them."""


class TombstonedIndex(ImmediateIndex, ABC):
    """Slots over the positions of an engine; rebuilt without tombstones when they are many.

    Left alone, it rebuilds itself inside `add` and `remove`. An owner that rebuilds in the background says so and
    asks `worn`.
    """

    kind: str

    def __init__(self, dimension: int, *, capacity: int, rebuilds_itself: bool) -> None:
        """Set up an empty index. capacity: positions reserved, tombstones included."""
        self._dimension = dimension
        self._rebuilds_itself = rebuilds_itself
        self._readers: list[ref[Parts]] = []
        self._start(max(capacity, MIN_CAPACITY), np.empty((0, dimension), np.float32))
        self._published = (self._engine, self._positions)

    @abstractmethod
    def _make(self, capacity: int, keys: Keys) -> Engine:
        """Return an empty engine for the keys that will be appended first, shape (n, d); (0, d) where unknown."""

    @property
    @abstractmethod
    def efforts(self) -> tuple[float, ...]:
        """How much a search may look at, ascending, in the kind's own unit."""

    @property
    @abstractmethod
    def effort(self) -> float:
        """How much a search looks at; more is slower and misses less."""

    @effort.setter
    @abstractmethod
    def effort(self, effort: float) -> None: ...

    def _start(self, capacity: int, keys: Keys) -> None:
        self._engine = self._make(capacity, keys)
        self._slots = np.full(capacity, -1, np.int32)
        self._slot_of = ints(self._slots)
        self._alive = np.zeros(-(-capacity // 8), np.uint8)
        self._alive_bits = ints(self._alive)
        self._positions = SlotMap()
        self._dead = 0

    @property
    def dimension(self) -> int:
        """Length of a key."""
        return self._dimension

    @property
    def worn(self) -> bool:
        """True: tombstones are many; time to rebuild."""
        return self._dead > max(1024, len(self) // 3)

    @property
    def _spent(self) -> bool:
        """True: so worn that it rebuilds itself, where it does that."""
        return self.worn

    @property
    def dead(self) -> int:
        """Number of tombstones."""
        return self._dead

    def __len__(self) -> int:
        return self._engine.count - self._dead

    def add(self, slots: Slots, keys: Keys) -> None:
        """Add keys under slots that are not in the index. Raises InvalidValue for shapes that do not match."""
        keys = check_added(slots, keys, self._dimension)
        start, end = self._engine.count, self._engine.count + len(slots)
        self._positions.check_free(slots)
        if end > len(self._slots):
            self._reach(max(end, 2 * len(self._slots)))
        self._engine.append(keys)
        # only now: a slot that has a position has a key there, for whoever peeks in another thread
        self._place(slots, start)
        if self._rebuilds_itself and self._spent:
            self.rebuild()

    def _place(self, slots: Slots, start: int) -> None:
        """Note the slots of positions from `start` on, whose keys are there."""
        end = start + len(slots)
        self._positions.put(slots, np.arange(start, end, dtype=np.int64))
        if end - start == 1:
            self._slot_of[start] = int(slots[0])
            self._alive_bits[start >> 3] |= 1 << (start & 7)
        else:
            self._slots[start:end] = slots
            positions = np.arange(start, end)
            np.bitwise_or.at(self._alive, positions >> 3, (1 << (positions & 7)).astype(np.uint8))

    def _reach_for(self, count: int) -> None:
        if count > len(self._slots):
            self._reach(2 * count)

    def _reach(self, capacity: int) -> None:
        slots = np.full(capacity, -1, np.int32)
        slots[: len(self._slots)] = self._slots
        alive = np.zeros(-(-capacity // 8), np.uint8)
        alive[: len(self._alive)] = self._alive
        self._slots, self._alive = slots, alive
        self._slot_of = ints(slots)
        self._alive_bits = ints(alive)
        if self._dead:
            self._engine.filter(alive)

    def remove(self, slots: Slots) -> None:
        """Take slots out; unknown ones are a no-op."""
        dead = self._dead
        for slot in slots.tolist():
            position = self._positions.pop(slot)
            if position < 0:
                continue
            self._alive_bits[position >> 3] &= ~(1 << (position & 7)) & 0xFF
            self._slot_of[position] = -1
            dead += 1
        self._dead = dead
        if dead:
            self._engine.filter(self._alive)
            if self._rebuilds_itself and self._spent:
                self.rebuild()

    def rebuild(self) -> None:
        """Build it anew from the live keys, here and now."""
        slots = self.slots()
        keys = self.keys(slots)
        old = self._engine
        self._start(max(MIN_CAPACITY, 2 * len(slots)), keys)
        rebuilds, self._rebuilds_itself = self._rebuilds_itself, False
        self.add(slots, keys)
        self._rebuilds_itself = rebuilds
        self._published = (self._engine, self._positions)
        if not self._read:
            old.discard()

    def discard(self) -> None:
        """Give the memory back at once, unless a snapshot is being read; nothing may be asked of the index any more."""
        if not self._read:
            self._engine.discard()

    @property
    def _read(self) -> bool:
        return any(reader() is not None for reader in self._readers)

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, slots), both of shape (n, k), nearest first; +inf and -1 where there are fewer than k."""
        l2_sq, positions = self._engine.search(keys, k)
        short = np.flatnonzero((positions >= 0).sum(axis=1) < min(k, len(self)))
        if short.size:
            l2_sq[short], positions[short] = self._engine.scan(np.asarray(keys)[short], k)
        missing = positions < 0
        slots = self._slots[positions].astype(np.int64)
        slots[missing] = -1
        l2_sq[missing] = np.inf
        return l2_sq, slots

    def search_one(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Return (l2_sq, slots) of the at most k nearest keys, nearest first, without padding."""
        found = self._engine.search_one(key, k)
        positions = found.positions
        last = positions.item(-1)
        if last < 0:
            return self._few(key, k)
        return found.l2_sq.tolist(), [self._slot_of[last]] if k == 1 else self._slots[positions].tolist()

    def _few(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Search again where there were fewer than k: there are fewer, or they are hidden behind tombstones."""
        count = min(k, len(self))
        if count == 0:
            return [], []
        l2_sq, slots = self.search(key[None], count)
        return l2_sq[0].tolist(), slots[0].tolist()

    def slots(self) -> Slots:
        """Return the live slots, ascending."""
        return self._positions.slots()

    def keys(self, slots: Slots) -> Keys:
        """Return a copy of the keys of live slots, shape (n, d)."""
        return self._engine.keys(self._positions.get(slots))

    def snapshot(self, chunk: int) -> Parts:
        """Return the slots and keys as they are now, in parts, read as they are asked for.

        A position's key never changes, so another thread may read while this index goes on.
        """
        positions, engine = self._positions, self._engine

        def keys(slots: Slots, start: int) -> Keys:
            return engine.keys(np.maximum(positions.get_any(slots), 0))

        parts = Parts(positions.slots, keys, chunk)
        self._readers = [reader for reader in self._readers if reader() is not None] + [ref(parts)]
        return parts

    def outline(self) -> Outline | None:
        """Return what is saved of it; None where it is left alone, since it is built as keys are loaded."""
        if self._rebuilds_itself or not len(self):
            return None
        engine, count = self._engine, self._engine.count
        facts = {
            "kind": self.kind,
            "dimension": self._dimension,
            "count": count,
            "effort": float(self.effort),
            **self._facts(),
        }

        def slots(start: int, end: int) -> Slots | None:
            return self._slots[start:end].astype(np.int64) if self._engine is engine else None

        return Outline(facts, slots, lambda: self._columns(count), self.snapshot(1))

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """Return what is saved of the kind in particular, JSON-able."""

    @abstractmethod
    def _columns(self, count: int) -> Iterable[Column]:
        """Return what leads to the first `count` positions; called and read in a thread."""

    @abstractmethod
    def restore_from(self, saved: SavedIndex, slots: Slots, parts: Parts, cancelled: Callable[[], bool]) -> bool:
        """Become a saved index over the keys of the parts; it has to be empty. False: it was cancelled.

        slots: of the saved positions, -1 where there is no such key any more. Keys that were not saved are added.
        Raises InvalidValue where it is damaged or fits the keys too little to be of use.
        """

    def peek(self, slot: int) -> Keys | None:
        """Return a copy of a slot's key, shape (1, d), or None; may be called in another thread while this changes."""
        while True:
            published = self._published
            engine, positions = published
            position = positions.row(slot)
            if position < 0:
                return None
            found = engine.keys(np.array([position]))
            if self._published is published:  # else the memory may have been given back before it was read
                return found

    def memory_bytes(self) -> int:
        """Return the bytes it holds, keys included."""
        count = self._engine.count
        return self._engine.memory_bytes() + count * 4 + count // 8 + self._positions.nbytes
