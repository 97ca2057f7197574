"""Any sequence of additions, removals and searches, beside a dictionary of keys."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from likewise.index import ivf
from likewise.index.keyed import KeyedIndex
from likewise.index.make import make_index
from likewise.index.trials import Measure, Measured, Questions

DIMENSION = 5
seeds = st.integers(0, 2**32 - 1)


class IndexMachine(RuleBasedStateMachine):
    """Adds, removes, re-adds and searches; what is found is alive, at its true distance, once, and all of it."""

    kind = "exact"
    options: ClassVar[dict[str, Any]] = {}
    finds_nearest = True

    def __init__(self) -> None:
        super().__init__()
        self.index: KeyedIndex = make_index(self.kind, DIMENSION, **self.options)
        self.live: dict[int, np.ndarray] = {}
        self.freed: list[int] = []

    @rule(seed=seeds, count=st.integers(1, 40))
    def add(self, seed: int, count: int) -> None:
        reused = self.freed[: count // 2]
        del self.freed[: count // 2]
        fresh = [slot for slot in range(len(self.live) + len(self.freed) + 2 * count) if slot not in self.live]
        slots = list(dict.fromkeys([*reused, *(slot for slot in fresh if slot not in self.freed)]))[:count]
        keys = np.random.default_rng(seed).normal(size=(len(slots), DIMENSION)).astype(np.float32)
        self.index.add(np.array(slots, np.int64), keys)
        self.live.update(zip(slots, keys, strict=True))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), count=st.integers(1, 30))
    def remove(self, data: st.DataObject, count: int) -> None:
        first = data.draw(st.integers(0, len(self.live) - 1))
        slots = list(self.live)[first : first + count]
        self.index.remove(np.array([*slots, 10**6], np.int64))
        for slot in slots:
            del self.live[slot]
            self.freed.append(slot)

    @rule(seed=seeds, k=st.integers(1, 12))
    def search(self, seed: int, k: int) -> None:
        key = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
        l2_sq, slots = self.index.search_one(key, k)
        self.check(key, k, l2_sq, slots)
        many_l2_sq, many = self.index.search(np.stack([key, key]), k)
        for row in range(2):
            count = int((many[row] >= 0).sum())
            assert np.isinf(many_l2_sq[row, count:]).all()
            self.check(key, k, many_l2_sq[row, :count].tolist(), many[row, :count].tolist())

    def check(self, key: np.ndarray, k: int, l2_sq: list[float], slots: list[int]) -> None:
        assert len(slots) == len(set(slots)) == len(l2_sq) == min(k, len(self.live))
        assert set(slots) <= set(self.live)
        assert l2_sq == sorted(l2_sq)
        if slots:
            true = ((np.stack([self.live[slot] for slot in slots]).astype(np.float64) - key) ** 2).sum(axis=1)
            np.testing.assert_allclose(l2_sq, true, rtol=1e-3, atol=1e-4)
            if self.finds_nearest:
                best = ((np.stack(list(self.live.values())).astype(np.float64) - key) ** 2).sum(axis=1).min()
                np.testing.assert_allclose(l2_sq[0], best, rtol=1e-3, atol=1e-4)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def find_itself(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.live)))
        l2_sq, _ = self.index.search_one(self.live[slot], 1)
        np.testing.assert_allclose(l2_sq, [0.0], atol=1e-4)

    @invariant()
    def counts(self) -> None:
        assert len(self.index) == len(self.live)
        assert sorted(self.index.slots().tolist()) == sorted(self.live)


class HnswMachine(IndexMachine):
    kind = "hnsw"
    finds_nearest = False


class AutoMachine(IndexMachine):
    kind = "auto"
    options: ClassVar[dict[str, Any]] = {"background": False, "exact_limit": 30}
    finds_nearest = False


class IvfMachine(IndexMachine):
    kind = "ivf"
    finds_nearest = False


class CodedMachine(IndexMachine):
    """Lists of keys in 8 bits, from few keys on."""

    kind = "ivf-sq8"
    finds_nearest = False

    def __init__(self) -> None:
        self.limit, ivf.EXACT_LIMIT = ivf.EXACT_LIMIT, 32
        super().__init__()

    def teardown(self) -> None:
        ivf.EXACT_LIMIT = self.limit


class AlshMachine(IndexMachine):
    kind = "alsh"
    finds_nearest = False


class BackgroundMachine(IndexMachine):
    kind = "auto"
    options: ClassVar[dict[str, Any]] = {"exact_limit": 30}
    finds_nearest = False

    @rule()
    def settle(self) -> None:
        self.index.settle()  # type: ignore[attr-defined]
        assert not self.index.moving  # type: ignore[attr-defined]


def in_turn(*kinds: str) -> Measure:
    """Return what prefers one kind after the other; lists are all looked through."""
    turns = itertools.cycle(kinds)
    wanted = ""

    def judge(kind: str, index: KeyedIndex, questions: Questions) -> Measured:
        nonlocal wanted
        if kind == "alsh":  # the first in each trial
            wanted = next(turns)
        return Measured(1.0, 0.5 if kind == wanted else 2.0, 1.0 if kind == "ivf" else None)

    return judge


class MovingMachine(IndexMachine):
    """Moves between all four kinds as it grows and shrinks; lists are kept for few keys, too."""

    kind = "auto"
    turns = ("ivf", "alsh", "hnsw", "exact")
    background = False
    finds_nearest = False

    def __init__(self) -> None:
        self.options = {  # type: ignore[misc]
            "background": self.background,
            "first_trial": 64,
            "measure": in_turn(*self.turns),
        }
        self.limit, ivf.EXACT_LIMIT = ivf.EXACT_LIMIT, 32
        super().__init__()

    @rule(seed=seeds)
    def add_many(self, seed: int) -> None:
        self.add(seed, 150)

    @precondition(lambda self: len(self.live) > 100)
    @rule(data=st.data())
    def remove_most(self, data: st.DataObject) -> None:
        self.remove(data, len(self.live) * 4 // 5)

    def teardown(self) -> None:
        self.index.settle()
        ivf.EXACT_LIMIT = self.limit


class MovingBackgroundMachine(MovingMachine):
    background = True


class MovingExactlyMachine(MovingMachine):
    turns = ("ivf", "exact")
    finds_nearest = True


few = settings(max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
TestExact = IndexMachine.TestCase
TestExact.settings = few
TestHnsw = HnswMachine.TestCase
TestHnsw.settings = few
TestAuto = AutoMachine.TestCase
TestAuto.settings = few
TestBackground = BackgroundMachine.TestCase
TestBackground.settings = few
TestMoving = MovingMachine.TestCase
TestMoving.settings = few
TestMovingBackground = MovingBackgroundMachine.TestCase
TestMovingBackground.settings = few
TestMovingExactly = MovingExactlyMachine.TestCase
TestMovingExactly.settings = few
TestIvf = IvfMachine.TestCase
TestIvf.settings = few
TestCoded = CodedMachine.TestCase
TestCoded.settings = few
TestAlsh = AlshMachine.TestCase
TestAlsh.settings = few
