"""One suite for every index kind, against brute force in NumPy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.index.keyed import KeyedIndex
from likewise.index.make import make_index
from likewise.index.projected import ProjectedIndex
from likewise.index.trials import Measure, Measured, Questions

DIMENSION = 24
Make = Callable[[], KeyedIndex]


def prefers(kind: str) -> Measure:
    def judge(each: str, index: KeyedIndex, questions: Questions) -> Measured:
        return Measured(1.0, 0.5 if each == kind else 2.0)

    return judge


KINDS = [
    pytest.param(("exact", {}), id="exact"),
    pytest.param(("hnsw", {}), id="hnsw"),
    pytest.param(("ivf", {}), id="ivf"),
    pytest.param(("ivf-sq8", {}), id="ivf-sq8"),
    pytest.param(("alsh", {}), id="alsh"),
    pytest.param(("auto", {"background": False, "exact_limit": 200}), id="auto-inline"),
    pytest.param(("auto", {"exact_limit": 200}), id="auto-background"),
    pytest.param(("auto", {"background": False, "first_trial": 200}), id="auto-by-trial"),
    *(
        pytest.param(("auto", {"background": False, "first_trial": 200, "measure": prefers(kind)}), id=f"auto-{kind}")
        for kind in ("exact", "ivf", "hnsw")
    ),
    pytest.param(("auto", {"exact_limit": 0}), id="auto-graph-from-the-start"),
]


INDEXES: list[Any] = [
    *KINDS,
    pytest.param(("projected", "exact", {}), id="projected-exact"),
    pytest.param(("projected", "hnsw", {}), id="projected-hnsw"),
    pytest.param(("projected", "auto", {"exact_limit": 200}), id="projected-auto"),
]
ROUNDED = [
    pytest.param((kind, {"precision": precision, **options}), id=f"{kind}-{precision}")
    for precision in ("float16", "int8")
    for kind, options in (("hnsw", {}), ("auto", {"exact_limit": 200}))
]


class Turned:
    """A projection that keeps all distances: a rotation."""

    dimension = DIMENSION
    _matrix = np.linalg.qr(np.random.default_rng(5).normal(size=(DIMENSION, DIMENSION)))[0].astype(np.float32)

    def one(self, key: np.ndarray) -> np.ndarray:
        return key @ self._matrix

    def many(self, keys: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(keys @ self._matrix)


def made(kind: str, *options: Any) -> KeyedIndex:
    if kind != "projected":
        return make_index(kind, DIMENSION, **options[0])
    inner = options[0]

    def make_inner(dimension: int) -> KeyedIndex:
        return make_index(inner, dimension, **options[1])

    index = ProjectedIndex(make_inner(DIMENSION), make_inner)
    index.project(Turned())
    return index


@pytest.fixture(params=INDEXES)
def make(request: pytest.FixtureRequest) -> Make:
    return lambda: made(*request.param)


@pytest.fixture(params=[*INDEXES, *ROUNDED])
def make_any(request: pytest.FixtureRequest) -> Make:
    return lambda: made(*request.param)


def clustered(count: int, seed: int, clusters: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(1).normal(size=(clusters, DIMENSION))
    keys = centers[rng.integers(0, clusters, count)] + 0.3 * rng.normal(size=(count, DIMENSION))
    return np.ascontiguousarray(keys / np.linalg.norm(keys, axis=1, keepdims=True), np.float32)


def nearest(live: dict[int, np.ndarray], key: np.ndarray, k: int) -> tuple[list[float], list[int]]:
    slots = np.array(list(live))
    l2_sq = ((np.stack(list(live.values())).astype(np.float64) - key) ** 2).sum(axis=1)
    order = np.argsort(l2_sq, kind="stable")[:k]
    return l2_sq[order].tolist(), slots[order].tolist()


def slots_of(*slots: int) -> np.ndarray:
    return np.array(slots, np.int64)


def test_finds_nothing_when_empty(make: Make) -> None:
    """An empty index answers with nothing, padded where the shape asks for it."""
    index = make()
    assert len(index) == 0
    assert index.search_one(clustered(1, 0)[0], 5) == ([], [])
    l2_sq, slots = index.search(clustered(3, 0), 5)
    assert l2_sq.shape == slots.shape == (3, 5)
    assert (slots == -1).all()
    assert np.isinf(l2_sq).all()


def test_finds_all_when_fewer_than_k(make: Make) -> None:
    """With fewer keys than k, all come back once: without padding for one key, with it for many."""
    index = make()
    keys = clustered(3, 0)
    index.add(slots_of(7, 2, 9), keys)
    l2_sq, slots = index.search_one(keys[1], 10)
    assert sorted(slots) == [2, 7, 9]
    assert slots[0] == 2
    assert l2_sq[0] == pytest.approx(0, abs=1e-6)
    found_l2_sq, found = index.search(keys, 10)
    assert found[:, 0].tolist() == [7, 2, 9]
    assert (found[:, 3:] == -1).all()
    assert np.isinf(found_l2_sq[:, 3:]).all()


def test_agrees_with_brute_force(make: Make) -> None:
    """Of the true ten nearest among 2,000 clustered keys, at least 95 % are found, at their true distance."""
    index = make()
    keys, queries = clustered(2000, 2), clustered(100, 3)
    for start in range(0, 2000, 100):
        index.add(np.arange(start, start + 100), keys[start : start + 100])
    live = dict(enumerate(keys))
    hits = 0
    for query in queries:
        l2_sq, slots = index.search_one(query, 10)
        assert len(slots) == len(set(slots)) == 10
        assert l2_sq == sorted(l2_sq)
        exact = ((keys[slots].astype(np.float64) - query) ** 2).sum(axis=1)
        assert l2_sq == pytest.approx(exact.tolist(), rel=1e-4, abs=1e-5)
        hits += len(set(slots) & set(nearest(live, query, 10)[1]))
    assert hits >= 950


def test_answers_many_keys_as_it_answers_one(make: Make) -> None:
    """A batch search gives each key nearly what a search for it alone gives, and the very same nearest."""
    index = make()
    index.add(np.arange(900), clustered(900, 2))
    index.settle()
    queries = clustered(40, 3)
    common = 0
    l2_sq, slots = index.search(queries, 7)
    for row, query in enumerate(queries):
        one_l2_sq, one_slots = index.search_one(query, 7)
        assert l2_sq[row, 0] == pytest.approx(one_l2_sq[0], rel=1e-4, abs=1e-5)
        common += len(set(slots[row].tolist()) & set(one_slots))
    assert common >= 0.95 * 7 * len(queries)


def test_never_finds_what_was_removed(make: Make) -> None:
    """A removed slot is gone from every answer, even where it lay amid the query's neighbors."""
    index = make()
    keys = clustered(600, 2)
    index.add(np.arange(600), keys)
    live = dict(enumerate(keys))
    for query in clustered(40, 3):
        for slot in index.search_one(query, 5)[1]:
            index.remove(slots_of(slot))
            live.pop(slot)
    assert len(index) == len(live) == 400
    for query in clustered(40, 3):
        slots = index.search_one(query, 10)[1]
        assert len(slots) == 10
        assert set(slots) <= set(live)
        assert set(index.search(query[None], 10)[1][0].tolist()) <= set(live)


def test_finds_a_reused_slot_at_its_new_key_alone(make: Make) -> None:
    """A slot that was removed may be added anew; its former key no longer leads to it."""
    index = make()
    keys = clustered(500, 2)
    index.add(np.arange(500), keys)
    index.remove(slots_of(3))
    moved = -keys[3]
    index.add(slots_of(3), moved[None])
    assert len(index) == 500
    assert index.search_one(moved, 1)[1] == [3]
    assert 3 not in index.search_one(keys[3], 5)[1]
    assert index.keys(slots_of(3))[0] == pytest.approx(moved, abs=1e-2)


def test_removing_unknown_slots_changes_nothing(make: Make) -> None:
    """Slots that are not there, or no longer, are a no-op."""
    index = make()
    index.add(slots_of(1), clustered(1, 2))
    index.remove(slots_of(0, 2, 10**6))
    index.remove(slots_of(1))
    index.remove(slots_of(1))
    assert len(index) == 0
    assert index.search_one(clustered(1, 2)[0], 3) == ([], [])


def test_becomes_empty_and_fills_again(make: Make) -> None:
    """Removing everything leaves an index as good as new."""
    index = make()
    keys = clustered(700, 2)
    for _ in range(2):
        index.add(np.arange(700), keys)
        assert index.search_one(keys[5], 1)[1] == [5]
        index.remove(np.arange(700))
        assert len(index) == 0
        assert index.search_one(keys[5], 3) == ([], [])
        assert (index.search(keys[:3], 3)[1] == -1).all()


def test_finds_more_than_it_usually_looks_at(make: Make) -> None:
    """A large k is answered in full."""
    index = make()
    keys = clustered(500, 2)
    index.add(np.arange(500), keys)
    assert len(set(index.search_one(keys[0], 300)[1])) == 300
    assert sorted(index.search_one(keys[0], 800)[1]) == list(range(500))


def test_reclaims_the_space_of_removed_keys(make: Make) -> None:
    """Thirty times as many keys as ever live at once pass through; memory stays that of the living."""
    index = make()
    rng = np.random.default_rng(0)
    sizes = []
    for start in range(0, 15_000, 500):
        index.add(np.arange(start, start + 500) % 1000, rng.normal(size=(500, DIMENSION)).astype(np.float32))
        if start:
            index.remove(np.arange(start - 500, start) % 1000)
        index.settle()
        sizes.append(index.memory_bytes())
    assert len(index) == 500
    assert max(sizes[15:]) <= max(sizes[:15]) * 1.05


def test_gives_keys_back(make: Make) -> None:
    """Slots, keys and a snapshot tell what is in the index."""
    index = make()
    keys = clustered(450, 2)
    index.add(np.arange(450) + 50, keys)
    index.remove(slots_of(60))
    expected = sorted(set(range(50, 500)) - {60})
    assert sorted(index.slots().tolist()) == expected
    assert index.keys(slots_of(50, 499)) == pytest.approx(keys[[0, 449]], abs=1e-2)
    parts = list(index.snapshot(64))
    assert sorted(int(slot) for slots, _ in parts for slot in slots) == expected
    for slots, part in parts:
        assert part == pytest.approx(keys[slots - 50], abs=1e-2)
    assert index.dimension == DIMENSION


@pytest.mark.parametrize(
    ("slots", "shape"),
    [
        pytest.param([0], (1, DIMENSION - 1), id="wrong dimension"),
        pytest.param([0, 1], (1, DIMENSION), id="more slots than keys"),
        pytest.param([-1], (1, DIMENSION), id="negative slot"),
        pytest.param([4, 4], (2, DIMENSION), id="a slot twice"),
        pytest.param([8], (1, DIMENSION), id="a slot in use"),
        pytest.param([7, 8], (2, DIMENSION), id="one of several in use"),
    ],
)
def test_refuses_what_does_not_fit(make: Make, slots: list[int], shape: tuple[int, int]) -> None:
    """Keys that do not fit are refused with the reason, and nothing is added."""
    index = make()
    index.add(slots_of(8), clustered(1, 2))
    with pytest.raises(InvalidValue):
        index.add(np.array(slots), np.zeros(shape, np.float32))
    assert len(index) == 1
    assert index.search_one(clustered(1, 2)[0], 3)[1] == [8]


def test_a_bulk_load_is_held_and_released(make_any: Make) -> None:
    """Nothing is on its way while an index is held; afterwards it is as if it had never been."""
    index = make_any()
    assert index.held is None
    index.hold(3000)
    assert index.held == 3000
    keys = clustered(1500, 2)
    for start in range(0, 1500, 100):
        index.add(np.arange(start, start + 100), keys[start : start + 100])
        assert not index.moving
    index.release()
    assert index.held is None
    index.settle(60)
    assert not index.moving
    assert len(index) == 1500
    assert index.search_one(keys[77], 1)[1] == [77]
    index.release()  # one that was not held has nothing to be released from


def test_a_slot_can_be_peeked_at(make_any: Make) -> None:
    """One key, as it is now, in a graph as in a scan; None where there is none."""
    index = make_any()
    keys = clustered(700, 2)
    index.add(np.arange(700), keys)
    index.settle(60)
    index.remove(slots_of(5, 6))
    index.add(slots_of(6), keys[9:10])
    for slot, row in ((0, 0), (6, 9), (699, 699)):
        found = index.peek(slot)
        assert found is not None
        assert found.shape == (1, DIMENSION)
        assert found.dtype == np.float32
        assert found[0] == pytest.approx(keys[row], abs=1e-2)
    for slot in (5, 700, 10**6, -1):
        assert index.peek(slot) is None


def test_a_peek_in_another_thread_is_never_torn(make_any: Make) -> None:
    """While the index changes and is replaced, a slot that stays has its own key, whoever asks."""
    index = make_any()
    keys = clustered(1200, 2)
    index.add(np.arange(100), keys[:100])
    wrong: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            for slot in (0, 50, 99):
                found = index.peek(slot)
                if found is None or not np.allclose(found[0], keys[slot], atol=1e-2):
                    wrong.append(slot)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for slot in range(100, 1200):
            index.add(slots_of(slot), keys[slot][None])
            if slot > 160:
                index.remove(slots_of(slot - 60))
        index.settle(60)
    finally:
        over.set()
        asking.join()
    assert wrong == []


def test_effort_is_that_of_the_kind_in_use(make_any: Make) -> None:
    """A wrapper tells that of what searches; scans and tables have none."""
    index = make_any()
    index.add(np.arange(500), clustered(500, 2))
    index.settle(60)
    assert (index.effort is None) == (index.kind in ("exact", "alsh"))
    assert not index.worn


def test_a_closed_index_goes_on_answering(make_any: Make) -> None:
    """Nothing more is begun in the background, and settling returns at once."""
    index = make_any()
    keys = clustered(900, 2)
    index.add(np.arange(150), keys[:150])
    index.close()
    index.add(np.arange(150, 900), keys[150:])
    index.remove(slots_of(3))
    assert not index.moving
    index.settle(60)
    assert len(index) == 899
    assert index.search_one(keys[800], 1)[1] == [800]
    index.close()
