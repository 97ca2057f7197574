"""Projections keep what tells results apart, and the one that harvests most is taken."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.tuning.fits import best_fit, projections
from likewise.tuning.play import hindsight
from likewise.tuning.split import rounds
from likewise.types import Keys

COUNT, KINDS = 900, 6
BUDGETS = (0.05,)


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
    """Of several sources; the projection to write is fitted to all requests, those in the rounds to their own."""
    parts = rounds([0] * COUNT, labels.tolist())
    sources = {"noise": clusters(labels, 30.0)[:, 10:], "clear": clusters(labels, 1.0)}
    found = best_fit([sources] * (len(parts) + 1), labels, parts, BUDGETS)
    assert found is not None
    assert found.source == "clear"
    for part, tried, keys in zip(parts, found.tried, found.keys, strict=True):
        fitted = projections(sources["clear"][part.fitted], labels[part.fitted])
        assert any(np.array_equal(tried.matrix, each.matrix) for each in fitted.values())
        assert keys.shape == (len(part.played), tried.dimension)
    assert any(
        np.array_equal(found.whole.matrix, each.matrix) for each in projections(sources["clear"], labels).values()
    )
    flat = {"same": np.ones((COUNT, 3), np.float32)}
    assert best_fit([flat] * (len(parts) + 1), labels, parts, BUDGETS) is None


def test_a_choice_among_many_does_not_look_better_than_each() -> None:
    """Of many sources that tell nothing one is best by chance: what is played is not by the very one that was lucky."""
    rng = np.random.default_rng(5)
    labels = rng.integers(2, size=240)
    parts = rounds([0] * len(labels), labels.tolist())
    sources = {at: rng.normal(size=(len(labels), 4)).astype(np.float32) for at in range(30)}
    scores = {
        (at, name, turn): hindsight(projection.many(numbers[part.played]), labels[part.played], (0.3,))
        for turn, part in enumerate(parts)
        for at, numbers in sources.items()
        for name, projection in projections(numbers[part.fitted], labels[part.fitted]).items()
    }
    means = [np.mean([scores[at, name, turn] for turn in range(len(parts))]) for at, name, turn in scores if turn == 0]
    found = best_fit([sources] * (len(parts) + 1), labels, parts, (0.3,))
    assert found is not None
    played = np.mean(
        [hindsight(keys, labels[part.played], (0.3,)) for keys, part in zip(found.keys, parts, strict=True)]
    )
    assert np.max(means) > np.mean(means) + 0.05
    assert abs(played - np.mean(means)) < abs(played - np.max(means))


def test_fewer_inputs_than_numbers_are_fitted_in_the_space_of_the_inputs(labels: NDArray[np.int64]) -> None:
    """Numbers that are always 0 beside them, more than there are inputs, change nothing but how much is shrunk."""
    numbers = clusters(labels, 1.0)
    wide = np.hstack([numbers, np.zeros((COUNT, COUNT), np.float32)])
    plain, wider = projections(numbers, labels), projections(wide, labels)
    assert plain.keys() == wider.keys()
    for name in ("principal axes", "discriminants, 0.01"):
        one, other = plain[name].many(numbers), wider[name].many(wide)
        np.testing.assert_allclose(one @ one.T, other @ other.T, atol=0.05)
