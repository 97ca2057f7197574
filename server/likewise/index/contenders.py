"""The kinds of index that AutoIndex chooses from, made for the keys that they will hold."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from time import sleep

import numpy as np

from likewise.index.alsh import AlshIndex
from likewise.index.exact import ExactIndex
from likewise.index.graph import Scale
from likewise.index.hnsw import HnswIndex
from likewise.index.ivf import SAMPLE, IvfIndex, lists_for
from likewise.index.keyed import KeyedIndex
from likewise.index.moves import Cancelled, fill
from likewise.index.tombstoned import MIN_CAPACITY, TombstonedIndex
from likewise.types import Keys, Slots

ALSH_LIMIT = 10_000
"""A-LSH takes 1,450 bytes a key beside the key, and the others at most 400: it is not tried among more keys."""
ALSH_PART = 32
"""Keys that are put into its tables at once: they are Python's, and the interpreter lock is held meanwhile."""


class Contenders:
    """Makes and fills indexes of each kind with the options of one AutoIndex."""

    def __init__(self, dimension: int, *, m: int, ef_construction: int, ef_search: int | None, precision: str) -> None:
        """Set up. See AutoIndex. Raises InvalidValue for an unknown precision."""
        self._dimension = dimension
        self._scale = Scale(precision)
        self._graph = partial(
            HnswIndex, dimension, m=m, ef_construction=ef_construction, ef_search=ef_search, scale=self._scale
        )

    def kinds(self, count: int) -> tuple[str, ...]:
        """Return the kinds beside a scan that may hold so many keys, the one that takes longest to build last.

        Only a graph can hold keys in less than 4 bytes a number.
        """
        if self._scale.precision != "float32":
            return ("hnsw",)
        return ("alsh", "ivf", "hnsw") if count <= ALSH_LIMIT else ("ivf", "hnsw")

    def build(
        self,
        kind: str,
        parts: Iterable[tuple[Slots, Keys]],
        count: int,
        cancelled: Cancelled,
        effort: float | None = None,
    ) -> KeyedIndex | None:
        """Return an index of the keys in the parts, which are read more than once, or None where it was cancelled.

        count: keys it is made for. effort: see TombstonedIndex; None: the kind's usual.
        """
        index = self.empty(kind, parts, count)
        done = fill(index, _slowly(parts) if isinstance(index, AlshIndex) else parts, cancelled)
        if isinstance(index, HnswIndex) and done:
            index.arrange()
            index.built()
        if isinstance(index, TombstonedIndex) and effort is not None:
            index.effort = effort
        return index if done else None

    def empty(self, kind: str, parts: Iterable[tuple[Slots, Keys]] = (), count: int = 0) -> KeyedIndex:
        """Return an empty index for so many keys and as many to come."""
        capacity = max(MIN_CAPACITY, 2 * count)
        if kind == "hnsw":
            return self._graph(capacity=capacity, rebuilds_itself=False)
        if kind == "ivf":
            wanted = SAMPLE * lists_for(count)
            training = every(parts, max(1, count // wanted))[1] if count else None
            return IvfIndex(
                self._dimension, capacity=capacity, training=training, expected=count, rebuilds_itself=False
            )
        return AlshIndex(self._dimension) if kind == "alsh" else ExactIndex(self._dimension)


def every(parts: Iterable[tuple[Slots, Keys]], step: int) -> tuple[Slots, Keys]:
    """Return every step-th of the slots and keys, beginning with the step-th."""
    slots: list[Slots] = []
    keys: list[Keys] = []
    before = 0
    for part, held in parts:
        at = np.arange((-before - 1) % step, len(part), step)
        slots.append(part[at])
        keys.append(held[at])
        before += len(part)
    return np.concatenate(slots), np.concatenate(keys)


def _slowly(parts: Iterable[tuple[Slots, Keys]]) -> Iterable[tuple[Slots, Keys]]:
    for slots, keys in parts:
        for start in range(0, len(slots), ALSH_PART):
            yield slots[start : start + ALSH_PART], keys[start : start + ALSH_PART]
            sleep(0)


def discard(index: KeyedIndex) -> None:
    """Give the memory of an index back, as far as the allocator would keep it."""
    if isinstance(index, TombstonedIndex):
        index.discard()
