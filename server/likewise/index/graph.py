"""The graph search that faiss does for us: keys linked to near ones, appended to and never removed from."""

from __future__ import annotations

import mmap
import threading
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.index.kernels import Answers, Bitmap
from likewise.index.pages import advise, enlarge_pages, release
from likewise.types import Key, Keys, Slots

MIN_EF_SEARCH = 24
"""Candidates looked at among up to 10,000 keys; a fifth more at a million."""

CELLS = 1024
"""Groups of near keys that `arrange` puts side by side."""
ROWS = 65_536
"""Keys that are assigned to a group at once."""

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
        self.m = m
        self._grows_ef = ef_search is None
        self._effort = 1.0
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
        links = int(self.capacity * self.m * 2.1) + 64 * self.m
        return self.capacity * self._key_bytes, links, self.capacity + 1, self.capacity

    def _reserve(self) -> None:
        for vector, length in zip(self._vectors(), self._lengths(), strict=True):
            size = vector.size()
            vector.resize(length)
            release(vector, length, size)
            vector.resize(size)

    def built(self) -> None:
        """Say that keys come one by one from now on: no more huge pages, since each is zeroed and cleared for at once.

        That takes the kernel up to 40 ms now and then, which a thread in the background may wait for and a loop not.
        """
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            lengths = self._lengths()
            for vector, length in zip(self._vectors(), lengths, strict=True):
                advise(vector, vector.size(), length, mmap.MADV_NOHUGEPAGE)

    def discard(self) -> None:
        """Give all pages of keys and links back at once; nothing may be asked of the graph any more.

        The allocator would keep those of all but the largest graphs for itself.
        """
        for vector in self._vectors():
            if vector.size():
                release(vector, vector.size(), 0)

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
            usual = max(MIN_EF_SEARCH, MIN_EF_SEARCH * (self.count / 10_000) ** 0.04)
            self.ef_search = round(usual * self._effort)
            self._graph.hnsw.efSearch = self.ef_search
            if self._parameters is not None:
                self._parameters = self._wide(self.ef_search)

    def widen(self, effort: float) -> None:
        """Look at so many times the usual candidates from now on; of no effect where ef_search was given."""
        self._effort = effort
        self._tune()

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
            self.enlarge_pages()
        return order

    def keys(self, positions: Slots) -> Keys:
        """Return a copy of the keys at `positions`, shape (n, d). May be called from other threads beside `append`."""
        with self._moving:
            count = self.count  # read once: it may grow beside this
            codes = faiss.rev_swig_ptr(self._storage.codes.data(), count * self._key_bytes)
            found = codes.reshape(count, self._key_bytes)[positions]
        if self._scale.precision == "float32":
            return found.view(np.float32)
        keys = np.empty((len(found), self.dimension), np.float32)
        if len(found):
            self._storage.sa_decode_c(len(found), faiss.swig_ptr(found), faiss.swig_ptr(keys))
        return keys

    def rows(self, start: int, end: int) -> Keys:
        """Return a copy of the keys at positions from start to before end, shape (n, d); as `keys` otherwise."""
        return self.keys(np.arange(start, end))

    # ── saving and restoring, see links.py ─────────────────────────────────────────────────────────────────

    @property
    def entry(self) -> int:
        """The position at which searches begin; -1 while there is none."""
        return int(self._graph.hnsw.entry_point)

    @property
    def max_levels(self) -> int:
        """The most levels that a position may have."""
        return int(self._graph.hnsw.cum_nneighbor_per_level.size()) - 1

    def levels(self, start: int, end: int) -> NDArray[np.int32]:
        """Return a copy of the number of levels of some positions; may be called in other threads beside `append`."""
        with self._moving:
            found: NDArray[np.int32] = faiss.rev_swig_ptr(self._graph.hnsw.levels.data(), end)[start:].copy()
        return found

    def links(self, start: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return copies of where the links of some positions begin, and where the last end, and of the links.

        May be called in other threads beside `append`: a list that is changed meanwhile may lack a link or have one
        twice.
        """
        with self._moving:
            hnsw = self._graph.hnsw
            offsets = faiss.rev_swig_ptr(hnsw.offsets.data(), end + 1)[start:].astype(np.int64)
            first, last = int(offsets[0]), int(offsets[-1])
            links: NDArray[np.int32] = faiss.rev_swig_ptr(hnsw.neighbors.data(), last)[first:].copy()
        return offsets, links

    def allocate(self, levels: NDArray[np.int32], entry: int) -> None:
        """Become a graph of nodes with so many levels each, without links, all keys zero; it has to be empty."""
        hnsw, count = self._graph.hnsw, len(levels)
        hnsw.levels.resize(count)
        faiss.rev_swig_ptr(hnsw.levels.data(), count)[:] = levels
        hnsw.prepare_level_tab(count, True)
        hnsw.entry_point, hnsw.max_level = entry, int(levels[entry]) - 1
        self._storage.codes.resize(count * self._key_bytes)
        self._storage.ntotal = self._graph.ntotal = count
        self.count = count
        self._tune()

    def put_links(self, start: int, links: NDArray[np.int32]) -> None:
        """Write links from a place in the array of all on."""
        end = start + len(links)
        faiss.rev_swig_ptr(self._graph.hnsw.neighbors.data(), end)[start:] = links

    def put_keys(self, positions: Slots, keys: Keys) -> None:
        """Write the keys of positions, shape (n, d), C-contiguous float32."""
        if self._scale.precision == "float32":
            coded = keys.view(np.uint8)
        else:
            if not self._graph.is_trained:
                self._scale.fit(self._graph, keys)
            coded = np.empty((len(keys), self._key_bytes), np.uint8)
            if len(keys):
                self._storage.sa_encode_c(len(keys), faiss.swig_ptr(keys), faiss.swig_ptr(coded))
        codes = faiss.rev_swig_ptr(self._storage.codes.data(), self.count * self._key_bytes)
        codes.reshape(self.count, self._key_bytes)[positions] = coded

    def enlarge_pages(self) -> None:
        """Put what is there on huge pages."""
        for vector, length in zip(self._vectors(), self._lengths(), strict=True):
            enlarge_pages(vector, length)

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

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, positions), both of shape (n, k), -1 past the end, looking at k candidates at least."""
        keys = np.ascontiguousarray(keys, np.float32)
        l2_sq = np.full((len(keys), k), np.inf, np.float32)
        positions = np.full((len(keys), k), -1, np.int64)
        if len(keys):
            parameters = self._wide(k) if k > self.ef_search else self._parameters
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
