"""An index that follows links between near keys: its searches hardly slow down as it grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.index.graph import Graph, Scale
from likewise.index.links import levels_out, links_out, restore_links
from likewise.index.moves import fill
from likewise.index.parts import Parts
from likewise.index.saved import Column, SavedIndex
from likewise.index.tombstoned import MIN_CAPACITY, TombstonedIndex
from likewise.types import Keys, Slots

M = 16
EF_CONSTRUCTION = 80
ARRANGED_FROM = 50_000
"""Keys from which on their order in memory is felt: 13 MB at 64 dimensions."""
MISSING = 0.2
"""Share of a saved graph's entries that may be gone; with more it is built anew."""
CHUNK = 4096
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

    def _facts(self) -> dict[str, Any]:
        return {"precision": self._scale.precision, "m": self._graph.m, "entry": self._graph.entry}

    def _columns(self, count: int) -> Iterable[Column]:
        graph = self._graph
        dead: Slots = np.flatnonzero(self._slots[:count] < 0)
        yield "levels", levels_out(graph, count)
        yield "links", links_out(graph, count)
        yield "dead", [dead]
        yield (
            "dead_keys",
            (graph.keys(dead[start : start + CHUNK].astype(np.int64)) for start in range(0, len(dead), CHUNK)),
        )
        yield "scale", [np.empty(0, np.float32) if self._scale.trained is None else self._scale.trained]

    def restore_from(self, saved: SavedIndex, slots: Slots, parts: Parts, cancelled: Callable[[], bool]) -> bool:
        """Become a saved graph over the keys of the parts; see TombstonedIndex."""
        count, graph = len(slots), self._graph
        if saved.number("m") != graph.m or saved.text("precision") != self._scale.precision:
            raise InvalidValue("the graph was built with other options")
        if self._scale.precision == "int8" and self._scale.trained is None:
            scale = saved.column("scale", "<f4", 2 * self._dimension)
            self._scale.trained = np.ascontiguousarray(scale.reshape(2, self._dimension))
            self._start(max(MIN_CAPACITY, 2 * count), np.empty((0, self._dimension), np.float32))
            self._published = (self._engine, self._positions)
            graph = self._graph
        restore_links(graph, saved, count)
        self._reach_for(count)
        found = np.zeros(count, np.bool_)
        self._slots[:count] = slots
        at = np.flatnonzero(slots >= 0)
        self._alive[: -(-count // 8)] = np.packbits(slots >= 0, bitorder="little")
        self._positions.put(slots[at], at)
        self._dead = count - len(at)
        later: list[tuple[Slots, Keys]] = []
        for part, keys in parts:
            if cancelled():
                return False
            positions = self._positions.get_any(part)
            known = positions >= 0
            graph.put_keys(positions[known], np.ascontiguousarray(keys[known]))
            found[positions[known]] = True
            if not known.all():
                later.append((part[~known], keys[~known]))
        if not found[at].all():
            raise InvalidValue("keys that it leads to are not there")
        self._route(saved, found)
        if self._dead:
            graph.filter(self._alive)
        graph.enlarge_pages()
        return fill(self, later, cancelled)

    def _route(self, saved: SavedIndex, found: NDArray[np.bool_]) -> None:
        """Give positions without a live key one: links lead through them all the same.

        Those that were dead when the graph was saved have theirs in the file. What was removed since takes the mean of
        what it is linked to, which is near.
        """
        graph, count = self._graph, len(found)
        dead = saved.column("dead", "<i8", saved.length("dead"))
        if len(dead) and not 0 <= int(dead.min()) <= int(dead.max()) < count:
            raise InvalidValue("a key without an entry has no place in the graph")
        keys = saved.column("dead_keys", "<f4", len(dead) * self._dimension).reshape(-1, self._dimension)
        gone = ~found[dead]
        graph.put_keys(dead[gone], np.ascontiguousarray(keys[gone]))
        found[dead] = True
        missing = np.flatnonzero(~found)
        if len(missing) > count * MISSING:
            raise InvalidValue("too many of its entries are gone")
        for position in missing.tolist():
            links = graph.links(position, position + 1)[1]
            near = links[links >= 0]
            near = near[found[near]]
            if len(near):
                graph.put_keys(
                    np.array([position]), graph.keys(near.astype(np.int64)).mean(axis=0, dtype=np.float32)[None]
                )

    def built(self) -> None:
        """Say that keys come one by one from now on."""
        self._graph.built()
