"""Projections keep what tells results apart, and the one that harvests most is taken."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.tuning.fits import best_fit, projections
from likewise.tuning.play import hindsight
from likewise.tuning.split import split
from likewise.types import Keys

COUNT, KINDS = 900, 6


class Judged:
    """What `Judge` offers, by hindsight alone."""

    budgets = (0.05,)

    def __init__(self, labels: NDArray[np.int64]) -> None:
        self._labels = labels
        self.played = 0

    def harvest(self, keys: Keys, places: NDArray[np.int64]) -> float:
        self.played += 1
        return hindsight(keys, self._labels[places], self.budgets)


@pytest.fixture
def labels() -> NDArray[np.int64]:
    return np.random.default_rng(1).integers(KINDS, size=COUNT)


def clusters(labels: NDArray[np.int64], noise: float) -> Keys:
    """Return numbers of which a few tell the label, and others vary more."""
    rng = np.random.default_rng(2)
    telling = rng.normal(size=(KINDS, 10))[labels] + 0.3 * rng.normal(size=(COUNT, 10))
    return np.hstack([telling, noise * rng.normal(size=(COUNT, 60))]).astype(np.float32)


def test_what_is_learned_from_results_finds_them(labels: NDArray[np.int64]) -> None:
    """On requests that it was not fitted on, where axes of most variance find noise."""
    numbers = clusters(labels, 3.0)
    shares = {
        name: hindsight(projection.many(numbers[600:]), labels[600:], [0.05])
        for name, projection in projections(numbers[:600], labels[:600]).items()
    }
    assert shares["principal axes"] < 0.5
    assert min(share for name, share in shares.items() if "discriminants" in name) > 0.9


def test_keys_are_of_comparable_length(labels: NDArray[np.int64]) -> None:
    """Both parts of a key count, whatever the numbers measure; one projection has both."""
    found = projections(1e4 * clusters(labels, 1.0), labels)
    for name in ("principal axes", "discriminants, 0.01"):
        keys = (1e4 * clusters(labels, 1.0) - found[name].mean) @ found[name].matrix
        assert np.mean(np.sum(keys**2, axis=1)) == pytest.approx(1.0, rel=0.01)
    assert found["both, 0.01"].dimension == sum(
        found[name].dimension for name in ("principal axes", "discriminants, 0.01")
    )


def test_without_like_results_nothing_is_learned_from_them() -> None:
    """Axes of most variance remain; of numbers that are all the same nothing does."""
    rng = np.random.default_rng(0)
    assert list(projections(rng.normal(size=(50, 8)).astype(np.float32), np.arange(50))) == ["principal axes"]
    assert projections(np.ones((50, 8), np.float32), np.arange(50) % 5) == {}
    many = projections(rng.normal(size=(4000, 60)).astype(np.float32), np.arange(4000) % 1000)
    assert all(each.dimension <= 96 for each in many.values())


def test_the_numbers_that_tell_more_are_taken(labels: NDArray[np.int64]) -> None:
    """Of several sources; the projection to write is fitted on all requests."""
    parts = split([0] * COUNT)
    judged = Judged(labels)
    found = best_fit({"noise": clusters(labels, 30.0)[:, 10:], "clear": clusters(labels, 1.0)}, labels, parts, judged)
    assert found is not None
    assert found.source == "clear"
    assert judged.played == 3
    assert not np.array_equal(found.tried.matrix, found.whole.matrix)
    assert best_fit({"same": np.ones((COUNT, 3), np.float32)}, labels, parts, judged) is None
