"""How AutoIndex chooses between kinds."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from weakref import ref

import numpy as np
import pytest

from likewise.index import ivf, moves
from likewise.index.auto import AutoIndex
from likewise.index.contenders import Contenders
from likewise.index.exact import ExactIndex
from likewise.index.hnsw import HnswIndex
from likewise.index.ivf import IvfIndex
from likewise.index.keyed import KeyedIndex
from likewise.index.tombstoned import TombstonedIndex
from likewise.index.trials import RECALL, Measure, Measured, Questions, measure

DIMENSION = 8


def keys(count: int, seed: int = 0, dimension: int = DIMENSION) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def cheapest(kind: str) -> Measure:
    """Return what finds one kind the cheapest, and a scan next."""
    return lambda each, index, questions: Measured(1.0, 0.5 if each == kind else 2.0)


def by_count(wanted: Callable[[int], str], tried: list[int] | None = None) -> Measure:
    """Return what prefers a kind by how many keys are tried, and notes their number once in a trial."""

    def judge(kind: str, index: KeyedIndex, questions: Questions) -> Measured:
        count = len(index) + len(questions.slots)
        if kind == "hnsw" and tried is not None:
            tried.append(count)
        return Measured(1.0, 0.5 if kind == wanted(count) else 2.0)

    return judge


def grown(index: AutoIndex, start: int, end: int) -> None:
    for slot in range(start, end):
        index.add(np.array([slot]), keys(1, slot))


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("kind", ["exact", "ivf", "hnsw"])
def test_the_cheapest_kind_is_taken_with_all_keys(kind: str, background: bool) -> None:
    """Whichever it is, it holds every key afterwards, those too that the trial asked for."""
    index = AutoIndex(DIMENSION, background=background, first_trial=600, measure=cheapest(kind))
    every = keys(700)
    index.add(np.arange(600), every[:600])
    assert index.kind == "exact"
    assert index.measured == {}
    index.add(np.arange(600, 700), every[600:])
    index.settle()
    assert index.kind == kind
    assert set(index.measured) == {"exact", "ivf", "hnsw"}
    assert sorted(index.slots().tolist()) == list(range(700))
    np.testing.assert_array_equal(index.keys(np.arange(700)), every)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_a_kind_that_finds_too_few_is_never_taken(kind: str) -> None:
    """However fast: the next best is, and where no other finds enough, a scan."""
    others = {"ivf", "hnsw"} - {kind}

    def poor(each: str, index: KeyedIndex, questions: Questions) -> Measured:
        return Measured(RECALL - 0.001, 0.001) if each == kind else Measured(1.0, 0.9)

    index = AutoIndex(DIMENSION, background=False, first_trial=100, measure=poor)
    index.add(np.arange(300), keys(300))
    assert index.kind in others
    hopeless = AutoIndex(DIMENSION, background=False, first_trial=100, measure=lambda *_: Measured(0.5, 0.001))
    hopeless.add(np.arange(300), keys(300))
    assert hopeless.kind == "exact"


def test_growing_and_shrinking_move_between_kinds() -> None:
    """Each move comes with a trial of its own, up to the last few keys, which are scanned without one."""

    def wanted(count: int) -> str:
        return "exact" if count < 250 else "ivf" if count < 1000 else "hnsw"

    index = AutoIndex(DIMENSION, background=False, first_trial=200, measure=by_count(wanted))
    seen = [index.kind]
    for slot in range(4200):
        index.add(np.array([slot]), keys(1, slot))
        seen.append(index.kind)
    for slot in range(4180):
        index.remove(np.array([slot]))
        seen.append(index.kind)
    assert [kind for kind, _ in itertools.groupby(seen)] == ["exact", "ivf", "hnsw", "ivf", "exact"]
    assert sorted(index.slots().tolist()) == list(range(4180, 4200))


def test_trials_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come as keys double while a scan is best, quadruple later, and end with a graph among many."""
    monkeypatch.setattr("likewise.index.auto.SETTLED", 1000)
    tried: list[int] = []
    kinds = by_count(lambda count: "exact" if count < 200 else "ivf" if count < 800 else "hnsw", tried)
    index = AutoIndex(DIMENSION, background=False, first_trial=64, measure=kinds)
    grown(index, 0, 9000)
    assert tried == [65, 131, 263, 1053]
    assert index.kind == "hnsw"


def test_as_many_keys_coming_as_going_start_no_trial() -> None:
    """A full namespace is rebuilt when it is worn, as the kind that it is and searched with the same effort."""
    tried: list[int] = []
    judge = by_count(lambda count: "ivf", tried)

    def measured(kind: str, index: KeyedIndex, questions: Questions) -> Measured:
        found = judge(kind, index, questions)
        return Measured(found.recall, found.cost, 0.3)

    index = AutoIndex(DIMENSION, background=False, first_trial=600, measure=measured)
    grown(index, 0, 700)
    first = index._current
    for slot in range(700, 2500):
        index.remove(np.array([slot - 700]))
        index.add(np.array([slot]), keys(1, slot))
    assert tried == [601]
    assert index.kind == "ivf"
    assert isinstance(index._current, IvfIndex)
    assert index._current is not first
    assert index._current.effort == 0.3
    assert sorted(index.slots().tolist()) == list(range(1800, 2500))


def test_changes_and_searches_during_a_trial_are_right() -> None:
    """What is removed, added and added anew under a slot meanwhile is so afterwards; searches go on as before."""
    measuring, go_on = threading.Event(), threading.Event()

    def slow(kind: str, index: KeyedIndex, questions: Questions) -> Measured:
        measuring.set()
        assert go_on.wait(300)
        return Measured(1.0, 0.5 if kind == "ivf" else 2.0)

    index = AutoIndex(DIMENSION, first_trial=500, measure=slow)
    every = keys(2000)
    live = dict(enumerate(every[:600]))
    index.add(np.arange(600), every[:600])
    assert measuring.wait(300)
    for slot in range(0, 600, 3):
        index.remove(np.array([slot]))
        del live[slot]
    for row in range(600, 900):
        slot = row - 600 if row < 800 and (row - 600) % 3 == 0 else row
        index.add(np.array([slot]), every[row : row + 1])
        live[slot] = every[row]
    assert index.moving
    assert index.kind == "exact"
    truth = ExactIndex(DIMENSION)
    truth.add(np.array(list(live)), np.stack(list(live.values())))
    for query in every[1000:1050]:
        assert index.search_one(query, 5)[1] == truth.search_one(query, 5)[1]
    go_on.set()
    index.settle()
    assert index.kind == "ivf"
    assert sorted(index.slots().tolist()) == sorted(live)
    slots = np.array(sorted(live))
    np.testing.assert_array_equal(index.keys(slots), np.stack([live[slot] for slot in slots.tolist()]))


def test_a_trial_that_fails_leaves_the_kind_in_place(caplog: pytest.LogCaptureFixture) -> None:
    """The failure is logged, and the next change tries again."""
    failures = [MemoryError("no room")]

    def fails_once(kind: str, index: KeyedIndex, questions: Questions) -> Measured:
        if failures:
            raise failures.pop()
        return Measured(1.0, 0.5 if kind == "hnsw" else 2.0)

    index = AutoIndex(DIMENSION, first_trial=100, measure=fails_once)
    with moves._building:  # hold the build back until it is looked at
        index.add(np.arange(200), keys(200))
        move = index._move
    assert move is not None
    move.join()
    assert index.kind == "exact"
    assert index.search_one(keys(200)[7], 1)[1] == [7]
    index.add(np.array([200]), keys(1, 1))  # takes note of the failure
    index.add(np.array([201]), keys(1, 2))  # and tries again
    index.settle()
    assert "could not be built" in caplog.text
    assert index.kind == "hnsw"
    assert len(index) == 202


def test_lookups_alone_begin_the_next_trial() -> None:
    """A trial that a bulk load outran does not leave a scan in place for good."""
    measuring, go_on = threading.Event(), threading.Event()

    def scan_first(kind: str, index: KeyedIndex, questions: Questions) -> Measured:
        measuring.set()
        assert go_on.wait(300)
        return Measured(1.0, 0.5 if kind == "ivf" and len(index) > 200 else 2.0)

    index = AutoIndex(DIMENSION, first_trial=100, measure=scan_first)
    index.add(np.arange(120), keys(120))
    assert measuring.wait(300)
    index.add(np.arange(120, 900), keys(780, 1))
    go_on.set()
    for _ in range(3):
        if index._move is not None:
            index._move.join(300)
        assert index.search_one(keys(120)[5], 1)[1] == [5]
    assert index.kind == "ivf"


def test_one_contender_stands_beside_the_index_at_a_time() -> None:
    """Each is gone before the next is built."""
    before: list[ref[KeyedIndex]] = []
    alive: list[bool] = []

    def judge(kind: str, index: KeyedIndex, questions: Questions) -> Measured:
        alive.extend(each() is not None for each in before)
        before.append(ref(index))
        return Measured(1.0, 0.5 if kind == "ivf" else 2.0)

    index = AutoIndex(DIMENSION, background=False, first_trial=100, measure=judge)
    index.add(np.arange(200), keys(200))
    assert index.kind == "ivf"
    assert alive == [False]
    assert [each() for each in before] == [None, None]


def test_questions_are_keys_of_the_namespace_that_no_contender_holds() -> None:
    """A stored key would find itself; what is near is known from a scan of all the others."""
    asked: list[Questions] = []

    def judge(kind: str, index: KeyedIndex, questions: Questions) -> Measured:
        asked.append(questions)
        assert not set(questions.slots.tolist()) & set(index.slots().tolist())
        assert len(questions.slots) + len(index) == 3000
        return Measured(1.0, 2.0)

    every = keys(3000)
    index = AutoIndex(DIMENSION, background=False, first_trial=1000, measure=judge)
    index.add(np.arange(3000) + 7, every)
    questions = asked[0]
    assert 64 <= len(questions.slots) <= 128
    np.testing.assert_array_equal(questions.keys, every[questions.slots - 7])
    others = np.delete(every, questions.slots - 7, axis=0).astype(np.float64)
    for key, reach in zip(questions.keys, questions.reach, strict=True):
        tenth = np.sort(((others - key) ** 2).sum(axis=1))[9]
        assert reach == pytest.approx(tenth, rel=1e-4)


def test_recall_counts_what_is_as_near_as_the_nearest() -> None:
    """Among equal keys it does not matter which are found; what lies farther does not count."""
    index, answers = ExactIndex(2), ExactIndex(2)
    index.add(np.arange(40), np.repeat(np.array([[0, 0], [5, 5]], np.float32), 20, axis=0))
    questions = Questions(np.array([90]), np.array([[0.5, 0]], np.float32), index)
    answers.add(np.arange(14), np.repeat(np.array([[0, 0], [5, 5]], np.float32), 7, axis=0))
    assert questions.recall(index) == 1.0
    assert questions.recall(answers) == pytest.approx(0.7)


@pytest.mark.parametrize(("make", "dimension"), [(HnswIndex, 24), (IvfIndex, 6)])
def test_a_kind_is_searched_with_the_least_effort_that_finds_enough(
    make: Callable[[int], TombstonedIndex], dimension: int
) -> None:
    """Keys without structure ask for more than the least; each effort finds as much as one below it, or more."""
    every = keys(3000, dimension=dimension)
    index, twin = make(dimension), make(dimension)
    for each in (index, twin):
        each.add(np.arange(2936), every[:2936])
    questions = Questions(np.arange(2936, 3000), every[2936:], index)
    recalls = {}
    for effort in twin.efforts:
        twin.effort = effort
        recalls[effort] = questions.recall(twin)
    assert list(recalls.values()) == sorted(recalls.values())
    enough = [effort for effort, recall in recalls.items() if recall >= RECALL]
    assert 0 < len(enough) < len(recalls)
    found = measure(index.kind, index, questions)
    assert found.effort == index.effort == enough[0]
    assert found.recall == recalls[enough[0]]
    assert len(index) == 3000


def test_a_kind_that_cannot_find_enough_is_not_timed() -> None:
    """Half of the lists are too few for keys without structure: the index is left as it was."""
    every = keys(3000, dimension=64)
    index = IvfIndex(64)
    index.add(np.arange(2936), every[:2936])
    found = measure("ivf", index, Questions(np.arange(2936, 3000), every[2936:], index), clock=lambda: 1 / 0)
    assert found.recall < RECALL
    assert found.cost == float("inf")
    assert len(index) == 2936


def test_cost_is_a_search_and_a_tenth_of_an_insertion_beside_those_of_a_scan() -> None:
    """40 and 100 beside 80 and 20; among more keys than it is timed with, a scan takes as much longer."""

    class Slow(ExactIndex):
        def __init__(self, name: str) -> None:
            super().__init__(DIMENSION)
            self.name = name

        def search_one(self, key: np.ndarray, k: int) -> tuple[list[float], list[int]]:
            passed[0] += 40 if self.name == "own" else 80
            return super().search_one(key, k)

        def add(self, slots: np.ndarray, keys: np.ndarray) -> None:
            passed[0] += 100 if self.name == "own" else 20
            super().add(slots, keys)

    passed = [0.0]
    index, scan = Slow("own"), Slow("scan")
    index.add(np.arange(100), keys(100))
    scan.add(np.arange(100), keys(100))
    questions = Questions(np.arange(100, 110), keys(10, 1), index)
    questions.scan, questions.scans = scan, 3.0
    found = measure("exact", index, questions, clock=lambda: passed[0])
    assert found.cost == pytest.approx((40 + 10) / (3 * 80 + 2))
    assert found.recall == 1.0


def test_keys_in_fewer_bytes_are_tried_in_a_graph_alone() -> None:
    """The other kinds could not hold them so."""
    index = AutoIndex(DIMENSION, background=False, first_trial=100, precision="int8", measure=cheapest("hnsw"))
    index.add(np.arange(200), keys(200))
    assert set(index.measured) == {"exact", "hnsw"}
    assert index.kind == "hnsw"


def test_the_tables_of_foggycache_are_not_tried() -> None:
    """They are there for comparison: on no sort of keys did they come near the others."""
    contenders = Contenders(DIMENSION, m=16, ef_construction=80, ef_search=None, precision="float32")
    assert contenders.kinds == ("ivf-sq8", "ivf", "hnsw")


def test_clustered_keys_leave_the_scan_by_measurement() -> None:
    """Timed for real: among 20,000 keys in groups a scan loses by far, and what was taken finds enough."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(400, 32))
    every = (centers[rng.integers(0, 400, 20_200)] + 0.3 * rng.normal(size=(20_200, 32))).astype(np.float32)
    index, truth = AutoIndex(32), ExactIndex(32)
    index.hold(20_000)
    index.add(np.arange(20_000), every[:20_000])
    truth.add(np.arange(20_000), every[:20_000])
    assert not index.moving
    index.release()
    index.settle()
    assert index.kind in ("ivf", "hnsw")
    assert index.measured[index.kind].cost < 1
    near = [truth.search_one(key, 10)[1] for key in every[20_000:]]
    found = [index.search_one(key, 10)[1] for key in every[20_000:]]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(near, found, strict=True)]) > 0.93


def test_lists_follow_growth_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner's lists never find new centroids by themselves; they say when it is time."""
    monkeypatch.setattr(ivf, "EXACT_LIMIT", 64)
    index = IvfIndex(DIMENSION, training=keys(200), expected=200, rebuilds_itself=False)
    index.add(np.arange(800), keys(800))
    assert not index.worn
    lists = index._lists
    index.add(np.array([800]), keys(1, 1))
    assert index.worn
    assert index._lists is lists


@pytest.mark.parametrize("make", [HnswIndex, IvfIndex])
def test_a_snapshot_outlives_the_index_that_it_is_of(make: Callable[[int], TombstonedIndex]) -> None:
    """Who copies an index that is replaced meanwhile reads on: its memory is given back when nobody has it."""
    every = keys(3000, dimension=64)
    index = make(64)
    index.add(np.arange(3000), every)
    parts = index.snapshot(700)
    first = next(iter(parts))[1]
    index.discard()
    np.testing.assert_array_equal(first, every[:700])
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), every)
