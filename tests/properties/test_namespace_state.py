"""Any sequence of insertions, uses, invalidations and hours, beside a dictionary of entries."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Result

CAPACITY_ENTRIES = 25
CAPACITY_BYTES = 1500
KEY_BYTES = 4 * (3 + 2)


class NamespaceMachine(RuleBasedStateMachine):
    """Whatever happens: bounds hold, the expired stay hidden, and every fact is the entry's own."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.space = Namespace(
            "f@1",
            {"a": 3, "b": 2},
            CAPACITY_ENTRIES,
            CAPACITY_BYTES,
            60.0,
            lambda: self.now,
            index_options={"background": False, "exact_limit": 12},
        )
        self.entries: dict[int, Entry] = {}
        self.labels: dict[int, int] = {}
        self.next_id = 1

    @rule(
        seed=st.integers(0, 10**6),
        size=st.integers(0, 200),
        ttl_s=st.sampled_from([5.0, 60.0, float("inf")]),
        tags=st.lists(st.sampled_from(["x", "y"]), unique=True),
        label=st.integers(0, 4),
        again=st.booleans(),
    )
    def insert(self, seed: int, size: int, ttl_s: float, tags: list[str], label: int, again: bool) -> None:
        rng = np.random.default_rng(seed)
        known = list(self.entries)
        id = known[-1] if again and known else self.next_id
        self.next_id += 1
        keys = {"a": rng.normal(size=3).astype(np.float32), "b": rng.normal(size=2).astype(np.float32)}
        entry = Entry(id, keys, Result(bytes(size)), 0.5, self.now, self.now + ttl_s, tuple(tags))
        slot = self.space.insert(entry, label)
        self.entries.pop(id, None)
        self.entries[id] = entry
        self.labels[id] = label
        self.sync()
        assert id in self.entries
        assert self.space.slot_of(id) == slot
        assert self.space.entry_id(slot) == id

    def sync(self) -> None:
        """Forget what the namespace evicted or expired."""
        self.entries = {id: entry for id, entry in self.entries.items() if self.space.slot_of(id) >= 0}

    @rule(seconds=st.floats(0.1, 50))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(limit=st.integers(1, 40))
    def expire(self, limit: int) -> None:
        before = len(self.space)
        assert before - self.space.expire(limit) == len(self.space)
        self.sync()

    @rule(seed=st.integers(0, 10**6), k=st.integers(1, 8), name=st.sampled_from(["a", "b"]))
    def lookup(self, seed: int, k: int, name: str) -> None:
        key = np.random.default_rng(seed).normal(size=3 if name == "a" else 2).astype(np.float32)
        fresh = {id: entry for id, entry in self.entries.items() if entry.expires_at > self.now}
        one = self.space.lookup(name, key, k)
        many = self.space.lookup_many(name, np.stack([key, key]), k)
        assert len(one.slots) == min(k, len(fresh))
        for found in (one, *many):
            ids = [self.space.entry_id(slot) for slot in found.slots]
            assert set(ids) <= set(fresh)
            assert found.labels == [self.labels[id] for id in ids]
            true = [float(np.linalg.norm(fresh[id].keys[name].astype(np.float64) - key)) for id in ids]
            np.testing.assert_allclose(found.distances, true, rtol=1e-3, atol=1e-3)
            assert found.distances == sorted(found.distances)
        self.sync()

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def touch(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.entries)))
        slot = self.space.slot_of(id)
        uses = self.space.entry(slot).use_count
        self.space.touch(slot)
        assert self.space.entry(slot).use_count == uses + 1

    @rule(tag=st.sampled_from(["x", "y"]))
    def invalidate_tag(self, tag: str) -> None:
        expected = {id for id, entry in self.entries.items() if tag in entry.tags}
        assert set(self.space.invalidate(tag=tag)) == expected
        self.sync()
        assert not expected & set(self.entries)

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def invalidate_id(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.entries)))
        assert self.space.invalidate(ids=[id, 10**9]) == [id]
        assert self.space.slot_of(id) == -1
        self.sync()

    @rule()
    def invalidate_all(self) -> None:
        assert set(self.space.invalidate(everything=True)) == set(self.entries)
        self.sync()
        assert not self.entries

    @invariant()
    def holds_its_bounds(self) -> None:
        counters = self.space.statistics()
        assert counters["entries"] == len(self.space) == len(self.entries) <= CAPACITY_ENTRIES
        size = sum(KEY_BYTES + len(each.result.body) + sum(map(len, each.tags)) for each in self.entries.values())
        assert counters["bytes"] == size <= CAPACITY_BYTES

    @invariant()
    def pages_in_order_of_insertion(self) -> None:
        fresh = [id for id, entry in self.entries.items() if entry.expires_at > self.now]
        ids: list[int] = []
        after = None
        while True:
            page = self.space.page(7, after)
            ids += [entry.id for entry in page.entries]
            after = page.next_after
            if after is None:
                break
        assert ids == fresh
        for id in ids:
            entry, mine = self.space.entry(self.space.slot_of(id)), self.entries[id]
            assert (entry.result, entry.tags, entry.expires_at) == (mine.result, mine.tags, mine.expires_at)


TestNamespace = NamespaceMachine.TestCase
TestNamespace.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
