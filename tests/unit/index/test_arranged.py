"""Where keys stand in memory is nobody's business but the processor's."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.index import hnsw
from likewise.index.auto import AutoIndex
from likewise.index.exact import ExactIndex
from likewise.index.hnsw import HnswIndex

DIMENSION = 24


def clustered(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(1).normal(size=(60, DIMENSION))
    return np.ascontiguousarray(
        centers[rng.integers(0, 60, count)] + 0.3 * rng.normal(size=(count, DIMENSION)), np.float32
    )


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_an_arranged_graph_answers_as_before(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    """Slots, keys, tombstones and answers are the same; additions and removals go on."""
    monkeypatch.setattr(hnsw, "ARRANGED_FROM", 1000)
    keys, queries = clustered(4000, 2), clustered(200, 3)
    slots = np.random.default_rng(4).permutation(9000)[:4000]
    index = HnswIndex(DIMENSION, rebuilds_itself=False, capacity=8000, precision=precision)
    index.add(slots, keys)
    index.remove(slots[::7])
    before = index.search(queries, 10)
    held = index.keys(slots[1::7])
    index.arrange()
    after = index.search(queries, 10)
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_array_equal(index.keys(slots[1::7]), held)
    assert len(index) == 4000 - len(slots[::7])
    assert not set(index.slots().tolist()) & set(slots[::7].tolist())
    index.add(slots[::7], keys[::7])
    index.remove(slots[1::7])
    found = index.search(keys[::7], 1)[1][:, 0]
    assert (found == slots[::7]).mean() > 0.99
    assert not set(index.search(queries, 10)[1].ravel().tolist()) & set(slots[1::7].tolist())


def test_near_keys_stand_near_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is all it is for: neighbors are fewer positions apart than they came."""
    monkeypatch.setattr(hnsw, "ARRANGED_FROM", 1000)
    index = HnswIndex(DIMENSION, rebuilds_itself=False, capacity=8000)
    keys = clustered(4000, 2)
    slots = np.arange(4000)
    index.add(slots, keys)

    def apart() -> float:
        positions = index._positions.get(index.search(keys[:500], 2)[1])
        return float(np.median(np.abs(positions[:, 0] - positions[:, 1])))

    before = apart()
    index.arrange()
    assert apart() < before / 10


def test_changes_during_a_build_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that is built and arranged in the background catches up with what was added and removed meanwhile."""
    monkeypatch.setattr(hnsw, "ARRANGED_FROM", 1000)
    index, truth = AutoIndex(DIMENSION, exact_limit=1000), ExactIndex(DIMENSION)
    keys = clustered(6000, 5)
    for start in range(0, 6000, 50):
        slots = np.arange(start, start + 50)
        index.add(slots, keys[start : start + 50])
        truth.add(slots, keys[start : start + 50])
        if start % 200 == 150:
            index.remove(slots[::3])
            truth.remove(slots[::3])
    index.settle()
    assert index.kind == "hnsw"
    assert sorted(index.slots().tolist()) == sorted(truth.slots().tolist())
    live = truth.slots()
    np.testing.assert_array_equal(index.keys(live), truth.keys(live))
    found, expected = index.search(keys[:300], 10)[1], truth.search(keys[:300], 10)[1]
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), expected.tolist(), strict=True)]
    assert np.mean(shared) > 0.95
