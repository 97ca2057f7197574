from __future__ import annotations

import numpy as np

from likewise.index.alsh import AlshIndex


def clustered(count: int, scale: float, seed: int) -> np.ndarray:
    centers = np.random.default_rng(5).normal(size=(60, 16))
    rng = np.random.default_rng(seed)
    return (scale * (centers[rng.integers(0, 60, count)] + 0.2 * rng.normal(size=(count, 16)))).astype(np.float32)


def test_buckets_take_the_scale_of_the_data() -> None:
    """The same data a hundred times larger gets buckets about a hundred times wider, and recall stays."""
    widths = []
    for scale in (1.0, 100.0):
        index = AlshIndex(16)
        keys, queries = clustered(3000, scale, 0), clustered(2200, scale, 1)
        for start in range(0, 3000, 50):
            index.add(np.arange(start, start + 50), keys[start : start + 50])
        for query in queries[:2000]:
            index.search_one(query, 5)
        hits = 0
        for query in queries[2000:]:
            truth = np.argsort(((keys - query) ** 2).sum(axis=1))[:5]
            hits += len(set(truth.tolist()) & set(index.search_one(query, 5)[1]))
        assert hits >= 0.9 * 5 * 200
        widths.append(index.width)
    assert 30 < widths[1] / widths[0] < 300


def test_lookups_stay_short_as_keys_come() -> None:
    """The share of keys that a lookup looks at falls as they multiply; what it looks at stays within the bounds."""
    index = AlshIndex(16, candidates_min=20, candidates_max=150)
    queries = clustered(1200, 1.0, 3)
    seen = []
    for stage in range(3):
        count = 1000 * 3**stage
        have = len(index)
        index.add(np.arange(have, count), clustered(count - have, 1.0, 10 + stage))
        for query in queries:
            index.search_one(query, 5)
        seen.append(np.mean([len(found) for found in index._tables.candidates(queries[:200])]))
    assert max(seen) <= 300


def test_removal_during_a_rehash_holds() -> None:
    """Keys removed, and removed and added again, while new tables fill are found as they are, once."""
    index = AlshIndex(16)
    keys = clustered(2000, 1.0, 0)
    index.add(np.arange(2000), keys)
    assert index._next is not None, "the first keys set the scale, so a rehash is on its way"
    index.remove(np.arange(0, 2000, 2))
    index.add(np.array([0]), keys[1500:1501])
    for query in keys[:300]:
        index.search_one(query, 3)
    assert index._next is None
    for slot in (1, 3, 999):
        assert index.search_one(keys[slot], 1)[1] == [slot]
    found = index.search_one(keys[1500], 10)[1]
    assert found[0] == 0
    assert len(found) == len(set(found))
    assert all(slot == 0 or slot % 2 for slot in found)


def test_buckets_narrow_as_keys_come_without_lookups() -> None:
    """Insertions alone say how dense keys lie: a bulk load ends with lookups that look at few of them."""
    index = AlshIndex(16)
    keys = clustered(6000, 1.0, 0)
    for start in range(0, 6000, 30):
        index.add(np.arange(start, start + 30), keys[start : start + 30])
    found = index._tables.candidates(clustered(200, 1.0, 3))
    assert np.mean([len(slots) for slots in found]) < 1200
