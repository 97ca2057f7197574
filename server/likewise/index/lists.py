"""The searches among lists of keys that faiss does for us: keys as they are, or in 8 bits a number beside them.

A search looks through the lists around the nearest centroids, nearest first, until it has seen its share of the keys: a
part of the last list is enough. Counting keys instead of lists, it looks at as many where lists are long.

Source: Sivic and Zisserman, 2003; Jégou et al., 2011, as faiss has it.
"""

from __future__ import annotations

import mmap
import threading
from math import ceil
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from likewise.index.kernels import Answers, Bitmap
from likewise.index.pages import give_back, keep_small, release
from likewise.types import Key, Keys, Slots

SPREAD = 2
"""Lists that a search may touch, as a multiple of those that hold its share of the keys on average."""
GRAPH_FROM = 1500
"""Centroids from which on the nearest are found by a graph of them: 2,000 take 11 us to scan, a graph 6."""
GRAPH_M = 16
NEAREST = 16
"""Centroids that such a graph is asked for at most; more are found as fast by a scan."""
CHOSEN = 2
"""Candidates that are compared exactly for each key wanted."""
USUAL = 10
"""Keys wanted by most searches, which the share is chosen for."""
MORE = 4
"""Keys looked at for each wanted, where more are wanted than usual."""


_compare: Any = faiss.knn_L2sqr_by_idx  # type: ignore[attr-defined]


class Lists:
    """Keys by position in lists, each around a centroid. It looks through all of them until told otherwise."""

    def __init__(
        self,
        dimension: int,
        capacity: int,
        lists: int,
        training: Keys | None = None,
        centroids: Keys | None = None,
    ) -> None:
        """Find the centroids of a sample, shape (n, d), n >= lists; None: all keys are in one list.

        capacity: keys that may come without a pause, which the list of their places would make as it grows.
        centroids: known already, shape (lists, d).
        """
        self.lists = lists
        self.count = 0
        self._dimension = dimension
        self._scanned: Any = faiss.IndexFlatL2(dimension)
        if training is None:
            self._scanned.add(np.zeros((lists, dimension), np.float32) if centroids is None else centroids)
        index = self._index = self._empty()
        index.cp.min_points_per_centroid = 1  # else it warns on standard error
        index.cp.max_points_per_centroid = 64
        index.cp.niter = 8
        if training is not None:
            index.train(np.ascontiguousarray(training))
        index.set_direct_map_type(faiss.DirectMap.Array)  # type: ignore[attr-defined]
        places = index.direct_map.array
        places.resize(capacity)
        release(places, capacity, 0)
        places.resize(0)
        self._linked: Any = None
        if lists >= GRAPH_FROM:
            self._linked = faiss.IndexHNSWFlat(dimension, GRAPH_M)
            self._linked.hnsw.efSearch = NEAREST
            self._linked.add(self.centroids)
        self._answers = Answers(dimension, 10)
        self._bitmap: Bitmap | None = None
        self._filter: Any = None
        self._discarded = False
        self._growing = threading.Lock()  # held by readers in other threads, and where lists grow
        self.look_at(1.0, 1)

    def _empty(self) -> Any:
        """Return faiss's index without keys."""
        return faiss.IndexIVFFlat(self._scanned, self._dimension, self.lists)

    def look_at(self, share: float, least: int) -> None:
        """Look at such a share of the keys from now on, as they grow, and at as many as so many lists hold at least."""
        self._share, self._least = share, least
        self._tune()

    def _tune(self) -> None:
        self._tune_at = self.count + self.count // 64 + 1
        probes, keys = self._budget(max(self._share, self._least / self.lists))
        index = self._index
        index.nprobe, index.max_codes = probes, keys
        index.quantizer = self._scanned if self._linked is None or probes > NEAREST else self._linked
        self._parameters = None if self._bitmap is None else self._through(probes, keys)

    def _budget(self, share: float) -> tuple[int, int]:
        """Return how many lists a search may touch, and how many keys it looks at in them; 0: all."""
        probes = min(self.lists, max(self._least, ceil(SPREAD * share * self.lists)))
        return probes, 0 if probes == self.lists else ceil(share * self.count)

    def _through(self, probes: int, keys: int) -> Any:
        parameters: Any = faiss.SearchParametersIVF(nprobe=probes, max_codes=keys)  # type: ignore[call-arg]
        if self._bitmap is not None:
            parameters.sel = self._filter
        return parameters

    def _for(self, k: int) -> Any:
        """Return the parameters of a search for k keys; None: those of the index."""
        if k <= USUAL or not 0 < self._index.max_codes < MORE * k:
            return self._parameters
        return self._through(*self._budget(MORE * k / self.count))

    def append(self, keys: Keys) -> None:
        """Append keys of shape (n, d), C-contiguous float32."""
        if len(keys):
            with self._growing:
                self._index.add_c(len(keys), faiss.swig_ptr(keys))
            self._appended(keys)

    def append_to(self, numbers: NDArray[np.int64], keys: Keys) -> None:
        """Append keys of shape (n, d), C-contiguous float32, to lists whose numbers are known, shape (n,)."""
        if len(keys):
            with self._growing:
                self._index.add_core(len(keys), faiss.swig_ptr(keys), None, faiss.swig_ptr(numbers))
            self._appended(keys)

    def _appended(self, keys: Keys) -> None:
        self.count += len(keys)
        if self.count >= self._tune_at:
            self._tune()

    @property
    def centroids(self) -> Keys:
        """Copies of the centroids, shape (lists, d)."""
        found: Keys = self._scanned.reconstruct_n(0, self.lists)
        return found

    def numbers(self, start: int, end: int) -> NDArray[np.int32]:
        """Return the numbers of the lists of some positions; may be called in other threads beside `append`."""
        with self._growing:
            places = faiss.rev_swig_ptr(self._index.direct_map.array.data(), end)[start:]
            return (places >> 32).astype(np.int32)

    def filter(self, bitmap: Bitmap | None) -> None:
        """Find only positions whose bit is set, from now on and as the bitmap changes; None: find all."""
        if bitmap is self._bitmap:
            return
        self._bitmap = bitmap
        if bitmap is not None:
            self._filter = faiss.IDSelectorBitmap(bitmap.size, faiss.swig_ptr(bitmap))
        self._tune()

    def keys(self, positions: Slots) -> Keys:
        """Return a copy of the keys at `positions`, shape (n, d). May be called from other threads beside `append`."""
        with self._growing:
            if not len(positions) or self._discarded:
                return np.zeros((len(positions), self._dimension), np.float32)
            found: Keys = self._index.reconstruct_batch(positions)
        return found

    def rows(self, start: int, end: int) -> Keys:
        """Return a copy of the keys at positions from start to before end, shape (n, d); as `keys` otherwise."""
        return self.keys(np.arange(start, end))

    def search_one(self, key: Key, k: int) -> Answers:
        """Return the answers, good until the next call; positions are -1 past the end."""
        answers = self._answers
        if answers.k != k:
            answers = self._answers = Answers(self._dimension, k)
        answers.key[:] = key
        self._index.search_c(1, answers.key_address, k, answers.l2_sq_address, answers.positions_address, self._for(k))
        return answers

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, positions), both of shape (n, k), -1 past the end."""
        return self._search(keys, k, self._for(k))

    def scan(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, positions) by looking through all lists."""
        with_all = self._through(self.lists, 0)
        quantizer, self._index.quantizer = self._index.quantizer, self._scanned
        try:
            return self._search(keys, k, with_all)
        finally:
            self._index.quantizer = quantizer

    def _search(self, keys: Keys, k: int, parameters: Any) -> tuple[Keys, Slots]:
        found: tuple[Keys, Slots] = self._index.search(np.ascontiguousarray(keys, np.float32), k, params=parameters)
        return found

    def discard(self) -> None:
        """Give the pages of all lists back at once; nothing may be asked any more, and keys are zeros.

        The allocator would keep them for itself.
        """
        with self._growing:
            self._discarded = True
            lists, each = self._index.invlists, self._index.code_size
            for number in range(self.lists):
                size = lists.list_size(number) * each
                if size >= mmap.PAGESIZE:
                    give_back(int(lists.get_codes(number)), size)
            self._index.reset()

    def memory_bytes(self) -> int:
        """Return the bytes of keys, ids and centroids, to a good estimate: a list has a quarter more room than keys."""
        each = int(self._index.code_size) + 8
        return self.count * each * 5 // 4 + self.count * 8 + self.lists * 4 * self._dimension


class CodedLists(Lists):
    """Lists of keys in 8 bits a number, from which a search takes candidates; these it compares exactly.

    It reads a quarter of the bytes, which is what a search among very many keys waits for. The keys as they came are
    side by side by position.
    """

    def __init__(
        self,
        dimension: int,
        capacity: int,
        lists: int,
        training: Keys | None = None,
        centroids: Keys | None = None,
        ranges: Keys | None = None,
    ) -> None:
        """Set up; see Lists. ranges: of each number of a key, known already: shape (2, d), lowest and width."""
        self._ranges = ranges
        self._keys = keep_small(np.empty((capacity, dimension), np.float32))
        self._keys_address = faiss.swig_ptr(self._keys)
        self._near = Answers(dimension, CHOSEN * 10)
        super().__init__(dimension, capacity, lists, training, centroids)

    def _empty(self) -> Any:
        kind = faiss.ScalarQuantizer.QT_8bit
        index: Any = faiss.IndexIVFScalarQuantizer(
            self._scanned, self._dimension, self.lists, kind, faiss.METRIC_L2, False
        )
        if self._ranges is not None:
            faiss.copy_array_to_vector(self._ranges.reshape(-1), index.sq.trained)
            index.is_trained = True
        return index

    @property
    def ranges(self) -> Keys:
        """A copy of the lowest value and the width of each number of a key, shape (2, d)."""
        found: Keys = faiss.vector_to_array(self._index.sq.trained).reshape(2, self._dimension)
        return found

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
        if self._discarded:
            return np.zeros((len(positions), self._dimension), np.float32)
        found: Keys = self._keys[positions]
        return found

    def search_one(self, key: Key, k: int) -> Answers:
        """Return the answers, good until the next call; positions are -1 past the end."""
        answers, near = self._answers, self._near
        if answers.k != k:
            answers = self._answers = Answers(self._dimension, k)
            near = self._near = Answers(self._dimension, CHOSEN * k)
        answers.key[:] = key
        key_address, count = answers.key_address, near.k
        self._index.search_c(1, key_address, count, near.l2_sq_address, near.positions_address, self._for(k))
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
        near = np.ascontiguousarray(super()._search(keys, CHOSEN * k, parameters)[1])
        l2_sq, positions = np.empty((len(keys), k), np.float32), np.empty((len(keys), k), np.int64)
        if len(keys):
            _compare(
                faiss.swig_ptr(keys),
                self._keys_address,
                faiss.swig_ptr(near),
                self._dimension,
                len(keys),
                self.count,
                CHOSEN * k,
                k,
                faiss.swig_ptr(l2_sq),
                faiss.swig_ptr(positions),
                CHOSEN * k,
            )
        return l2_sq, positions

    def discard(self) -> None:
        """Give the memory back at once, as Lists do."""
        super().discard()
        self._keys = np.empty((0, self._dimension), np.float32)

    def memory_bytes(self) -> int:
        """Return the bytes of keys, codes, ids and centroids, to a good estimate."""
        return super().memory_bytes() + self.count * 4 * self._dimension
