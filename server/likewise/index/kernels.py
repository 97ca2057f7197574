"""The plainest search that faiss does for us, a scan over an array, and what its other searches share.

Nothing here knows what a slot holds; the index kinds beside it do. Lists of keys are in `lists.py` and
`coded.py`, the graph in `graph.py`; only these four files import faiss.

Calls go to faiss's SWIG functions with buffers that are kept, since its Python wrappers cost as much as a search among
a few thousand keys. Every such call releases the interpreter lock.
"""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

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
