"""The search in lists of keys that faiss does for us.

A search looks through the lists around the nearest centroids, nearest first: through as many as hold its share of the
keys on average.

Source: Sivic and Zisserman, 2003; Jégou et al., 2011, as faiss has it.
"""

from __future__ import annotations

import mmap
import threading
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from likewise.index.kernels import Answers, Bitmap
from likewise.index.pages import give_back, release
from likewise.types import Key, Keys, Slots

USUAL = 10
"""Keys wanted by most searches, which the share is chosen for."""
MORE = 4
"""Keys looked at for each wanted, where more are wanted than usual."""
_SPREAD_OUT: Any = getattr(faiss, "ClusteringInitMethod_KMEANS_PLUS_PLUS", None)
"""How the first centroids are drawn: far from one another, or at random where faiss is too old to know this."""


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
        self._nearest: Any = self._scanned
        """What finds the nearest centroids."""
        index = self._index = self._empty()
        index.cp.min_points_per_centroid = 1  # else it warns on standard error
        index.cp.max_points_per_centroid = 64
        index.cp.niter = 8
        if _SPREAD_OUT is not None:
            index.cp.init_method = _SPREAD_OUT
        if training is not None:
            index.train(self._coded(training))
        index.set_direct_map_type(faiss.DirectMap.Array)  # type: ignore[attr-defined]
        places = index.direct_map.array
        places.resize(capacity)
        release(places, capacity, 0)
        places.resize(0)
        self._answers = Answers(dimension, 10)
        self._bitmap: Bitmap | None = None
        self._filter: Any = None
        self._discarded = False
        self._growing = threading.Lock()  # held by readers in other threads, and where lists grow
        self.look_at(1.0, 1)

    def _empty(self) -> Any:
        """Return faiss's index without keys."""
        return faiss.IndexIVFFlat(self._scanned, self._dimension, self.lists)

    def _coded(self, keys: Keys) -> Keys:
        """Return keys of shape (n, d) as faiss's index gets them, C-contiguous float32."""
        return np.ascontiguousarray(keys, np.float32)

    def look_at(self, share: float, least: int) -> None:
        """Look at such a share of the keys from now on, as they grow, and at as many as so many lists hold at least."""
        self._share, self._least = max(share, min(1.0, least / self.lists)), least
        self._tune()

    def _tune(self) -> None:
        self._tune_at = self.count + self.count // 64 + 1
        index, (probes, keys) = self._index, self._budget(self._share)
        index.nprobe, index.max_codes = probes, keys
        index.quantizer = self._nearest
        self._parameters = None if self._bitmap is None else self._through(probes, keys)

    def _budget(self, share: float) -> tuple[int, int]:
        """Return how many lists a search may touch, and how many keys it looks at in them at most; 0: all."""
        return max(1, min(self.lists, round(share * self.lists))), 0

    def _through(self, probes: int, keys: int) -> Any:
        parameters: Any = faiss.SearchParametersIVF(nprobe=probes, max_codes=keys)  # type: ignore[call-arg]
        if self._bitmap is not None:
            parameters.sel = self._filter
        return parameters

    def _for(self, k: int) -> Any:
        """Return the parameters of a search for k keys; None: those of the index."""
        if k <= USUAL or MORE * k <= self._share * self.count:
            return self._parameters
        return self._through(*self._budget(min(1.0, MORE * k / max(1, self.count))))

    def append(self, keys: Keys) -> None:
        """Append keys of shape (n, d), C-contiguous float32."""
        if len(keys):
            coded = self._coded(keys)
            with self._growing:
                self._index.add_c(len(keys), faiss.swig_ptr(coded))
            self._appended(keys)

    def append_to(self, numbers: NDArray[np.int64], keys: Keys) -> None:
        """Append keys of shape (n, d), C-contiguous float32, to lists whose numbers are known, shape (n,)."""
        if len(keys):
            coded = self._coded(keys)
            with self._growing:
                self._index.add_core(len(keys), faiss.swig_ptr(coded), None, faiss.swig_ptr(numbers))
            self._appended(keys)

    def _appended(self, keys: Keys) -> None:
        self.count += len(keys)
        if self.count >= self._tune_at:
            self._tune()

    @property
    def centroids(self) -> Keys:
        """Copies of the centroids, shape (lists, d), in the form that the index has keys in."""
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
        parameters = self._parameters if k <= USUAL else self._for(k)
        self._index.search_c(1, answers.key_address, k, answers.l2_sq_address, answers.positions_address, parameters)
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
        found: tuple[Keys, Slots] = self._index.search(self._coded(keys), k, params=parameters)
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
