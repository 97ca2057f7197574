"""Lists of very many keys, which faiss looks through in 8 bits a number.

A search ends when it has seen its share of the keys, in the middle of a list: it looks at as many where lists are long.
That is nothing where lists hold hundreds of keys, and much where they hold ten.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import faiss
import numpy as np

from likewise.index.kernels import Answers
from likewise.index.lists import USUAL, Lists
from likewise.index.pages import give_back, join_pages, keep_small
from likewise.types import Key, Keys, Slots

CHOSEN, FEWEST = 2, 8
"""Candidates that are compared exactly for each key wanted, and for all of them at least: each is fetched from memory.
"""
RANGE = 127
"""Largest number of a key in 8 bits."""
FITTED = 120
"""What the largest number of the keys that the range is fitted to becomes: those to come may be somewhat larger."""
GRAPH_FROM = 1000
"""Centroids from which on the nearest are found by a graph of them: of 3,000 in 5 us instead of 20."""
GRAPH_M = 16
GRAPH_EF_CONSTRUCTION = 128
"""More than keys are linked with: a list whose centroid is not found costs a search all keys in it, so one that has
enough of them would have to look through half as many lists again. It takes .3 s for 3,000 centroids."""
GRAPH_EF = 8
NEAREST = 40
"""Centroids that such a graph is asked for at most; more are found as fast by a scan."""
SPREAD = 2
"""Lists that a search may touch, as a multiple of those that hold its share of the keys on average."""

_compare: Any = faiss.knn_L2sqr_by_idx  # type: ignore[attr-defined]


class CodedLists(Lists):
    """Lists of keys in 8 bits a number, from which a search takes candidates; these it compares exactly.

    It reads a quarter of the bytes and compares integers, which is what a search among very many keys waits for. The
    keys as they came are side by side by position.
    """

    def __init__(
        self,
        dimension: int,
        capacity: int,
        lists: int,
        training: Keys | None = None,
        centroids: Keys | None = None,
        coding: Keys | None = None,
    ) -> None:
        """Set up; see Lists.

        coding: the middle of each number of a key and what one is multiplied by then, known already: shape (d + 1,).
        """
        if coding is None:
            assert training is not None
            low, high = training.min(axis=0), training.max(axis=0)
            widest = float((high - low).max()) / 2
            coding = np.append((low + high) / 2, FITTED / widest if widest > 0 else 1.0).astype(np.float32)
        self.coding = coding
        self._middle, self._scale = coding[:-1].copy(), np.full(dimension, coding[-1], np.float32)
        self._lowest, self._highest = -np.full(dimension, RANGE, np.float32), np.full(dimension, RANGE, np.float32)
        self._keys = keep_small(np.empty((capacity, dimension), np.float32))
        self._keys_address = faiss.swig_ptr(self._keys)
        self._near = Answers(dimension, _candidates(USUAL))
        self._linked: Any = None
        super().__init__(dimension, capacity, lists, training, centroids)
        if lists >= GRAPH_FROM:
            kind: Any = faiss.ScalarQuantizer.QT_8bit_direct_signed
            linked: Any = faiss.IndexHNSWSQ(dimension, kind, GRAPH_M)
            linked.hnsw.efConstruction, linked.hnsw.efSearch = GRAPH_EF_CONSTRUCTION, GRAPH_EF
            linked.train(self.centroids)
            linked.add(np.rint(self.centroids))
            self._linked = linked
            self._tune()

    def _empty(self) -> Any:
        kind: Any = faiss.ScalarQuantizer.QT_8bit_direct_signed
        index: Any = faiss.IndexIVFScalarQuantizer(
            self._scanned, self._dimension, self.lists, kind, faiss.METRIC_L2, False
        )
        index.is_trained = self._scanned.ntotal == self.lists
        return index

    def _coded(self, keys: Keys) -> Keys:
        coded = np.empty(keys.shape, np.float32)
        self._code(keys, coded)
        return coded

    def _code(self, keys: Keys, coded: Keys) -> None:
        """Write keys in 8 bits a number, as float32."""
        np.subtract(keys, self._middle, coded)
        np.multiply(coded, self._scale, coded)
        np.rint(coded, coded)
        np.maximum(coded, self._lowest, out=coded)
        np.minimum(coded, self._highest, out=coded)

    def _centroids_for(self, probes: int) -> Any:
        return self._scanned if self._linked is None or probes > NEAREST else self._linked

    def _budget(self, share: float) -> tuple[int, int]:
        probes = min(self.lists, max(self._least, ceil(SPREAD * share * self.lists)))
        return probes, 0 if probes == self.lists else ceil(share * self.count)

    def _appended(self, keys: Keys) -> None:
        start, end = self.count, self.count + len(keys)
        if end > len(self._keys):
            grown = keep_small(np.empty((2 * end, self._dimension), np.float32))
            grown[:start] = self._keys[:start]
            self._keys, self._keys_address = grown, faiss.swig_ptr(grown)
        self._keys[start:end] = keys
        super()._appended(keys)

    def keys(self, positions: Slots) -> Keys:
        """Return a copy of the keys at `positions`, shape (n, d). May be called from other threads beside `append`."""
        keys = self._keys  # before it is asked whether they were discarded: `discard` says so first
        if self._discarded:
            return np.zeros((len(positions), self._dimension), np.float32)
        found: Keys = keys[positions]
        return found

    def search_one(self, key: Key, k: int) -> Answers:
        """Return the answers, good until the next call; positions are -1 past the end."""
        answers, near = self._answers, self._near
        if answers.k != k:
            answers = self._answers = Answers(self._dimension, k)
            near = self._near = Answers(self._dimension, _candidates(k))
        answers.key[:] = key
        key_address, count = answers.key_address, near.k
        self._code(key, near.key)
        self._index.search_c(1, near.key_address, count, near.l2_sq_address, near.positions_address, self._for(k))
        _compare(
            key_address,
            self._keys_address,
            near.positions_address,
            self._dimension,
            1,
            self.count,
            count,
            k,
            answers.l2_sq_address,
            answers.positions_address,
            count,
        )
        return answers

    def _search(self, keys: Keys, k: int, parameters: Any) -> tuple[Keys, Slots]:
        keys = np.ascontiguousarray(keys, np.float32)
        count = _candidates(k)
        near = np.ascontiguousarray(super()._search(keys, count, parameters)[1])
        l2_sq, positions = np.empty((len(keys), k), np.float32), np.empty((len(keys), k), np.int64)
        if len(keys):
            _compare(
                faiss.swig_ptr(keys),
                self._keys_address,
                faiss.swig_ptr(near),
                self._dimension,
                len(keys),
                self.count,
                count,
                k,
                faiss.swig_ptr(l2_sq),
                faiss.swig_ptr(positions),
                count,
            )
        return l2_sq, positions

    def join_pages(self) -> None:
        """Put what there is on huge pages: a search touches it all over. Takes a second, for threads in the background.

        What comes later is on small ones: to make a huge one takes longer than the loop may wait.
        """
        lists, each = self._index.invlists, int(self._index.code_size)
        pieces = [(int(lists.get_codes(number)), lists.list_size(number) * each) for number in range(self.lists)]
        join_pages([*pieces, (self._keys.ctypes.data, self.count * 4 * self._dimension)])

    def discard(self) -> None:
        """Give the memory back at once, as Lists do."""
        super().discard()
        keys, self._keys = self._keys, np.empty((0, self._dimension), np.float32)
        give_back(keys.ctypes.data, self.count * 4 * self._dimension)  # which takes long, and here nobody waits for it

    def memory_bytes(self) -> int:
        """Return the bytes of keys, codes, ids and centroids, to a good estimate."""
        return super().memory_bytes() + self.count * 4 * self._dimension


def _candidates(k: int) -> int:
    """Return how many candidates are compared exactly for k keys."""
    return max(FEWEST, CHOSEN * k)
