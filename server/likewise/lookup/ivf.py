"""An index of lists around centroids: cheap to add to, lighter than a graph, slower to search."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from likewise.errors import InvalidValue
from likewise.lookup.exact import ExactIndex
from likewise.lookup.index import Lists
from likewise.lookup.slots import check_added
from likewise.types import Key, Keys, Slots

EXACT_LIMIT = 512
"""Below this a scan is as fast, and there are too few keys to find centroids in."""
SAMPLE = 64
"""Keys for each centroid that it is found from."""


class IvfIndex:
    """Lists around centroids; exact while there are few keys, and with new centroids as the keys quadruple or quarter.

    Finding centroids takes long among many keys: let AutoIndex do it in the background.
    """

    def __init__(self, dimension: int, *, probe_share: float = 0.08, seed: int = 0) -> None:
        """Set up an empty index. probe_share: of the lists, how many a search looks through, in (0, 1]."""
        if not 0 < probe_share <= 1:
            raise InvalidValue(f"A probe share of {probe_share} cannot be used; take more than 0 and at most 1.")
        self._dimension = dimension
        self._probe_share = probe_share
        self._rng = np.random.default_rng(seed)
        self._few: ExactIndex | None = ExactIndex(dimension)
        self._lists: Lists | None = None
        self._live: set[int] = set()
        self._trained_at = 0

    @property
    def dimension(self) -> int:
        """Length of a key."""
        return self._dimension

    def __len__(self) -> int:
        return len(self._live)

    def add(self, slots: Slots, keys: Keys) -> None:
        """Add keys under slots that are not in the index. Raises InvalidValue for shapes that do not match."""
        keys = check_added(slots, keys, self._dimension)
        new = slots.tolist()
        if not self._live.isdisjoint(new):
            raise InvalidValue(f"Slot {min(self._live.intersection(new))} is in the index already; remove it first.")
        self._live.update(new)
        if self._few is not None:
            self._few.add(slots, keys)
        elif self._lists is not None and len(slots):
            self._lists.add(np.ascontiguousarray(slots, np.int64), keys)
        if len(self) > max(EXACT_LIMIT, 4 * self._trained_at):
            self._retrain()

    def remove(self, slots: Slots) -> None:
        """Take slots out; unknown ones are a no-op."""
        gone = np.array([slot for slot in dict.fromkeys(slots.tolist()) if slot in self._live], np.int64)
        self._live.difference_update(gone.tolist())
        if self._few is not None:
            self._few.remove(gone)
        elif self._lists is not None and len(gone):
            self._lists.remove(gone)
            if len(self) < self._trained_at // 4:
                self._retrain()

    def _retrain(self) -> None:
        slots = self.slots()
        keys = self.keys(slots)
        if len(slots) <= EXACT_LIMIT:
            self._few, self._lists, self._trained_at = ExactIndex(self._dimension), None, 0
            self._few.add(slots, keys)
            return
        count = round(2 * len(slots) ** 0.5)
        sample = keys[self._rng.permutation(len(keys))[: SAMPLE * count]]
        lists = Lists(np.ascontiguousarray(sample), count, max(4, round(self._probe_share * count)))
        lists.add(slots, np.ascontiguousarray(keys))
        self._few, self._lists, self._trained_at = None, lists, len(slots)

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, slots), both of shape (n, k), nearest first; +inf and -1 where there are fewer than k."""
        if self._few is not None:
            return self._few.search(keys, k)
        assert self._lists is not None
        l2_sq, slots = self._lists.search(keys, k)
        short = np.flatnonzero((slots >= 0).sum(axis=1) < min(k, len(self)))
        if short.size:
            l2_sq[short], slots[short] = self._lists.search(np.asarray(keys)[short], k, everywhere=True)
        l2_sq[slots < 0] = np.inf
        return l2_sq, slots

    def search_one(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Return (l2_sq, slots) of the at most k nearest keys, nearest first, without padding."""
        if self._few is not None:
            return self._few.search_one(key, k)
        assert self._lists is not None
        found = self._lists.search_one(key, k)
        slots: list[int] = found.positions.tolist()
        if slots[-1] >= 0:
            return found.l2_sq.tolist(), slots
        count = min(k, len(self))
        l2_sq, wide = self.search(key[None], max(1, count))
        return l2_sq[0, :count].tolist(), wide[0, :count].tolist()

    def slots(self) -> Slots:
        """Return the live slots, in no order."""
        return np.fromiter(self._live, np.int64, len(self._live))

    def keys(self, slots: Slots) -> Keys:
        """Return a copy of the keys of live slots, shape (n, d)."""
        if self._few is not None:
            return self._few.keys(slots)
        assert self._lists is not None
        return self._lists.keys(slots)

    def snapshot(self, chunk: int) -> Iterator[tuple[Slots, Keys]]:
        """Return the slots and keys as they are now, in parts, copied at once."""
        slots = self.slots()
        keys = self.keys(slots)
        return ((slots[i : i + chunk], keys[i : i + chunk]) for i in range(0, len(slots), chunk))

    @property
    def worn(self) -> bool:
        """False: it renews itself."""
        return False

    def memory_bytes(self) -> int:
        """Return the bytes it holds, keys included, to a good estimate: ids, their places and a set of them."""
        if self._few is not None:
            return self._few.memory_bytes() + 60 * len(self)
        assert self._lists is not None
        return len(self) * (4 * self._dimension + 8 + 40 + 60) + self._lists.count * 4 * self._dimension
