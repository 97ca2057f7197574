"""A-LSH, FoggyCache's index: hash tables whose bucket width follows the data.

Source: Guo et al., FoggyCache: Cross-Device Approximate Computation Reuse (MobiCom 2018), section 4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.index.exact import ExactIndex
from likewise.index.keyed import ImmediateIndex
from likewise.index.parts import Parts
from likewise.index.widths import Tuner
from likewise.types import Key, Keys, Slots

REHASHED = 32
"""Keys that each call moves to new tables while they are being filled; an insertion moves twice its own, too."""


class Tables:
    """L tables of j hashes h(v) = ⌊(a·v) ÷ r + b⌋ with Gaussian a and uniform b in [0, 1)."""

    def __init__(self, directions: Keys, offsets: NDArray[np.float64], tables: int, width: float) -> None:
        """Set up empty tables. directions: shape (d, L·j); offsets: shape (L·j,); width: r, above 0."""
        self._directions = directions
        self._offsets = offsets
        self._tables = tables
        self.width = width
        # each table's j hashes are folded into one integer; two buckets share one by chance once in 2^61
        self._mix = np.random.default_rng(9).integers(1, 2**61, (tables, directions.shape[1] // tables)) | 1
        self._buckets: list[dict[int, list[int]]] = [{} for _ in range(tables)]

    def _codes(self, keys: Keys) -> list[list[int]]:
        cells = np.floor(keys @ self._directions / self.width + self._offsets).astype(np.int64)
        folded: list[list[int]] = (cells.reshape(len(keys), self._tables, -1) * self._mix).sum(axis=2).tolist()
        return folded

    def add(self, slots: list[int], keys: Keys) -> None:
        """Put slots into the buckets of their keys, shape (n, d)."""
        for slot, codes in zip(slots, self._codes(keys), strict=True):
            for buckets, code in zip(self._buckets, codes, strict=True):
                buckets.setdefault(code, []).append(slot)

    def remove(self, slots: list[int], keys: Keys) -> None:
        """Take slots out of the buckets of their keys; those that are not there are passed over."""
        for slot, codes in zip(slots, self._codes(keys), strict=True):
            for buckets, code in zip(self._buckets, codes, strict=True):
                bucket = buckets.get(code)
                if bucket is not None and slot in bucket:
                    bucket.remove(slot)
                    if not bucket:
                        del buckets[code]

    def candidates(self, keys: Keys) -> list[Slots]:
        """Return for each key the slots that share a bucket with it, each once."""
        found = []
        for codes in self._codes(keys):
            slots: set[int] = set()
            for buckets, code in zip(self._buckets, codes, strict=True):
                slots.update(buckets.get(code, ()))
            found.append(np.fromiter(slots, np.int64, len(slots)))
        return found


class AlshIndex(ImmediateIndex):
    """Looks only at keys that share a bucket with the query; widens or narrows the buckets as the data asks for.

    A query whose buckets hold fewer than k keys is answered by a scan, so an answer is never short. New tables are
    filled a few keys with each call, and take over when they are complete.
    """

    kind = "alsh"

    def __init__(
        self,
        dimension: int,
        *,
        tables: int = 12,
        hashes: int = 4,
        candidates_min: int = 40,
        candidates_max: int = 400,
        seed: int = 0,
    ) -> None:
        """Set up an empty index.

        tables and hashes: L and j. candidates_min and candidates_max: keys that a lookup should look at, on average.
        """
        if tables < 1 or hashes < 1 or not 0 < candidates_min < candidates_max:
            raise InvalidValue("A-LSH needs at least one table and hash, and candidates_min below candidates_max.")
        rng = np.random.default_rng(seed)
        self._dimension = dimension
        self._count = tables
        self._directions = rng.normal(size=(dimension, tables * hashes)).astype(np.float32)
        self._offsets = rng.random(tables * hashes)
        self._store = ExactIndex(dimension)
        self._tuner = Tuner(self._directions, self._offsets, tables, candidates_min, candidates_max, rng)
        self._tables = self._empty(1.0)
        self._next: Tables | None = None
        self._waiting: list[int] = []

    def _empty(self, width: float) -> Tables:
        return Tables(self._directions, self._offsets, self._count, width)

    @property
    def dimension(self) -> int:
        """Length of a key."""
        return self._dimension

    @property
    def width(self) -> float:
        """The bucket width r in use."""
        return self._tables.width

    def __len__(self) -> int:
        return len(self._store)

    def add(self, slots: Slots, keys: Keys) -> None:
        """Add keys under slots that are not in the index. Raises InvalidValue for shapes that do not match."""
        self._store.add(slots, keys)
        keys = np.ascontiguousarray(keys, np.float32)
        for tables in (self._tables, self._next):
            if tables is not None:
                tables.add(slots.tolist(), keys)
        self._tuner.changed(len(slots))
        self._rehash(REHASHED + 2 * len(slots))

    def remove(self, slots: Slots) -> None:
        """Take slots out; unknown ones are a no-op."""
        live = np.array([slot for slot in dict.fromkeys(slots.tolist()) if self._store.has(slot)], np.int64)
        if not len(live):
            return
        keys = self._store.keys(live)
        for tables in (self._tables, self._next):
            if tables is not None:
                tables.remove(live.tolist(), keys)
        self._store.remove(live)
        self._rehash()

    def _rehash(self, count: int = REHASHED) -> None:
        """Move on with new tables, or start some where the tuner wants another width."""
        if self._next is None:
            width = self._tuner.width(self._store, self._tables.width)
            if width != self._tables.width:
                self._next = self._empty(width)
                self._waiting = self._store.slots().tolist()
            return
        part: list[int] = []
        while self._waiting and len(part) < count:
            slot = self._waiting.pop()
            if self._store.has(slot):
                part.append(slot)
        if part:
            keys = self._store.keys(np.array(part, np.int64))
            # one that was removed and added again since is there already
            self._next.remove(part, keys)
            self._next.add(part, keys)
        if not self._waiting:
            self._tables, self._next = self._next, None

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, slots), both of shape (n, k), nearest first; +inf and -1 where there are fewer than k."""
        keys = np.ascontiguousarray(keys, np.float32)
        l2_sq = np.full((len(keys), k), np.inf, np.float32)
        slots = np.full((len(keys), k), -1, np.int64)
        for row, near in enumerate(self._tables.candidates(keys)):
            found_l2_sq, found = self._nearest(keys[row], near, k)
            l2_sq[row, : len(found)] = found_l2_sq
            slots[row, : len(found)] = found
        return l2_sq, slots

    def search_one(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Return (l2_sq, slots) of the at most k nearest keys, nearest first, without padding."""
        self._rehash()
        return self._nearest(key, self._tables.candidates(key[None])[0], k)

    def _nearest(self, key: Key, near: Slots, k: int) -> tuple[list[float], list[int]]:
        if len(near) < k:
            l2_sq, slots = self._store.search_one(key, k)
        else:
            differences = self._store.keys(near) - key
            distances = np.einsum("ij,ij->i", differences, differences)
            if len(near) > k:
                nearest = np.argpartition(distances, k - 1)[:k]
                near, distances = near[nearest], distances[nearest]
            order = np.argsort(distances)
            l2_sq, slots = distances[order].tolist(), near[order].tolist()
        self._tuner.looked_up(key, l2_sq)
        return l2_sq, slots

    def slots(self) -> Slots:
        """Return the live slots, in no order."""
        return self._store.slots()

    def keys(self, slots: Slots) -> Keys:
        """Return a copy of the keys of live slots, shape (n, d)."""
        return self._store.keys(slots)

    def peek(self, slot: int) -> Keys | None:
        """Return a copy of a slot's key, shape (1, d), or None; may be called in another thread while this changes."""
        return self._store.peek(slot)

    def snapshot(self, chunk: int) -> Parts:
        """Return the slots and keys as they are now, in parts, to be read while this changes; see ExactIndex."""
        return self._store.snapshot(chunk)

    def memory_bytes(self) -> int:
        """Return the bytes it holds, keys included, to a good estimate: each table has a bucket for most keys."""
        return self._store.memory_bytes() + len(self) * self._count * 120 * (1 if self._next is None else 2)
