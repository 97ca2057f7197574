"""Searches that faiss does for us: a scan over an array, and lists of keys around centroids.

Nothing here knows what a slot holds; the index kinds beside it do. The third search, the graph, is in `graph.py`; only
these two files import faiss.

Calls go to faiss's SWIG functions with buffers that are kept, since its Python wrappers cost as much as a search among
a few thousand keys. Every such call releases the interpreter lock.
"""

from __future__ import annotations

import mmap
import threading
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from likewise.index.pages import give_back, release
from likewise.types import Key, Keys, Slots

Bitmap = NDArray[np.uint8]
"""One bit for each position, least significant first: set where the key is live."""


def use_one_thread() -> None:
    """Make faiss use no other thread than the calling one, for its calls from there.

    The loop answers one request at a time; a team of threads for each would only wait for one another.
    """
    faiss.omp_set_num_threads(1)


use_one_thread()


class Answers:
    """Buffers for one query and its k answers, with their addresses, kept between calls."""

    def __init__(self, dimension: int, k: int) -> None:
        self.k = k
        self.key = np.zeros(dimension, np.float32)
        self.l2_sq = np.zeros(k, np.float32)
        self.positions = np.zeros(k, np.int64)
        self.key_address = faiss.swig_ptr(self.key)
        self.l2_sq_address = faiss.swig_ptr(self.l2_sq)
        self.positions_address = faiss.swig_ptr(self.positions)


class Scan:
    """Exact search over the first rows of an array that the caller owns."""

    def __init__(self, keys: Keys) -> None:
        """Search in `keys`, shape (capacity, d), C-contiguous; rows may change between calls."""
        self._keys = keys
        self._address = faiss.swig_ptr(keys)
        self._dimension = keys.shape[1]
        self._answers = Answers(self._dimension, 10)

    def search_one(self, key: Key, k: int, count: int) -> Answers:
        """Return the answers among the first `count` rows, good until the next call; positions are -1 past the end."""
        answers = self._answers
        if answers.k != k:
            answers = self._answers = Answers(self._dimension, k)
        answers.key[:] = key
        faiss.knn_L2sqr(
            answers.key_address,
            self._address,
            self._dimension,
            1,
            count,
            k,
            answers.l2_sq_address,
            answers.positions_address,
        )
        return answers

    def search(self, keys: Keys, k: int, count: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, positions), both of shape (n, k); positions are -1 past the end."""
        keys = np.ascontiguousarray(keys, np.float32)
        l2_sq = np.empty((len(keys), k), np.float32)
        positions = np.empty((len(keys), k), np.int64)
        if len(keys):
            faiss.knn_L2sqr(
                faiss.swig_ptr(keys),
                self._address,
                self._dimension,
                len(keys),
                count,
                k,
                faiss.swig_ptr(l2_sq),
                faiss.swig_ptr(positions),
            )
        return l2_sq, positions


class Lists:
    """Keys by position in lists, each around a centroid; a search looks through those around the nearest (IVF).

    Source: Sivic and Zisserman, 2003; Jégou et al., 2011, as faiss has it.
    """

    def __init__(
        self,
        dimension: int,
        capacity: int,
        lists: int,
        probes: int,
        training: Keys | None = None,
        centroids: Keys | None = None,
    ) -> None:
        """Find the centroids of a sample, shape (n, d), n >= lists; None: all keys are in one list.

        capacity: keys that may come without a pause, which the list of their places would make as it grows. probes:
        lists that a search looks through. centroids: known already, shape (lists, d).
        """
        self.lists = lists
        self.count = 0
        self._quantizer: Any = faiss.IndexFlatL2(dimension)
        if training is None:
            self._quantizer.add(np.zeros((lists, dimension), np.float32) if centroids is None else centroids)
        quantized: Any = faiss.IndexIVFFlat(self._quantizer, dimension, lists)
        quantized.cp.min_points_per_centroid = 1  # else it warns on standard error
        quantized.cp.max_points_per_centroid = 64
        quantized.cp.niter = 8
        if training is not None:
            quantized.train(np.ascontiguousarray(training))
        quantized.set_direct_map_type(faiss.DirectMap.Array)  # type: ignore[attr-defined]
        places = quantized.direct_map.array
        places.resize(capacity)
        release(places, capacity, 0)
        places.resize(0)
        self._index = quantized
        self._answers = Answers(dimension, 10)
        self._bitmap: Bitmap | None = None
        self._filter: Any = None
        self._parameters: Any = None
        self._discarded = False
        self._growing = threading.Lock()  # held by readers in other threads, and where lists grow
        self.probe(probes)

    def probe(self, probes: int) -> None:
        """Look through so many lists from now on."""
        self._probes = probes
        self._index.nprobe = probes
        self._parameters = None if self._bitmap is None else self._through(probes)

    def _through(self, probes: int) -> Any:
        parameters: Any = faiss.SearchParametersIVF(nprobe=probes)  # type: ignore[call-arg]
        if self._bitmap is not None:
            parameters.sel = self._filter
        return parameters

    def append(self, keys: Keys) -> None:
        """Append keys of shape (n, d), C-contiguous float32."""
        if len(keys):
            with self._growing:
                self._index.add_c(len(keys), faiss.swig_ptr(keys))
            self.count += len(keys)

    @property
    def centroids(self) -> Keys:
        """Copies of the centroids, shape (lists, d)."""
        found: Keys = self._quantizer.reconstruct_n(0, self.lists)
        return found

    def numbers(self, start: int, end: int) -> NDArray[np.int32]:
        """Return the numbers of the lists of some positions; may be called in other threads beside `append`."""
        with self._growing:
            places = faiss.rev_swig_ptr(self._index.direct_map.array.data(), end)[start:]
            return (places >> 32).astype(np.int32)

    def append_to(self, numbers: NDArray[np.int64], keys: Keys) -> None:
        """Append keys of shape (n, d), C-contiguous float32, to lists whose numbers are known, shape (n,)."""
        with self._growing:
            self._index.add_core(len(keys), faiss.swig_ptr(keys), None, faiss.swig_ptr(numbers))
        self.count += len(keys)

    def filter(self, bitmap: Bitmap | None) -> None:
        """Find only positions whose bit is set, from now on and as the bitmap changes; None: find all."""
        if bitmap is self._bitmap:
            return
        self._bitmap = bitmap
        if bitmap is not None:
            self._filter = faiss.IDSelectorBitmap(bitmap.size, faiss.swig_ptr(bitmap))
        self.probe(self._probes)

    def keys(self, positions: Slots) -> Keys:
        """Return a copy of the keys at `positions`, shape (n, d). May be called from other threads beside `append`."""
        with self._growing:
            if not len(positions) or self._discarded:
                return np.zeros((len(positions), self._index.d), np.float32)
            found: Keys = self._index.reconstruct_batch(positions)
        return found

    def rows(self, start: int, end: int) -> Keys:
        """Return a copy of the keys at positions from start to before end, shape (n, d); as `keys` otherwise."""
        return self.keys(np.arange(start, end))

    def search_one(self, key: Key, k: int) -> Answers:
        """Return the answers, good until the next call; positions are -1 past the end."""
        answers = self._answers
        if answers.k != k:
            answers = self._answers = Answers(self._index.d, k)
        answers.key[:] = key
        self._index.search_c(
            1, answers.key_address, k, answers.l2_sq_address, answers.positions_address, self._parameters
        )
        return answers

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, positions), both of shape (n, k), -1 past the end."""
        return self._search(keys, k, self._parameters)

    def scan(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, positions) by looking through all lists."""
        return self._search(keys, k, self._through(self.lists))

    def _search(self, keys: Keys, k: int, parameters: Any) -> tuple[Keys, Slots]:
        found: tuple[Keys, Slots] = self._index.search(np.ascontiguousarray(keys, np.float32), k, params=parameters)
        return found

    def discard(self) -> None:
        """Give the pages of all lists back at once; nothing may be asked any more, and keys are zeros.

        The allocator would keep them for itself.
        """
        with self._growing:
            self._discarded = True
            lists = self._index.invlists
            for number in range(self.lists):
                size = lists.list_size(number) * 4 * self._index.d
                if size >= mmap.PAGESIZE:
                    give_back(int(lists.get_codes(number)), size)
            self._index.reset()

    def memory_bytes(self) -> int:
        """Return the bytes of keys, ids and centroids, to a good estimate: a list has a quarter more room than keys."""
        key_bytes = 4 * int(self._index.d)
        return self.count * (key_bytes + 8) * 5 // 4 + self.count * 8 + self.lists * key_bytes
