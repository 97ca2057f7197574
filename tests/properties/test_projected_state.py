"""Any sequence of additions, removals, projections and searches, beside a dictionary of keys and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from likewise.index.make import make_index
from likewise.index.projected import ProjectedIndex

DIMENSION = 5
seeds = st.integers(0, 2**32 - 1)


class Linear:
    """key -> key @ matrix."""

    def __init__(self, dimension: int, seed: int) -> None:
        self.dimension = dimension
        self.matrix = np.random.default_rng(seed).normal(size=(DIMENSION, dimension)).astype(np.float32)

    def one(self, key: np.ndarray) -> np.ndarray:
        return key @ self.matrix

    def many(self, keys: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(keys @ self.matrix)


class ProjectedMachine(RuleBasedStateMachine):
    """What is found is alive, once, complete, nearest and at its true distance by the projection of that moment."""

    background = False

    def __init__(self) -> None:
        super().__init__()

        def make(dimension: int) -> Any:
            return make_index("exact", dimension)

        self.index = ProjectedIndex(make(DIMENSION), make, background=self.background)
        self.live: dict[int, np.ndarray] = {}

    @rule(seed=seeds, slots=st.sets(st.integers(0, 3000), min_size=1, max_size=30))
    def add(self, seed: int, slots: set[int]) -> None:
        fresh = sorted(slots - set(self.live))
        keys = np.random.default_rng(seed).normal(size=(len(fresh), DIMENSION)).astype(np.float32)
        self.index.add(np.array(fresh, np.int64), keys)
        self.live.update(zip(fresh, keys, strict=True))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), count=st.integers(1, 20))
    def remove(self, data: st.DataObject, count: int) -> None:
        first = data.draw(st.integers(0, len(self.live) - 1))
        slots = list(self.live)[first : first + count]
        self.index.remove(np.array([*slots, 10**6], np.int64))
        for slot in slots:
            del self.live[slot]

    @rule(dimension=st.integers(0, 4), seed=seeds)
    def project(self, dimension: int, seed: int) -> None:
        self.index.project(Linear(dimension, seed) if dimension else None)

    @rule(seed=seeds, k=st.integers(1, 12))
    def search(self, seed: int, k: int) -> None:
        key = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
        l2_sq, slots = self.index.search_one(key, k)
        self.check(key, k, l2_sq, slots)
        many_l2_sq, many = self.index.search(key[None], k)
        found = many[0] >= 0
        self.check(key, k, many_l2_sq[0, found].tolist(), many[0, found].tolist())

    def check(self, key: np.ndarray, k: int, l2_sq: list[float], slots: list[int]) -> None:
        assert len(slots) == len(set(slots)) == min(k, len(self.live))
        assert set(slots) <= set(self.live)
        if not slots:
            return
        projection = self.index.projection
        keys = np.stack(list(self.live.values()))
        if projection is not None:
            keys, key = projection.many(keys), projection.one(key)
        true = dict(zip(self.live, ((keys.astype(np.float64) - key) ** 2).sum(axis=1), strict=True))
        np.testing.assert_allclose(l2_sq, [true[slot] for slot in slots], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(l2_sq, sorted(true.values())[: len(slots)], rtol=1e-3, atol=1e-4)

    @precondition(lambda self: self.live)
    @invariant()
    def keys_come_out_as_they_went_in(self) -> None:
        slots = np.array(list(self.live), np.int64)
        np.testing.assert_array_equal(self.index.keys(slots), np.stack(list(self.live.values())))

    @invariant()
    def counts(self) -> None:
        assert len(self.index) == len(self.live)
        assert sorted(self.index.slots().tolist()) == sorted(self.live)

    def teardown(self) -> None:
        self.index.settle(20)
        self.counts()
        if self.live:
            self.keys_come_out_as_they_went_in()
            self.search(1, 12)


class BackgroundMachine(ProjectedMachine):
    background = True

    @rule()
    def settle(self) -> None:
        self.index.settle(20)
        assert not self.index.moving


few = settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
TestInline = ProjectedMachine.TestCase
TestInline.settings = few
TestBackground = BackgroundMachine.TestCase
TestBackground.settings = few
