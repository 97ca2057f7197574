"""An index that follows links between near keys: its searches hardly slow down as it grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from likewise.lookup.graph import Graph, Scale
from likewise.lookup.slots import SlotMap, check_added
from likewise.lookup.views import ints
from likewise.types import Key, Keys, Slots

MIN_CAPACITY = 4096
M = 16
EF_CONSTRUCTION = 80
ARRANGED_FROM = 50_000
"""Keys from which on their order in memory is felt: 13 MB at 64 dimensions."""


class HnswIndex:
    """A graph of keys in which removal leaves a tombstone; rebuilt without them when they are many.

    Left alone, it rebuilds itself inside `remove`. An owner that rebuilds in the background says so and asks `worn`.
    """

    def __init__(
        self,
        dimension: int,
        *,
        capacity: int = MIN_CAPACITY,
        m: int = M,
        ef_construction: int = EF_CONSTRUCTION,
        ef_search: int | None = None,
        precision: str = "float32",
        scale: Scale | None = None,
        rebuilds_itself: bool = True,
    ) -> None:
        """Set up an empty index for keys of `dimension` numbers.

        capacity: positions reserved, tombstones included. m, ef_construction, ef_search: see Graph.
        precision: of the keys held, "float32", "float16" or "int8"; scale: that of the index which this one replaces.
        Raises InvalidValue for an unknown precision.
        """
        self._dimension = dimension
        self._scale = scale or Scale(precision)
        self._options = (m, ef_construction, ef_search)
        self._rebuilds_itself = rebuilds_itself
        self._start(max(capacity, MIN_CAPACITY))

    def _start(self, capacity: int) -> None:
        self._graph = Graph(self._dimension, capacity, *self._options, self._scale)
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
        """True: tombstones are many, or the reserved positions will soon run out; time to rebuild."""
        return self._dead > max(1024, len(self) // 3) or self._graph.count > self._graph.capacity * 3 // 4

    @property
    def dead(self) -> int:
        """Number of tombstones."""
        return self._dead

    def __len__(self) -> int:
        return self._graph.count - self._dead

    def add(self, slots: Slots, keys: Keys) -> None:
        """Add keys under slots that are not in the index. Raises InvalidValue for shapes that do not match."""
        keys = check_added(slots, keys, self._dimension)
        start, end = self._graph.count, self._graph.count + len(slots)
        self._positions.put(slots, np.arange(start, end, dtype=np.int64))
        if end > len(self._slots):
            self._reach(max(end, 2 * len(self._slots)))
        self._graph.append(keys)
        if end - start == 1:
            self._slot_of[start] = int(slots[0])
            self._alive_bits[start >> 3] |= 1 << (start & 7)
        else:
            self._slots[start:end] = slots
            positions = np.arange(start, end)
            np.bitwise_or.at(self._alive, positions >> 3, (1 << (positions & 7)).astype(np.uint8))

    def _reach(self, capacity: int) -> None:
        slots = np.full(capacity, -1, np.int32)
        slots[: len(self._slots)] = self._slots
        alive = np.zeros(-(-capacity // 8), np.uint8)
        alive[: len(self._alive)] = self._alive
        self._slots, self._alive = slots, alive
        self._slot_of = ints(slots)
        self._alive_bits = ints(alive)
        if self._dead:
            self._graph.filter(alive)

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
            self._graph.filter(self._alive)
            if self._rebuilds_itself and self._dead > max(1024, len(self)):
                self.rebuild()

    def rebuild(self) -> None:
        """Build the graph anew from the live keys, here and now."""
        slots = self.slots()
        keys = self.keys(slots)
        self._graph.discard()
        self._start(max(MIN_CAPACITY, 2 * len(slots)))
        self.add(slots, keys)

    def arrange(self) -> None:
        """Put near keys near each other in memory, where they are so many that it matters. Takes seconds."""
        count = self._graph.count
        if count < ARRANGED_FROM:
            return
        slots = self._slots[:count][self._graph.arrange()]
        alive = slots >= 0
        self._slots[:count] = slots
        self._alive[:] = 0
        self._alive[: -(-count // 8)] = np.packbits(alive, bitorder="little")
        positions = np.flatnonzero(alive)
        self._positions.renumber(slots[positions].astype(np.int64), positions)

    def built(self) -> None:
        """Say that keys come one by one from now on."""
        self._graph.built()

    def discard(self) -> None:
        """Give the memory back; nothing may be asked of the index any more."""
        self._graph.discard()

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, slots), both of shape (n, k), nearest first; +inf and -1 where there are fewer than k."""
        l2_sq, positions = self._graph.search(keys, k, k if k > self._graph.ef_search else 0)
        short = np.flatnonzero((positions >= 0).sum(axis=1) < min(k, len(self)))
        if short.size:
            l2_sq[short], positions[short] = self._graph.scan(np.asarray(keys)[short], k)
        missing = positions < 0
        slots = self._slots[positions].astype(np.int64)
        slots[missing] = -1
        l2_sq[missing] = np.inf
        return l2_sq, slots

    def search_one(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Return (l2_sq, slots) of the at most k nearest keys, nearest first, without padding."""
        found = self._graph.search_one(key, k)
        positions: list[int] = found.positions.tolist()
        if positions[-1] < 0:
            return self._few(key, k)
        slot_of = self._slot_of
        return found.l2_sq.tolist(), [slot_of[position] for position in positions]

    def _few(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Search again where the graph gave fewer than k: there are fewer, or they are hidden behind tombstones."""
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
        return self._graph.keys(self._positions.get(slots))

    def snapshot(self, chunk: int) -> Iterator[tuple[Slots, Keys]]:
        """Return the slots and keys as they are now, in parts, read as they are asked for.

        A position's key never changes, so another thread may read while this index goes on.
        """
        return _parts(self._positions.rows(), self._graph, chunk)

    @property
    def end(self) -> int:
        """The position that the next key will have; keys never change theirs."""
        return self._graph.count

    @property
    def rows(self) -> Callable[[int, int], Keys]:
        """Returns a copy of the keys from a position to before another; may be called in another thread, and later."""
        return self._graph.rows

    def memory_bytes(self) -> int:
        """Return the bytes it holds, keys included."""
        count = self._graph.count
        return self._graph.memory_bytes() + count * 4 + count // 8 + self._positions.nbytes


def _parts(rows: NDArray[np.int32], graph: Graph, chunk: int) -> Iterator[tuple[Slots, Keys]]:
    slots = np.flatnonzero(rows >= 0)
    for start in range(0, len(slots), chunk):
        part = slots[start : start + chunk]
        yield part, graph.keys(rows[part].astype(np.int64))
