"""An index that follows links between near keys: its searches hardly slow down as it grows."""

from __future__ import annotations

import numpy as np

from likewise.index.graph import Graph, Scale
from likewise.index.tombstoned import MIN_CAPACITY, TombstonedIndex
from likewise.types import Keys

M = 16
EF_CONSTRUCTION = 80
ARRANGED_FROM = 50_000
"""Keys from which on their order in memory is felt: 13 MB at 64 dimensions."""
EFFORTS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)


class HnswIndex(TombstonedIndex):
    """A graph of keys. Its effort is a multiple of the candidates that a search looks at by the count of keys."""

    kind = "hnsw"

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
        self._scale = scale or Scale(precision)
        self._options = (m, ef_construction, ef_search)
        self._effort = 1.0
        super().__init__(dimension, capacity=capacity, rebuilds_itself=rebuilds_itself)

    def _make(self, capacity: int, keys: Keys) -> Graph:
        self._graph = Graph(self._dimension, capacity, *self._options, self._scale)
        self._graph.widen(self._effort)
        return self._graph

    @property
    def efforts(self) -> tuple[float, ...]:
        """Multiples of the usual candidates; just one where ef_search was given."""
        return EFFORTS if self._options[2] is None else EFFORTS[:1]

    @property
    def effort(self) -> float:
        """The multiple of the usual candidates that a search looks at."""
        return self._effort

    @effort.setter
    def effort(self, effort: float) -> None:
        self._effort = effort
        self._graph.widen(effort)

    @property
    def worn(self) -> bool:
        """True: tombstones are many, or the reserved positions will soon run out; time to rebuild."""
        return super().worn or self._graph.count > self._graph.capacity * 3 // 4

    @property
    def _spent(self) -> bool:
        return self._dead > max(1024, len(self))

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
