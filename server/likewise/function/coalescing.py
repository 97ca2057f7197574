"""Concurrent near-identical misses share one inference: a follower waits for the leader, then decides as ever."""

from __future__ import annotations

import asyncio
import weakref
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Hashable
from math import sqrt
from typing import Any

import numpy as np

from likewise.requests import Answer
from likewise.types import Key, Keys, Neighbors

NEW_LABEL = -2
"""Stands for the label of a result that is not there yet."""


def worth_waiting(neighbors: Neighbors, distance: float, confident: Callable[[Neighbors], bool]) -> bool:
    """Say whether the result of an inference in flight would be reused, were it an entry already.

    distance: to its key. Its label is unknown as yet, so it counts as a rival to all cached labels: the cautious
    reading.
    """
    if neighbors.distances and distance >= neighbors.distances[0]:
        return False
    place = bisect_left(neighbors.distances, distance)
    with_leader = Neighbors(
        [*neighbors.distances[:place], distance, *neighbors.distances[place:]],
        [*neighbors.labels[:place], NEW_LABEL, *neighbors.labels[place:]],
        [*neighbors.slots[:place], -1, *neighbors.slots[place:]],
    )
    return confident(with_leader)


class Leader:
    """An inference in flight that others may wait for: from when it is made until a block has run."""

    __slots__ = ("_in_flight", "_place", "_watch", "done", "wanted")

    def __init__(self, in_flight: InFlight, identity: Hashable, row: int) -> None:
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[Answer | None] = loop.create_future()
        """Done with the answer, or with None where there is none."""
        self.wanted: asyncio.Future[None] = loop.create_future()
        """Done once others wait for it, too."""
        self._in_flight = in_flight
        self._place = identity, row
        self._watch: weakref.ref[Any] | None = None

    def follow(self) -> asyncio.Future[Answer | None]:
        """Return what is done with it, for one more that waits for it."""
        if not self.wanted.done():
            self.wanted.set_result(None)
        return self.done

    def hold(self, work: Coroutine[Any, Any, Any], drop: Callable[[], None]) -> None:
        """End with work that goes away before it began, as when its task is canceled; `drop` is called then, too.

        Nothing of a coroutine runs that was never stepped into, its `finally` neither.
        """
        self._watch = weakref.ref(work, lambda _: self._gone(drop))
        self._in_flight.held.add(self)

    def _gone(self, drop: Callable[[], None]) -> None:
        self._let_go()
        self.__exit__()
        drop()

    def _let_go(self) -> None:
        self._watch = None
        self._in_flight.held.discard(self)

    def __enter__(self) -> Leader:
        self._let_go()
        return self

    def __exit__(self, *_: object) -> None:
        self._in_flight.end(self, *self._place)


class InFlight:
    """The inferences of one function that are under way, found by identical input or by near key."""

    def __init__(self, limit: int = 64) -> None:
        """Set up. limit: how many are compared by key; more are found by identical input alone."""
        self._limit = limit
        self._leaders: dict[Hashable, Leader] = {}
        self.held: set[Leader] = set()
        """Those whose work has not begun: they see to its end."""
        self._at: list[Leader | None] = [None] * limit
        self._free = list(range(limit))
        self._keys: Keys | None = None  # a row for each that is compared, infinitely far away where there is none

    def __len__(self) -> int:
        return len(self._leaders)

    def same(self, identity: Hashable) -> Leader | None:
        """Return the leader that computes the very same input: its answer is this one's, whatever the policy thinks."""
        return self._leaders.get(identity)

    def near(self, key: Key, neighbors: Neighbors, confident: Callable[[Neighbors], bool]) -> Leader | None:
        """Return a leader whose result, were it an entry already, would be reused; None where that promises nothing."""
        if self._keys is None or not self._leaders or confident(neighbors):
            return None
        apart = self._keys - key
        l2_sq = np.einsum("ij,ij->i", apart, apart)
        best = int(l2_sq.argmin())
        leader, distance = self._at[best], sqrt(l2_sq[best])
        if leader is None or not worth_waiting(neighbors, distance, confident):
            return None
        return leader

    def lead(self, identity: Hashable, key: Key) -> Leader:
        """Be the leader for an input until a `with` block has run; followers wake when it ends, however it ends."""
        if self._keys is None:
            self._keys = np.full((self._limit, len(key)), np.inf, np.float32)
        row = self._free.pop() if self._free else -1  # -1: too many are compared already
        leader = Leader(self, identity, row)
        if row >= 0:
            self._keys[row], self._at[row] = key, leader
        self._leaders.setdefault(identity, leader)
        return leader

    def end(self, leader: Leader, identity: Hashable, row: int) -> None:
        """Forget a leader, and wake those that still wait for it."""
        if row >= 0 and self._keys is not None:
            self._keys[row], self._at[row] = np.inf, None
            self._free.append(row)
        if self._leaders.get(identity) is leader:
            del self._leaders[identity]
        if not leader.done.done():
            leader.done.set_result(None)
