"""The index that changes its kind by itself."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.lookup.auto import AutoIndex


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_lookups_alone_take_over_a_replacement(many: bool) -> None:
    """After a bulk load, a graph that was built meanwhile comes into use though nothing more is added."""
    keys = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    index = AutoIndex(8, exact_limit=500)
    index.add(np.arange(600, dtype=np.int64), keys)
    move = index._move
    assert move is not None
    move.join(30)
    found = [index.search(keys[:1], 1)[1][0, 0] if many else index.search_one(keys[0], 1)[1][0] for _ in range(80)]
    assert index.kind == "hnsw"
    assert not index.moving
    assert set(found) == {0}
