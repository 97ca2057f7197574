"""The published policies: fixed threshold, H-kNN, Potluck, vCache."""

from __future__ import annotations

import json
import math
import random

import pytest

from likewise.decision import make_policy
from likewise.decision.fixed import Fixed
from likewise.decision.hknn import Hknn
from likewise.decision.potluck import Potluck
from likewise.decision.vcache import Vcache
from likewise.errors import InvalidValue
from likewise.types import NO_NEIGHBORS, Neighbors


def one(distance: float, label: int = 1) -> Neighbors:
    """Return a single neighbor."""
    return Neighbors([distance], [label], [5])


def test_fixed_reuses_within_its_threshold() -> None:
    """And nowhere else."""
    policy = Fixed(0.95, lambda: 0.5, threshold=0.3)
    assert [policy.decide(one(d)).reason for d in (0.1, 0.3, 0.31)] == [
        "within threshold",
        "within threshold",
        "beyond threshold",
    ]
    assert policy.confident(one(0.3))
    assert not policy.confident(one(0.4))
    assert policy.decide(NO_NEIGHBORS).reason == "no neighbors"
    assert policy.statistics().bar == 0.3
    assert math.isnan(policy.statistics().estimated_accuracy)


@pytest.mark.parametrize("name", ["fixed", "hknn", "potluck"])
def test_dropout_computes_some_would_be_hits_and_estimates_the_accuracy(name: str) -> None:
    """With half of them checked and a third wrong, the estimate comes near the truth."""
    own = random.Random(1)
    policy = make_policy(name, 0.9, own.random, dropout=0.5)
    false_hits = 0
    for _ in range(4000):
        verdict = policy.decide(one(0.05))
        truth = 1 if own.random() < 0.9 else 2
        if verdict.reuse:
            false_hits += truth != 1
        else:
            policy.learn(verdict, truth)
        policy.abandon(verdict)
    found = policy.statistics()
    if found.would_be_hits > 1000:  # Potluck may have tightened for good
        assert found.estimated_accuracy == pytest.approx(1 - false_hits / 4000, abs=0.03)
    assert found.probes == pytest.approx(found.would_be_hits / 2, abs=150)


def test_hknn_refuses_where_neighbors_disagree() -> None:
    """The homogeneity factor has to reach theta; those beyond the threshold have no vote."""
    mixed = Neighbors([0.1, 0.1, 0.1], [1, 1, 2], [0, 1, 2])
    assert Hknn(0.95, lambda: 0.5, theta=0.6).decide(mixed).reason == "homogeneous"
    strict = Hknn(0.95, lambda: 0.5, theta=0.9)
    assert strict.decide(mixed).reason == "heterogeneous"
    assert not strict.confident(mixed)
    near = Hknn(0.95, lambda: 0.5, theta=0.9, threshold=0.2)
    assert near.decide(Neighbors([0.1, 0.3], [1, 2], [0, 1])).reuse
    assert near.confident(Neighbors([0.1, 0.3], [1, 2], [0, 1]))
    assert near.decide(one(0.3)).reason == "no neighbors"
    assert near.statistics().bar == 0.9


def test_potluck_loosens_slowly_and_tightens_at_once() -> None:
    """A fifth of the way after a right one beyond, to a quarter after a wrong one within."""
    policy = Potluck(0.95, lambda: 0.999, warm_up=1)
    assert policy.decide(one(0.5)).reason == "warming up"
    policy.learn(policy.decide(one(0.5)), 1)
    assert policy.statistics().bar == pytest.approx(0.1)
    verdict = policy.decide(one(0.05))
    assert verdict.reason == "within threshold"
    policy.learn(verdict, 2)
    assert policy.statistics().bar == pytest.approx(0.025)
    assert policy.decide(one(0.05)).reason == "beyond threshold"
    assert policy.confident(one(0.02))
    assert policy.decide(NO_NEIGHBORS).reason == "no neighbors"
    assert policy.learn(policy.decide(NO_NEIGHBORS), 1) == (True, -1, False)


def test_potluck_reuses_nothing_while_it_warms_up() -> None:
    """The bar is +inf until 100 results were computed."""
    policy = Potluck(0.95, lambda: 0.999)
    for _ in range(100):
        assert policy.statistics().bar == math.inf
        policy.learn(policy.decide(one(0.1)), 1)
    assert policy.statistics().bar < math.inf


def test_vcache_explores_each_entry_before_it_exploits_it() -> None:
    """Right answers near the entry open it; another entry in its slot starts anew."""
    own = random.Random(2)
    policy = Vcache(0.9, own.random)
    assert policy.decide(NO_NEIGHBORS).reason == "no neighbors"
    assert policy.learn(policy.decide(NO_NEIGHBORS), 1).insert
    for _ in range(200):
        distance = own.uniform(0.05, 1.2)
        verdict = policy.decide(one(distance))
        if not verdict.reuse:
            policy.learn(verdict, 1 if distance < 0.8 else 2)
    reuse = [policy.decide(one(0.1)).reuse for _ in range(40)]
    assert sum(reuse) > 20
    assert policy.confident(one(0.1))
    far = [policy.decide(one(1.35)).reuse for _ in range(40)]
    assert sum(far) < sum(reuse) / 2
    assert not policy.decide(one(0.1, label=9)).reuse
    assert policy.statistics().requests > 200


def test_vcache_trusts_an_entry_after_a_few_right_answers_and_not_beyond_them() -> None:
    """An entry that was never wrong has a curve too: an orthogonal key is taken to have nothing to do with it."""
    policy = Vcache(0.9, random.Random(2).random)
    for _ in range(4):
        verdict = policy.decide(one(0.3))
        assert verdict.reason == "explore"
        policy.learn(verdict, 1)
    assert policy.confident(one(0.3))
    assert policy.confident(one(0.1))
    assert not policy.confident(one(1.35))


@pytest.mark.parametrize("name", ["fixed", "hknn", "potluck", "vcache"])
def test_baselines_come_back_from_their_state(name: str) -> None:
    """Through JSON; another policy's state is refused."""
    policy = make_policy(name, 0.95, random.Random(3).random)
    for _ in range(150):
        verdict = policy.decide(one(0.1))
        if not verdict.reuse:
            policy.learn(verdict, 1)
    state = json.loads(json.dumps(policy.state()))
    again = make_policy(name, 0.95, random.Random(3).random)
    again.restore(state)
    assert repr(again.statistics()) == repr(policy.statistics())
    with pytest.raises(InvalidValue, match="without it"):
        again.restore({**state, "policy": "other"})
    with pytest.raises(InvalidValue, match="without it"):
        again.restore({**state, "counters": {**state["counters"], "requests": -1}})


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Fixed, {"threshold": -1.0}),
        (Fixed, {"dropout": 2.0}),
        (Hknn, {"theta": 1.5}),
        (Potluck, {"dropout": -0.1}),
        (Vcache, {"fewest": 0}),
    ],
)
def test_numbers_out_of_range_are_refused(kind: type, options: dict[str, float]) -> None:
    """With words that say what to give."""
    with pytest.raises(InvalidValue, match="give"):
        kind(0.95, lambda: 0.5, **options)
