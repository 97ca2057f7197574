"""The two searches that faiss does for us: a scan over an array, and a graph that is appended to.

The only file that imports faiss. Nothing here knows slots or removal; the index kinds beside it do.

Calls go to faiss's SWIG functions with buffers that are kept, since its Python wrappers cost as much as a search among
a few thousand keys. Every such call releases the interpreter lock.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.types import Key, Keys, Slots


def use_one_thread() -> None:
    """Make faiss use no other thread than the calling one, for its calls from there.

    The loop answers one request at a time; a team of threads for each would only wait for one another.
    """
    faiss.omp_set_num_threads(1)


use_one_thread()

MIN_EF_SEARCH = 24
"""Candidates looked at among up to 10,000 keys; a fifth more at a million."""

CELLS = 1024
"""Groups of near keys that `arrange` puts side by side."""
ROWS = 65_536
"""Keys that are assigned to a group at once."""

Bitmap = NDArray[np.uint8]
"""One bit for each position, least significant first: set where the key is live."""


FITTED_ON = 256
"""Keys that say where the numbers of a key lie."""
PRECISIONS = ("float32", "float16", "int8")


class Scale:
    """How exactly a graph holds each number of a key: in 4 bytes, 2, or 1.

    What int8 can tell apart is fixed by the first keys and shared with the graphs that replace this one, so that
    a key is rounded once, however often it moves.
    """

    def __init__(self, precision: str = "float32") -> None:
        """Set up. Raises InvalidValue for an unknown precision."""
        if precision not in PRECISIONS:
            raise InvalidValue(f"No precision `{precision}`; there are {', '.join(PRECISIONS)}.")
        self.precision = precision
        self.trained: Any = None

    def graph(self, dimension: int, m: int) -> Any:
        """Return an empty graph of faiss's."""
        if self.precision == "float32":
            return faiss.IndexHNSWFlat(dimension, m)
        kinds: Any = faiss.ScalarQuantizer
        kind: Any = kinds.QT_fp16 if self.precision == "float16" else kinds.QT_8bit
        graph: Any = faiss.IndexHNSWSQ(dimension, kind, m)
        if self.trained is not None:
            self._train(graph)
        return graph

    def fit(self, graph: Any, keys: Keys) -> None:
        """Fix the range of each number by the first keys, shape (n, d), with a quarter as much room on either side.

        Few keys tell too little: then it is all that a number of a key at norm 1 can be.
        """
        if self.trained is None and self.precision == "int8":
            low, high = keys.min(axis=0), keys.max(axis=0)
            room = (high - low) / 4
            if len(keys) < FITTED_ON:
                low, high, room = np.full_like(low, -1.0), np.full_like(high, 1.0), np.zeros_like(low)
            self.trained = np.stack([low - room, high + room]).astype(np.float32)
        if not graph.is_trained:
            self._train(graph)

    def _train(self, graph: Any) -> None:
        examples = self.trained if self.trained is not None else np.zeros((1, graph.d), np.float32)
        graph.train(examples)


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


class Graph:
    """A hierarchical navigable small world of keys by position, 0 to count - 1 in the order of appending.

    Source: Malkov and Yashunin, 2018, as faiss has it. Its arrays are reserved ahead, because letting them grow copies
    everything at once: over 100 ms at 100,000 keys of 64 dimensions.
    """

    def __init__(
        self,
        dimension: int,
        capacity: int,
        m: int,
        ef_construction: int,
        ef_search: int | None,
        scale: Scale | None = None,
    ) -> None:
        """Set up for `capacity` keys without a pause; more may come, at the price of one.

        m: links of a key on the upper levels, twice that on the ground. ef_construction and ef_search: candidates
        looked at while linking and while searching; more is slower and misses less. ef_search None: by the count.
        scale: how exactly keys are held; None: as they are.
        """
        self.dimension = dimension
        self.capacity = capacity
        self.count = 0
        self._m = m
        self._grows_ef = ef_search is None
        self.ef_search = ef_search or MIN_EF_SEARCH
        self._tune_at = 0
        self._scale = scale or Scale()
        graph: Any = self._scale.graph(dimension, m)
        self._graph = graph
        self._graph.hnsw.efConstruction = ef_construction
        self._graph.hnsw.efSearch = self.ef_search
        self._search: Any = self._graph.search_c
        self._storage: Any = faiss.downcast_index(self._graph.storage)
        self._key_bytes = int(self._storage.sa_code_size())
        self._parameters: Any = None
        self._filter: Any = None
        self._bitmap: Bitmap | None = None
        self._answers = Answers(dimension, 10)
        self._moving = threading.Lock()  # held by readers in other threads, and where the keys move in memory
        self._reserve()

    def _lengths(self) -> tuple[int, int, int, int]:
        links = int(self.capacity * self._m * 2.1) + 64 * self._m
        return self.capacity * self._key_bytes, links, self.capacity + 1, self.capacity

    def _reserve(self) -> None:
        for vector, length in zip(self._vectors(), self._lengths(), strict=True):
            size = vector.size()
            vector.resize(length)
            _release(vector, length, size)
            vector.resize(size)

    def built(self) -> None:
        """Say that keys come one by one from now on: no more huge pages, since each is zeroed and cleared for at once.

        That takes the kernel up to 40 ms now and then, which a thread in the background may wait for and a loop not.
        """
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            lengths = self._lengths()
            for vector, length in zip(self._vectors(), lengths, strict=True):
                _advise(vector, vector.size(), length, mmap.MADV_NOHUGEPAGE)

    def discard(self) -> None:
        """Give all pages of keys and links back at once; nothing may be asked of the graph any more.

        The allocator would keep those of all but the largest graphs for itself.
        """
        for vector in self._vectors():
            if vector.size():
                _release(vector, vector.size(), 0)

    def _vectors(self) -> tuple[Any, Any, Any, Any]:
        hnsw = self._graph.hnsw
        return self._storage.codes, hnsw.neighbors, hnsw.offsets, hnsw.levels

    def append(self, keys: Keys) -> None:
        """Append keys of shape (n, d), C-contiguous float32."""
        if not self._graph.is_trained:
            self._scale.fit(self._graph, keys)
        if self.count + len(keys) > self.capacity:
            with self._moving:
                self._graph.add_c(len(keys), faiss.swig_ptr(keys))
        else:
            self._graph.add_c(len(keys), faiss.swig_ptr(keys))
        self.count += len(keys)
        if self.count >= self._tune_at:
            self._tune()

    def _tune(self) -> None:
        """Look at more candidates as the keys double: the share of near keys that is found falls otherwise."""
        self._tune_at = 2 * self.count
        if self._grows_ef:
            self.ef_search = max(MIN_EF_SEARCH, round(MIN_EF_SEARCH * (self.count / 10_000) ** 0.04))
            self._graph.hnsw.efSearch = self.ef_search
            if self._parameters is not None:
                self._parameters = self._wide(self.ef_search)

    def arrange(self) -> Slots:
        """Renumber all positions so that near keys stand near each other in memory; return what each was before.

        A search then finds more of what it follows in the processor's caches: at 500,000 keys of 64 dimensions it takes
        39 us instead of 62, and finds the same. Takes seconds, and memory for all once more, meanwhile.
        """
        sample = np.linspace(0, self.count - 1, min(self.count, 64 * CELLS)).astype(np.int64)
        means: Any = faiss.Kmeans(self.dimension, CELLS, niter=4, min_points_per_centroid=1, seed=1)
        means.train(self.keys(sample))
        cells = np.empty(self.count, np.int64)
        for start in range(0, self.count, ROWS):
            end = min(start + ROWS, self.count)
            cells[start:end] = means.index.search(self.rows(start, end), 1)[1][:, 0]
        order = np.argsort(cells, kind="stable")
        with self._moving:
            self._graph.permute_entries(order)
            self._reserve()
            for vector, length in zip(self._vectors(), self._lengths(), strict=True):
                _enlarge_pages(vector, length)
        return order

    def keys(self, positions: Slots) -> Keys:
        """Return a copy of the keys at `positions`, shape (n, d). May be called from other threads beside `append`."""
        with self._moving:
            codes = faiss.rev_swig_ptr(self._storage.codes.data(), self.count * self._key_bytes)
            found = codes.reshape(self.count, self._key_bytes)[positions]
        if self._scale.precision == "float32":
            return found.view(np.float32)
        keys = np.empty((len(found), self.dimension), np.float32)
        if len(found):
            self._storage.sa_decode_c(len(found), faiss.swig_ptr(found), faiss.swig_ptr(keys))
        return keys

    def rows(self, start: int, end: int) -> Keys:
        """Return a copy of the keys at positions from start to before end, shape (n, d); as `keys` otherwise."""
        return self.keys(np.arange(start, end))

    def filter(self, bitmap: Bitmap | None) -> None:
        """Find only positions whose bit is set, from now on and as the bitmap changes; None: find all."""
        if bitmap is self._bitmap:
            return
        self._bitmap = bitmap
        self._parameters = None
        if bitmap is not None:
            self._filter = faiss.IDSelectorBitmap(bitmap.size, faiss.swig_ptr(bitmap))
            self._parameters = self._wide(self.ef_search)

    def _wide(self, ef_search: int) -> Any:
        parameters: Any = faiss.SearchParametersHNSW()  # type: ignore[attr-defined]
        parameters.efSearch = ef_search
        if self._bitmap is not None:
            parameters.sel = self._filter
        return parameters

    def search_one(self, key: Key, k: int) -> Answers:
        """Return the answers, good until the next call; positions are -1 past the end."""
        answers = self._answers
        if answers.k != k:
            answers = self._answers = Answers(self.dimension, k)
        answers.key[:] = key
        if self._parameters is None:
            self._search(1, answers.key_address, k, answers.l2_sq_address, answers.positions_address)
        else:
            self._search(1, answers.key_address, k, answers.l2_sq_address, answers.positions_address, self._parameters)
        return answers

    def search(self, keys: Keys, k: int, ef_search: int = 0) -> tuple[Keys, Slots]:
        """Return (l2_sq, positions), both of shape (n, k), looking at ef_search candidates (0: as usual)."""
        keys = np.ascontiguousarray(keys, np.float32)
        l2_sq = np.full((len(keys), k), np.inf, np.float32)
        positions = np.full((len(keys), k), -1, np.int64)
        if len(keys):
            parameters = self._wide(ef_search) if ef_search else self._parameters
            self._search(
                len(keys), faiss.swig_ptr(keys), k, faiss.swig_ptr(l2_sq), faiss.swig_ptr(positions), parameters
            )
        return l2_sq, positions

    def scan(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, positions) by looking at every key: the graph's slow truth."""
        keys = np.ascontiguousarray(keys, np.float32)
        parameters: Any = None
        if self._bitmap is not None:
            parameters = faiss.SearchParameters()
            parameters.sel = self._filter
        l2_sq, positions = self._storage.search(keys, k, params=parameters)
        return l2_sq, positions

    def memory_bytes(self) -> int:
        """Return the bytes of keys and links in use."""
        hnsw = self._graph.hnsw
        links = hnsw.neighbors.size() * 4 + hnsw.offsets.size() * 8 + hnsw.levels.size() * 4
        return int(self.count * self._key_bytes + links)


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


def _release(vector: Any, length: int, keep: int) -> None:
    """Give the reserved pages of a vector back until they are written; it stays where it is.

    Growing a vector writes zeros to it, which would commit memory for keys that may never come. Large ones are asked
    to come back as huge pages: a search touches keys all over, and fewer misses of the address cache save it a tenth.
    """
    if hasattr(mmap, "MADV_DONTNEED"):
        _advise(vector, keep, length, mmap.MADV_DONTNEED)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        _advise(vector, keep, length, mmap.MADV_HUGEPAGE, _HUGE)


def _enlarge_pages(vector: Any, length: int) -> None:
    """Put what a vector holds already on huge pages: now, from Linux 6.1 on, else whenever the kernel comes to it."""
    if hasattr(mmap, "MADV_HUGEPAGE"):
        _advise(vector, 0, length, mmap.MADV_HUGEPAGE, _HUGE)
        _advise(vector, 0, vector.size(), _MADV_COLLAPSE, _HUGE)


def _advise(vector: Any, start: int, end: int, advice: int, at_least: int = 1) -> None:
    """Advise the kernel on the whole pages among a vector's items from start to before end, where they are enough."""
    bytes_each = _ITEM_BYTES.get(type(vector).__name__) or max(1, vector.byte_size() // max(1, vector.size()))
    if vector.data() is None:
        return
    address = int(vector.data())
    first = -(-(address + start * bytes_each) // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (address + end * bytes_each) // mmap.PAGESIZE * mmap.PAGESIZE
    if last - first >= at_least:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), advice)


_ITEM_BYTES = {"UInt64Vector": 8, "Int32Vector": 4}
_HUGE = 16 * 1024 * 1024
_MADV_COLLAPSE = 25  # linux/mman.h; not in Python's mmap yet
