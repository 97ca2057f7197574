"""Keys held in fewer bytes are still found, and do not wear out."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.index.auto import AutoIndex
from likewise.index.exact import ExactIndex
from likewise.index.hnsw import HnswIndex
from likewise.index.make import make_index

DIMENSION = 48


def clustered(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(1).normal(size=(60, DIMENSION))
    keys = centers[rng.integers(0, 60, count)] + 0.3 * rng.normal(size=(count, DIMENSION))
    return np.ascontiguousarray(keys / np.linalg.norm(keys, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize(("precision", "error", "recall"), [("float16", 3e-4, 0.95), ("int8", 1e-2, 0.85)])
def test_fewer_bytes_find_nearly_the_same(precision: str, error: float, recall: float) -> None:
    """Keys come out as they went in but for rounding, and near keys are found at nearly their distances."""
    keys, queries = clustered(3000, 2), clustered(100, 3)
    slots = np.arange(3000)
    index, truth = HnswIndex(DIMENSION, precision=precision), ExactIndex(DIMENSION)
    index.add(slots[:700], keys[:700])
    index.add(slots[700:], keys[700:])
    truth.add(slots, keys)
    assert 0 < np.abs(index.keys(slots) - keys).max() < error
    found_l2_sq, found = index.search(queries, 10)
    l2_sq, nearest = truth.search(queries, 10)
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), nearest.tolist(), strict=True)]
    assert np.mean(shared) > recall
    assert np.abs(np.sqrt(found_l2_sq[:, 0]) - np.sqrt(l2_sq[:, 0])).max() < 10 * error
    assert index.memory_bytes() < HnswIndex(DIMENSION).memory_bytes() + 3000 * (DIMENSION * 2 + 180)


def test_keys_that_come_one_by_one_are_not_cut_short() -> None:
    """The first key alone says nothing about where the numbers of the next ones lie."""
    keys = clustered(400, 6)
    index = HnswIndex(DIMENSION, precision="int8")
    for slot, key in enumerate(keys):
        index.add(np.array([slot]), key[None])
    assert np.abs(index.keys(np.arange(400)) - keys).max() < 1e-2


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_key_is_rounded_once(precision: str) -> None:
    """However often an index is replaced, its keys stay what they became at first."""
    index = AutoIndex(DIMENSION, background=False, exact_limit=500, precision=precision)
    slots = np.arange(6000)
    keys = clustered(6000, 4)
    index.add(slots, keys)
    assert index.kind == "hnsw"
    rounded = index.keys(slots[:100])
    for start in range(100, 5000, 700):  # tombstones make it rebuild itself
        index.remove(slots[start : start + 700])
    assert index.kind == "hnsw"
    np.testing.assert_allclose(index.keys(slots[:100]), rounded, atol=1e-6)


def test_what_cannot_be_held_so_is_refused() -> None:
    """An unknown precision, and a kind of index that knows none."""
    with pytest.raises(InvalidValue, match="float32, float16, int8"):
        HnswIndex(DIMENSION, precision="int4")
    with pytest.raises(InvalidValue, match="precision"):
        make_index("exact", DIMENSION, precision="int8")
