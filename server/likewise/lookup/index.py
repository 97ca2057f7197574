"""Searches that faiss does for us: a scan over an array, and lists of keys around centroids.

Nothing here knows what a slot holds; the index kinds beside it do. The third search, the graph, is in `graph.py`; only
these two files import faiss.

Calls go to faiss's SWIG functions with buffers that are kept, since its Python wrappers cost as much as a search among
a few thousand keys. Every such call releases the interpreter lock.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from likewise.types import Key, Keys, Slots


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
    """Keys in lists, each around a centroid; a search looks through the lists around the nearest centroids (IVF).

    Source: Sivic and Zisserman, 2003; Jégou et al., 2011, as faiss has it. Slots are the ids, so it may forget keys.
    """

    def __init__(self, training: Keys, lists: int, probes: int) -> None:
        """Find the centroids of a sample, shape (n, d), n >= lists. probes: lists that a search looks through."""
        dimension = training.shape[1]
        self.count = lists
        self._quantizer: Any = faiss.IndexFlatL2(dimension)
        quantized: Any = faiss.IndexIVFFlat(self._quantizer, dimension, lists)
        quantized.cp.min_points_per_centroid = 1  # else it warns on standard error
        quantized.cp.max_points_per_centroid = 64
        quantized.cp.niter = 8
        quantized.train(training)
        quantized.nprobe = probes
        quantized.set_direct_map_type(faiss.DirectMap.Hashtable)  # type: ignore[attr-defined]
        self._index = quantized
        self._answers = Answers(dimension, 10)

    def add(self, slots: Slots, keys: Keys) -> None:
        """Add keys under slots that are not in it."""
        self._index.add_with_ids(keys, slots)

    def remove(self, slots: Slots) -> None:
        """Take slots out that are in it."""
        self._index.remove_ids(faiss.IDSelectorArray(len(slots), faiss.swig_ptr(slots)))

    def keys(self, slots: Slots) -> Keys:
        """Return the keys of slots, shape (n, d)."""
        keys = np.empty((len(slots), self._index.d), np.float32)
        for row, slot in enumerate(slots.tolist()):
            self._index.reconstruct(slot, keys[row])
        return keys

    def search_one(self, key: Key, k: int) -> Answers:
        """Return the answers, good until the next call; positions are slots, -1 past the end."""
        answers = self._answers
        if answers.k != k:
            answers = self._answers = Answers(self._index.d, k)
        answers.key[:] = key
        self._index.search_c(1, answers.key_address, k, answers.l2_sq_address, answers.positions_address)
        return answers

    def search(self, keys: Keys, k: int, everywhere: bool = False) -> tuple[Keys, Slots]:
        """Return (l2_sq, slots), both of shape (n, k), -1 past the end; everywhere: through all lists."""
        parameters = faiss.SearchParametersIVF(nprobe=self.count) if everywhere else None  # type: ignore[call-arg]
        found: tuple[Keys, Slots] = self._index.search(np.ascontiguousarray(keys, np.float32), k, params=parameters)
        return found
