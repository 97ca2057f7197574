from __future__ import annotations

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.lookup.columns import Columns
from likewise.lookup.eviction import SCANNED, Eviction, make_eviction

POLICIES = ["importance", "lru", "lfu", "s3-fifo"]


class Cache:
    """Columns and a policy, driven as a namespace drives them."""

    def __init__(self, policy: str, capacity: int) -> None:
        self.columns = Columns(capacity)
        self.policy: Eviction = make_eviction(policy, self.columns, np.random.default_rng(0))
        self.order = 0
        self.slot_of: dict[int, int] = {}

    def insert(self, id: int, cost: float = 1.0, size: int = 100) -> None:
        if len(self.slot_of) == self.columns.capacity:
            self.evict()
        slot = self.columns.take()
        self.order += 1
        columns = self.columns
        columns.order_of[slot], columns.id_of[slot] = self.order, id
        columns.cost_of[slot], columns.size_of[slot], columns.uses_of[slot] = cost, size, 0
        self.slot_of[id] = slot
        self.policy.inserted(slot)

    def use(self, id: int) -> None:
        slot = self.slot_of[id]
        self.columns.uses_of[slot] += 1
        self.policy.touched(slot)

    def evict(self) -> int:
        slot = self.policy.victim()
        id = self.columns.id_of[slot]
        assert self.slot_of[id] == slot, "the victim is a live entry"
        self.remove(id)
        return id

    def remove(self, id: int) -> None:
        slot = self.slot_of.pop(id)
        self.policy.removed(slot)
        self.columns.give(slot)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_unused_goes_before_the_used(policy: str) -> None:
    """Of ten entries, nine of them used, the tenth goes first."""
    cache = Cache(policy, 10)
    for id in range(10):
        cache.insert(id)
    for id in range(10):
        if id != 4:
            cache.use(id)
            cache.use(id)
    assert cache.evict() == 4


@pytest.mark.parametrize("policy", POLICIES)
def test_whatever_happens_the_victim_is_alive(policy: str) -> None:
    """Random insertions, uses, removals and evictions always find a live victim, down to the last."""
    rng = np.random.default_rng(1)
    cache = Cache(policy, 60)
    for id in range(3000):
        cache.insert(id)
        for _ in range(2):
            cache.use(int(rng.choice(list(cache.slot_of))))
        if rng.random() < 0.2:
            cache.remove(int(rng.choice(list(cache.slot_of))))
    while cache.slot_of:
        cache.evict()


@pytest.mark.parametrize("policy", POLICIES)
def test_large_caches_are_sampled(policy: str) -> None:
    """Where entries are many, the never used go all the same: at least 19 of 20 victims."""
    cache = Cache(policy, SCANNED + 500)
    for id in range(SCANNED + 500):
        cache.insert(id)
    for _ in range(2):
        for id in range(0, SCANNED + 500, 2):
            cache.use(id)
    victims = [cache.evict() for _ in range(200)]
    assert sum(id % 2 for id in victims) >= 190


def test_importance_weighs_cost_uses_and_size() -> None:
    """Cheap before dear, large before small, and use makes up for both."""
    cache = Cache("importance", 10)
    cache.insert(1, cost=1.0, size=100)
    cache.insert(2, cost=0.5, size=100)
    cache.insert(3, cost=1.0, size=400)
    cache.insert(4, cost=0.1, size=400)
    for _ in range(100):
        cache.use(4)
    assert [cache.evict() for _ in range(4)] == [3, 2, 1, 4]


def test_importance_ages() -> None:
    """What was used often long ago goes before what is used now, once enough has passed through."""
    cache = Cache("importance", 20)
    cache.insert(0)
    for _ in range(20):
        cache.use(0)
    for id in range(1, 4000):
        cache.insert(id)
        cache.use(id)
        if 0 not in cache.slot_of:
            break
    assert 0 not in cache.slot_of


def test_least_recently_used_looks_at_the_last_use() -> None:
    """The order of last uses is the order of leaving."""
    cache = Cache("lru", 5)
    for id in range(5):
        cache.insert(id)
    for id in (3, 0, 4, 1, 2, 3):
        cache.use(id)
    assert [cache.evict() for _ in range(5)] == [0, 4, 1, 2, 3]


def test_least_frequently_used_looks_at_the_number_of_uses() -> None:
    """The order of use counts is the order of leaving, the oldest first among equals."""
    cache = Cache("lfu", 4)
    for id in range(4):
        cache.insert(id)
    for id in (0, 0, 0, 2):
        cache.use(id)
    assert [cache.evict() for _ in range(4)] == [1, 3, 2, 0]


def test_a_scan_does_not_wash_out_what_is_used() -> None:
    """After a scan of ten times the capacity, S3-FIFO still holds the entries that were in use."""
    cache = Cache("s3-fifo", 100)
    for id in range(100):
        cache.insert(id)
    for id in range(50):
        cache.use(id)
        cache.use(id)
    for id in range(1000, 2000):
        cache.insert(id)
        if id % 2 == 0:
            cache.use(id % 50)
    assert set(range(50)) <= set(cache.slot_of)


def test_s3_fifo_knows_what_comes_back() -> None:
    """An id evicted a moment ago goes to the main queue, where a scan does not reach it."""
    cache = Cache("s3-fifo", 20)
    for id in range(20):
        cache.insert(id)
    for id in range(10, 20):
        cache.use(id)
    first = cache.evict()
    cache.insert(100)
    cache.insert(first)
    for id in range(200, 260):
        cache.insert(id)
    assert first in cache.slot_of
    assert 100 not in cache.slot_of


def test_one_eviction_never_takes_long() -> None:
    """Where everything is in use, a victim is found after a bounded number of second chances."""
    cache = Cache("s3-fifo", 1000)
    for id in range(1000):
        cache.insert(id)
    for _ in range(3):
        for id in range(1000):
            cache.use(id)
    assert cache.evict() in range(1000)


def test_an_unknown_policy_is_named() -> None:
    """The message lists the policies there are."""
    with pytest.raises(InvalidValue, match=r"`fifo`; there are importance, lru"):
        make_eviction("fifo", Columns(1), np.random.default_rng(0))


def test_columns_give_out_each_slot_once() -> None:
    """Slots run from 0 to the capacity; a freed one comes again, and one too many raises."""
    columns = Columns(3)
    assert [columns.take() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(IndexError):
        columns.take()
    columns.give(1)
    assert columns.take() == 1
