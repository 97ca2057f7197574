"""Concurrent near-identical misses share one inference: a follower waits for the leader, then decides as ever."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from math import sqrt

import numpy as np

from likewise.types import Answer, Key, Neighbors

NEW_LABEL = -2
"""Stands for the label of a result that is not there yet."""


class Leader:
    """An inference in flight that others may wait for."""

    __slots__ = ("done", "key")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.done: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()


class InFlight:
    """The inferences of one function that are under way, found by identical input or by near key."""

    def __init__(self, limit: int = 64) -> None:
        """Set up. limit: how many are compared by key; more are found by identical input alone."""
        self._limit = limit
        self._leaders: dict[Hashable, Leader] = {}

    def __len__(self) -> int:
        return len(self._leaders)

    def same(self, identity: Hashable) -> Leader | None:
        """Return the leader that computes the very same input: its answer is this one's, whatever the policy thinks."""
        return self._leaders.get(identity)

    def near(self, key: Key, neighbors: Neighbors, confident: Callable[[Neighbors], bool]) -> Leader | None:
        """Return a leader whose result, were it an entry already, would be reused; None where waiting promises nothing.

        Its label is unknown as yet, so it counts as a rival to all cached labels: the cautious reading.
        """
        if not self._leaders or confident(neighbors):
            return None
        leaders = list(self._leaders.values())[-self._limit :]
        apart = np.array([leader.key for leader in leaders]) - key
        l2_sq = np.einsum("ij,ij->i", apart, apart)
        best = int(l2_sq.argmin())
        distance = sqrt(l2_sq[best])
        if neighbors.distances and distance >= neighbors.distances[0]:
            return None
        place = bisect_left(neighbors.distances, distance)
        with_leader = Neighbors(
            [*neighbors.distances[:place], distance, *neighbors.distances[place:]],
            [*neighbors.labels[:place], NEW_LABEL, *neighbors.labels[place:]],
            [*neighbors.slots[:place], -1, *neighbors.slots[place:]],
        )
        return leaders[best] if confident(with_leader) else None

    @contextmanager
    def lead(self, identity: Hashable, key: Key) -> Iterator[Leader]:
        """Be the leader for an input while the block runs; followers wake when it ends, however it ends."""
        leader = Leader(key)
        self._leaders.setdefault(identity, leader)
        try:
            yield leader
        finally:
            if self._leaders.get(identity) is leader:
                del self._leaders[identity]
            if not leader.done.done():
                leader.done.set_result(None)
