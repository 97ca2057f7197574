"""The default index: exact while small, a graph beyond, and never a pause when it changes from one to the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from time import perf_counter

from likewise.lookup.exact import ExactIndex
from likewise.lookup.graph import Scale
from likewise.lookup.hnsw import EF_CONSTRUCTION, MIN_CAPACITY, HnswIndex, M
from likewise.lookup.keyed import KeyedIndex
from likewise.lookup.moves import Move
from likewise.types import Key, Keys, Slots

TRIED_AT = 64_000
"""Numbers in all keys from which on a graph may be faster than a scan: 1,000 keys of 64 dimensions."""
TRIALS = 3
"""A graph that was no faster is tried again at twice as many keys; after so many trials it is taken anyway."""
TIMED = 15
"""Searches of each kind that are timed in a trial."""


class AutoIndex:
    """Holds one index of another kind, and replaces it when it is worn or no longer the right kind.

    Replacements are built in a background thread and taken over between two calls on the loop. Without background
    they are built inside `add` or `remove`: the same answers, in a deterministic order, with pauses.
    """

    def __init__(
        self,
        dimension: int,
        *,
        background: bool = True,
        exact_limit: int | None = None,
        m: int = M,
        ef_construction: int = EF_CONSTRUCTION,
        ef_search: int | None = None,
        precision: str = "float32",
    ) -> None:
        """Set up an empty index.

        exact_limit: keys that are searched one by one; 0: a graph from the start; None: as many as a
        scan is faster for, found by timing both on this machine with these keys.
        precision: of the keys that graphs hold, "float32", "float16" or "int8"; a scan's are exact.
        Raises InvalidValue for an unknown precision.
        """
        self._dimension = dimension
        self._background = background
        self._exact_limit = max(64, TRIED_AT // dimension) if exact_limit is None else exact_limit
        self._trials = TRIALS if exact_limit is None else 0
        self._graph: Callable[..., HnswIndex] = partial(
            HnswIndex,
            dimension,
            m=m,
            ef_construction=ef_construction,
            ef_search=ef_search,
            scale=Scale(precision),
            rebuilds_itself=False,
        )
        self._current: KeyedIndex = ExactIndex(dimension) if self._exact_limit else self._graph()
        self._move: Move | None = None
        self._held = False

    @property
    def dimension(self) -> int:
        """Length of a key."""
        return self._dimension

    @property
    def kind(self) -> str:
        """The kind in use now: exact or hnsw."""
        return "exact" if isinstance(self._current, ExactIndex) else "hnsw"

    @property
    def background(self) -> bool:
        """True: replacements are built in a thread. False while another thread fills it: built there and then."""
        return self._background

    @background.setter
    def background(self, background: bool) -> None:
        self._background = background

    def hold(self, capacity: int) -> None:
        """Begin no replacement until `release`: a bulk load of up to `capacity` keys would only have to repeat itself.

        What is exact stays exact meanwhile, so adding costs next to nothing and a lookup a scan.
        """
        self._held = True
        if isinstance(self._current, ExactIndex):
            self._current.reserve(capacity)

    def release(self) -> None:
        """The bulk load is over: replace what is due to be."""
        self._held = False
        self._tend()

    @property
    def moving(self) -> bool:
        """True while a replacement is on its way."""
        return self._move is not None

    def __len__(self) -> int:
        return len(self._current)

    def add(self, slots: Slots, keys: Keys) -> None:
        """Add keys under slots that are not in the index. Raises InvalidValue for shapes that do not match."""
        self._current.add(slots, keys)
        if self._move is not None:
            start = self._current.end - len(slots) if isinstance(self._current, HnswIndex) else -1
            self._move.added(slots, keys, start)
        self._tend()

    def remove(self, slots: Slots) -> None:
        """Take slots out; unknown ones are a no-op."""
        self._current.remove(slots)
        if self._move is not None:
            self._move.removed(slots)
        self._tend()

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, slots), both of shape (n, k), nearest first; +inf and -1 where there are fewer than k."""
        if self._move is not None and (self._move.ready or self._move.rejected):
            self._tend_on_lookup()
        return self._current.search(keys, k)

    def search_one(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Return (l2_sq, slots) of the at most k nearest keys, nearest first, without padding."""
        # lookups take a replacement over too: after a bulk load there may be no other call for long
        if self._move is not None and (self._move.ready or self._move.rejected):
            self._tend_on_lookup()
        return self._current.search_one(key, k)

    def slots(self) -> Slots:
        """Return the live slots, in no order."""
        return self._current.slots()

    def keys(self, slots: Slots) -> Keys:
        """Return a copy of the keys of live slots, shape (n, d)."""
        return self._current.keys(slots)

    def snapshot(self, chunk: int) -> Iterator[tuple[Slots, Keys]]:
        """Return the slots and keys as they are now, in parts."""
        return self._current.snapshot(chunk)

    @property
    def worn(self) -> bool:
        """False: it renews itself."""
        return False

    def memory_bytes(self) -> int:
        """Return the bytes it holds, keys included; a replacement on its way is not counted."""
        return self._current.memory_bytes()

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait until no replacement is on its way. Blocks; for tests, tools and the end of a bulk load."""
        while True:
            if self._move is None:
                self._tend()
            if self._move is None:
                return
            self._move.join(timeout_s)
            self._tend_move()

    def close(self) -> None:
        """Give up a replacement on its way; its thread ends by itself."""
        if self._move is not None:
            self._move.cancelled = True
            self._move = None

    def _tend_on_lookup(self) -> None:
        """Go on where a replacement is complete or was no faster: the next trial may be due already."""
        self._tend()
        if self._move is None:
            self._tend()

    def _tend(self) -> None:
        """Take over a replacement that is complete; start one where it is time."""
        if self._move is not None:
            self._tend_move()
            return
        make = None if self._held else self._successor()
        if make is not None:
            trial = self._trials > 0 and isinstance(self._current, ExactIndex)
            self._move = Move(
                self._current, make, background=self._background, accept=partial(_worth_having, trial=trial)
            )
            self._tend_move()

    def _successor(self) -> Callable[[], KeyedIndex] | None:
        count = len(self._current)
        graph = partial(self._graph, capacity=max(MIN_CAPACITY, 2 * count))
        if isinstance(self._current, ExactIndex):
            return graph if count > self._exact_limit else None
        if count < self._exact_limit // 4:
            return partial(ExactIndex, self._dimension)
        return graph if self._current.worn else None

    def _tend_move(self) -> bool:
        move = self._move
        assert move is not None
        if move.failed:
            self._move = None
            return True
        if move.rejected:
            self._move = None
            self._trials -= 1
            self._exact_limit *= 2
            return True
        successor = move.finish()
        if successor is None:
            return False
        old, self._current, self._move = self._current, successor, None
        if not self._background:
            _drop([old])
        else:
            # freeing hundreds of megabytes takes milliseconds: not on the loop
            threading.Thread(target=_drop, args=([old],), name="likewise-index-drop", daemon=True).start()
        return True


def _worth_having(index: KeyedIndex, trial: bool) -> bool:
    if isinstance(index, HnswIndex):
        index.arrange()
        index.built()
    return not trial or beats_a_scan(index)


def beats_a_scan(index: KeyedIndex) -> bool:
    """Say whether an index answers faster than a scan of its keys does, by timing both."""
    slots = index.slots()
    keys = index.keys(slots)
    scan = ExactIndex(index.dimension)
    scan.add(slots, keys)
    seconds: list[list[float]] = [[], []]
    for key in keys[:: max(1, len(keys) // TIMED)]:
        for contender, spent in zip((index, scan), seconds, strict=True):
            started = perf_counter()
            contender.search_one(key, 10)
            spent.append(perf_counter() - started)
    return median(seconds[0]) < median(seconds[1])


def _drop(indexes: list[KeyedIndex]) -> None:
    for index in indexes:
        if isinstance(index, HnswIndex):
            index.discard()
    indexes.clear()
