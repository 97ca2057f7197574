"""Who goes when space runs out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.index.views import floats
from likewise.lookup.columns import Columns
from likewise.lookup.fifo import S3Fifo
from likewise.types import Slots

Worth = NDArray[np.float64]
"""One number for each candidate, shape (n,); the lowest goes."""

SCANNED = 2048
"""Namespaces up to this size are searched whole for the victim."""
NEWCOMER = 0.2
"""Uses that an entry is credited with for having been computed. None, and the newest would always be the next to go;
a whole one, and a scan pushes out entries in use."""
SAMPLED = 64
"""In larger ones the victim is the worst of this many drawn at random: on average among the worst 1.5 %."""


class Eviction(Protocol):
    """Chooses the entry to give up. Told of every insertion, use and removal."""

    def inserted(self, slot: int) -> None:
        """Take note of a new entry."""

    def touched(self, slot: int) -> None:
        """Take note of a use."""

    def removed(self, slot: int) -> None:
        """Take note that an entry is gone, for whatever reason."""

    def victim(self) -> int:
        """Return the slot to give up; there is at least one entry."""

    def worst(self, slots: Slots) -> int:
        """Return which of these to give up."""


class _Sampled(ABC):
    """The entry with the lowest worth among all, or among a sample where they are many."""

    def __init__(self, columns: Columns, rng: np.random.Generator) -> None:
        self._columns = columns
        self._rng = rng
        self._tick = 0

    def inserted(self, slot: int) -> None:
        """Take note of a new entry."""
        self.touched(slot)

    def touched(self, slot: int) -> None:
        """Take note of a use."""
        self._tick += 1
        self._columns.used_of[slot] = self._tick & 0xFFFFFFFF

    def removed(self, slot: int) -> None:  # noqa: B027  nothing to do is right for most
        """Take note that an entry is gone: nothing is kept of it here."""

    def victim(self) -> int:
        """Return the slot to give up."""
        return self.worst(self._candidates())

    def worst(self, slots: Slots) -> int:
        """Return which of these is worth least; the oldest, of several."""
        worth = self._worth(slots)
        ties = slots[worth == worth.min()]
        return int(ties[self._columns.order[ties].argmin()])

    def _candidates(self) -> Slots:
        columns = self._columns
        if columns.high > SCANNED:
            drawn = self._rng.integers(0, columns.high, SAMPLED)
            drawn = drawn[columns.order[drawn] > 0]
            if drawn.size >= SAMPLED // 4:
                return drawn
        return columns.live()

    @abstractmethod
    def _worth(self, slots: Slots) -> Worth:
        """Return what each entry is worth, shape (n,); the lowest goes."""


class Importance(_Sampled):
    """Cost times use count over size, and what was used of late before what was not; the lowest goes.

    Importance as in Potluck (ASPLOS 2018), which never ages: what was popular once stays for good. So an entry's worth
    is its importance on top of the worth that the last victim before its last use had, as in
    GreedyDual-Size-Frequency (Cherkasova, 1998). Among equals the oldest goes. A cost counts for what is plausible at
    the moment, so entries whose devices said too much do not stay for it.
    """

    def __init__(self, columns: Columns, rng: np.random.Generator, max_cost_s: Callable[[], float]) -> None:
        super().__init__(columns, rng)
        self._max_cost_s = max_cost_s
        self._level = 0.0
        self._levels = np.zeros(columns.capacity, np.float64)
        self._level_of = floats(self._levels)

    def touched(self, slot: int) -> None:
        """Take note of a use."""
        self._level_of[slot] = self._level

    def worst(self, slots: Slots) -> int:
        """Return which of these is worth least."""
        slot = super().worst(slots)
        self._level = max(self._level, float(self._worth(np.array([slot]))[0]))  # costs may count for less by now
        return slot

    def _worth(self, slots: Slots) -> Worth:
        columns = self._columns
        cost = np.minimum(columns.cost[slots], self._max_cost_s())
        importance = cost * (columns.uses[slots] + NEWCOMER) / np.maximum(columns.size[slots], 1)
        worth: Worth = self._levels[slots] + importance
        return worth


class LeastRecentlyUsed(_Sampled):
    """The entry not used for longest."""

    def _worth(self, slots: Slots) -> Worth:
        # the tick wraps around after 4 billion uses: compare by how long ago
        since = (np.uint32(self._tick & 0xFFFFFFFF) - self._columns.used[slots]).astype(np.float64)
        return -since


class LeastFrequentlyUsed(_Sampled):
    """The entry used least often; among equals the oldest."""

    def _worth(self, slots: Slots) -> Worth:
        return self._columns.uses[slots].astype(np.float64)


def make_eviction(
    name: str, columns: Columns, rng: np.random.Generator, max_cost_s: Callable[[], float] = lambda: math.inf
) -> Eviction:
    """Return the eviction policy of that name. max_cost_s: says how many seconds a cost counts for at most.

    Raises InvalidValue for an unknown one.
    """
    makers: dict[str, Callable[[], Eviction]] = {
        "importance": lambda: Importance(columns, rng, max_cost_s),
        "lru": lambda: LeastRecentlyUsed(columns, rng),
        "lfu": lambda: LeastFrequentlyUsed(columns, rng),
        "s3-fifo": lambda: S3Fifo(columns, rng),
    }
    if name not in makers:
        raise InvalidValue(f"No eviction policy `{name}`; there are {', '.join(makers)}.")
    return makers[name]()
