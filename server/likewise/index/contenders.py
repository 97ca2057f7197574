"""The kinds of index that AutoIndex chooses from, made for the keys that they will hold."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from likewise.errors import InvalidValue
from likewise.index.exact import ExactIndex
from likewise.index.graph import Scale
from likewise.index.hnsw import EFFORTS, HnswIndex
from likewise.index.ivf import SAMPLE, CodedIvfIndex, IvfIndex, lists_for
from likewise.index.keyed import KeyedIndex
from likewise.index.moves import Cancelled, fill
from likewise.index.parts import Parts
from likewise.index.saved import SavedIndex
from likewise.index.tombstoned import MIN_CAPACITY, TombstonedIndex
from likewise.types import Keys, Slots

CODED_FROM = 100_000
"""Keys from which on lists of keys in 8 bits are tried, and lists of keys as they are only where those miss too many.

Among fewer the two take turns by a few percent; among more, keys as they are fall behind as they grow.
"""
KNOWN = 0.5
"""Share of the keys that a saved index has to have; with less it is built anew."""


class Contenders:
    """Makes and fills indexes of each kind with the options of one AutoIndex."""

    def __init__(self, dimension: int, *, m: int, ef_construction: int, ef_search: int | None, precision: str) -> None:
        """Set up. See AutoIndex. Raises InvalidValue for an unknown precision."""
        self._dimension = dimension
        self._scale = Scale(precision)
        self._graph = partial(
            HnswIndex, dimension, m=m, ef_construction=ef_construction, ef_search=ef_search, scale=self._scale
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds beside a scan, in the order in which they are tried: the one that takes longest to build last.

        Only a graph can hold keys in less than 4 bytes a number.
        """
        return ("ivf-sq8", "ivf", "hnsw") if self._scale.precision == "float32" else ("hnsw",)

    def among(self, count: int) -> tuple[str, ...]:
        """Return the kinds that are worth trying among so many keys."""
        return tuple(kind for kind in self.kinds if kind != "ivf-sq8" or count >= CODED_FROM)

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
        if cancelled():
            return None
        index = self.empty(kind, parts, count)
        if not fill(index, parts, cancelled):
            index.discard()
            return None
        if isinstance(index, HnswIndex):
            index.arrange()
        if isinstance(index, HnswIndex | CodedIvfIndex):
            index.built()
        if isinstance(index, TombstonedIndex) and effort is not None:
            index.effort = effort
        return index

    def restore(self, saved: SavedIndex, slots: Slots, parts: Parts, cancelled: Cancelled) -> KeyedIndex | None:
        """Return a saved index over the keys in the parts, or None where it was cancelled.

        slots: of the saved positions, -1 where there is no such key any more. Raises InvalidValue; see TombstonedIndex.
        """
        if cancelled():
            return None
        if len(slots) != saved.number("count", 1) or (slots >= 0).sum() < len(parts) * KNOWN:
            raise InvalidValue("too few of the keys are in it")
        index = self.empty(saved.text("kind"), (), len(slots))
        if not isinstance(index, TombstonedIndex):
            raise InvalidValue("its kind is not one that is saved")
        effort = saved.facts.get("effort")
        if not isinstance(effort, float) or not 0 < effort <= max(EFFORTS):
            raise InvalidValue(f"its effort is {effort!r}")
        index.effort = effort
        if not index.restore_from(saved, slots, parts, cancelled):
            index.discard()
            return None
        if isinstance(index, HnswIndex | CodedIvfIndex):
            index.built()
        return index

    def empty(self, kind: str, parts: Iterable[tuple[Slots, Keys]] = (), count: int = 0) -> KeyedIndex:
        """Return an empty index for so many keys and as many to come."""
        capacity = max(MIN_CAPACITY, 2 * count)
        if kind == "hnsw":
            return self._graph(capacity=capacity, rebuilds_itself=False)
        if kind in ("ivf", "ivf-sq8"):
            made = CodedIvfIndex if kind == "ivf-sq8" else IvfIndex
            wanted = SAMPLE * lists_for(count, made.lists)
            training = every(parts, max(1, count // wanted))[1] if count and parts else None
            return made(self._dimension, capacity=capacity, training=training, expected=count, rebuilds_itself=False)
        return ExactIndex(self._dimension)


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
