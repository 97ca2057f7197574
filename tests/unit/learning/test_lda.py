"""Learned projections: they help where labels have directions, and are left alone where they do not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.learning.lda import (
    Projection,
    fit_lda,
    fit_wccn,
    learn_projection,
    next_fit,
    safe_share,
    worth_it,
)


def labeled(count: int, labels: int, *, noise: float, seed: int = 3) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return keys of 40 numbers: labels differ in the first 8, noise of that size lies on the others."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, labels, count)
    keys = 0.15 * rng.normal(size=(count, 40))
    keys[:, :8] += rng.normal(size=(labels, 8))[ids]
    keys[:, 8:] += noise * rng.normal(size=(count, 32))
    return keys.astype(np.float32), ids


def test_lda_finds_the_directions_that_matter() -> None:
    """Noise on useless numbers is projected away, on keys that were not fitted too."""
    keys, ids = labeled(600, 30, noise=1.0)
    projection = fit_lda(keys[::2], ids[::2])
    assert projection is not None
    assert projection.dimension == 29
    plain = safe_share(keys[1::2], ids[1::2])
    assert safe_share(projection.many(keys[1::2]), ids[1::2]) > plain + 0.2
    assert worth_it(keys[1::2], ids[1::2], projection)


def test_wccn_keeps_the_dimension_and_shrinks_noise() -> None:
    """Every number stays; distances within a label shrink by comparison."""
    keys, ids = labeled(600, 30, noise=1.0)
    projection = fit_wccn(keys[::2], ids[::2])
    assert projection is not None
    assert projection.dimension == 40
    assert safe_share(projection.many(keys[1::2]), ids[1::2]) > safe_share(keys[1::2], ids[1::2])


def test_one_and_many_agree_and_survive_the_journal() -> None:
    """A key alone, in a batch, and after a round trip through JSON projects alike, at unit norm."""
    keys, ids = labeled(200, 20, noise=0.5)
    projection = fit_lda(keys, ids, dimension=5)
    assert projection is not None
    again = Projection.restored(json.loads(json.dumps(projection.state())))
    batch = projection.many(keys)
    assert batch.shape == (200, 5)
    assert batch.dtype == again.one(keys[0]).dtype == np.float32
    assert np.allclose(np.linalg.norm(batch, axis=1), 1, atol=1e-5)
    for row in (0, 7, 199):
        assert np.allclose(again.one(keys[row]), batch[row], atol=1e-5)
    assert not projection.many(projection.mean[None]).any()


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"mean": [1], "matrix": "x"},
        {"mean": [1], "matrix": [1]},
        {"mean": [1], "matrix": [[1], [2]]},
        {"mean": [1], "matrix": [[float("nan")]]},
    ],
)
def test_a_broken_state_is_refused(state: dict[str, object]) -> None:
    """What cannot be a projection is not taken over."""
    with pytest.raises(InvalidValue, match="discard"):
        Projection.restored(state)


def test_learning_needs_evidence() -> None:
    """Too few keys, too few labels, or no gain on keys held out: no projection."""
    keys, ids = labeled(400, 30, noise=1.0)
    learned = learn_projection(keys, ids)
    assert learned is not None
    assert learned.dimension <= 48
    assert learn_projection(keys[:99], ids[:99]) is None
    assert learn_projection(keys, ids % 19) is None
    easy, same = labeled(400, 30, noise=0.0)
    assert learn_projection(easy, same) is None
    assert learn_projection(keys, np.random.default_rng(1).permutation(ids)) is None


def test_nothing_to_learn_from_gives_nothing() -> None:
    """One label, equal means, or no label seen twice."""
    keys, ids = labeled(50, 5, noise=0.1)
    assert fit_lda(keys, np.zeros(50, np.int64)) is None
    assert fit_lda(np.ones((50, 40), np.float32), ids) is None
    assert fit_wccn(keys, np.arange(50)) is None
    with pytest.raises(InvalidValue, match="one for each"):
        fit_lda(keys, ids[:-1])


def test_the_safe_share_counts_right_answers_within_the_budget() -> None:
    """Two tight pairs and one intruder, by hand."""
    keys = np.array([[0, 0], [0, 0.1], [5, 0], [5, 0.1], [5, 1.0]], np.float32)
    assert safe_share(keys, [1, 1, 2, 2, 3], budget=0.0) == pytest.approx(0.8)
    assert safe_share(keys, [1, 2, 3, 4, 5], budget=0.0) == 0.0
    assert safe_share(keys[:2], [1, 1]) == 0.0


def test_fits_grow_rarer() -> None:
    """100, 150, 225, and so on."""
    assert [next_fit(n) for n in (0, 99, 100, 149, 150, 225)] == [100, 100, 150, 150, 225, 337]
