"""Keys with what a network makes of them beside them: as the file says, alone and in batches, and no broken file."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.features.vector import units
from likewise.learning.beside import LARGEST, Beside

RNG = np.random.default_rng(4)
STATE = {
    "mean": RNG.normal(0, 0.1, 6).tolist(),
    "layers": [
        {"matrix": RNG.normal(size=(6, 9)).tolist(), "bias": RNG.normal(size=9).tolist()},
        {"matrix": RNG.normal(size=(9, 4)).tolist(), "bias": RNG.normal(size=4).tolist()},
    ],
    "directions": RNG.normal(size=(4, 3)).tolist(),
    "weight": 0.5,
}


def test_beliefs_are_beside_the_key_at_their_weight() -> None:
    """What is searched is the key less the mean, then half of the network's softmax, all at norm 1."""
    keys = units(RNG.normal(size=(20, 6)))
    found = Beside.restored(STATE)
    first, last = STATE["layers"]
    hidden = np.maximum(keys @ np.array(first["matrix"]) + first["bias"], 0)
    made = hidden @ np.array(last["matrix"]) + last["bias"]
    beliefs = np.exp(made / np.linalg.norm(made, axis=1, keepdims=True) @ np.array(STATE["directions"]))
    wanted = np.hstack([keys - STATE["mean"], 0.5 * beliefs / beliefs.sum(axis=1, keepdims=True)])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert (found.dimension, found.work) == (9, 6 * 9 + 9 * 4 + 4 * 3)
    np.testing.assert_allclose(found.many(keys), wanted, atol=1e-5)
    np.testing.assert_allclose([found.one(key) for key in keys], wanted, atol=1e-5)
    assert found.many(keys).dtype == found.one(keys[0]).dtype == np.float32
    again = Beside.restored(json.loads(json.dumps(found.state())))
    np.testing.assert_array_equal(again.many(keys), found.many(keys))


def test_a_network_that_says_nothing_believes_all_alike() -> None:
    """Where it makes zeros, of a key of zeros too, every class has the same share, and nothing is divided by 0."""
    layers = [{"matrix": [[0.0], [0.0]], "bias": [0.0]}]
    found = Beside.restored({"mean": [0.0, 0.0], "layers": layers, "directions": [[9.0, -9.0]], "weight": 1.0})
    wanted = [[0.6, 0.8, 0.5, 0.5], [0.0, 0.0, 0.5, 0.5]] / np.sqrt([[1.5], [0.5]])
    keys = np.array([[0.6, 0.8], [0, 0]], np.float32)
    np.testing.assert_allclose(found.many(keys), wanted, atol=1e-6)
    np.testing.assert_allclose([found.one(key) for key in keys], wanted, atol=1e-6)


def test_the_surest_and_largest_network_stays_finite() -> None:
    """At the limit of what a file may hold."""
    big = 0.99 * LARGEST
    layer = {"matrix": np.full((8, 8), big).tolist(), "bias": [0.0] * 8}
    state = {"mean": [0.0] * 8, "layers": [layer] * 3, "directions": [[big, -big]] * 8, "weight": big}
    for key in (np.full(8, 8**-0.5, np.float32), np.zeros(8, np.float32)):
        made = Beside.restored(state).one(key)
        np.testing.assert_allclose(np.linalg.norm(made), 1.0, atol=1e-4)
        np.testing.assert_allclose(Beside.restored(state).many(key[None])[0], made, atol=1e-4)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("mean",), [0.0] * 5, "layer 1 that does not fit"),
        (("mean",), [[0.0] * 6], "not finite"),
        (("mean",), [float("nan")] * 6, "not finite"),
        (("mean",), "none", "needs `mean`"),
        (("layers",), [], "has 0 `layers`"),
        (("layers",), STATE["layers"] * 2, "has 4 `layers`"),
        (("layers",), "ab", "needs `mean`"),
        (("layers",), STATE["layers"][::-1], "layer 1 that does not fit"),
        (("layers", 1, "matrix"), [[1.0]] * 8, "layer 2 that does not fit"),
        (("layers", 1, "bias"), [0.0] * 3, "layer 2 that does not fit"),
        (("layers", 1, "bias"), [0.0, 0.0, 1e3, 0.0], "not finite or beyond"),
        (("layers", 0), {"matrix": [[1.0]]}, "needs `mean`"),
        (("directions",), [[1.0]] * 3, "`directions` do not fit its last layer, which makes 4"),
        (("directions",), [1.0] * 4, "`directions` do not fit"),
        (("weight",), 0.0, "no `weight` above 0"),
        (("weight",), "much", "needs `mean`"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(place: tuple[str | int, ...], value: object, message: str) -> None:
    """With what does not fit."""
    state = copy.deepcopy(STATE)
    where = state
    for step in place[:-1]:
        where = where[step]
    where[place[-1]] = value
    with pytest.raises(InvalidValue, match=message):
        Beside.restored(state)
