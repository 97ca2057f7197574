"""Lists of very many keys: the graph that finds their centroids."""

from __future__ import annotations

import faiss
import numpy as np

from likewise.index.coded import GRAPH_FROM, CodedLists

DIMENSION, GROUPS, FOUND = 64, 200, 6


def grouped(count: int, seed: int) -> np.ndarray:
    """Return keys around common middles, so that there are several lists for each: shape (count, DIMENSION)."""
    middles = np.random.default_rng(7).normal(size=(GROUPS, DIMENSION))
    rng = np.random.default_rng(seed)
    keys = middles[rng.integers(0, GROUPS, count)] + 0.1 * rng.normal(size=(count, DIMENSION))
    return keys.astype(np.float32)


def test_the_nearest_centroids_are_found_though_they_stand_in_groups_far_from_each_other() -> None:
    lists = CodedLists(DIMENSION, 20_000, GRAPH_FROM, training=grouped(20_000, 1))
    asked = lists._coded(grouped(256, 2))
    graph = lists._centroids_for(FOUND)
    assert isinstance(graph, faiss.IndexHNSW)
    _, wanted = lists._scanned.search(asked, FOUND)
    _, found = graph.search(asked, FOUND)
    shares = [len(set(one) & set(other)) / FOUND for one, other in zip(wanted.tolist(), found.tolist(), strict=True)]
    assert np.mean(shares) > 0.95
