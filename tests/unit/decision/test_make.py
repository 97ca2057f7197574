"""Policies by name."""

from __future__ import annotations

import random

import pytest

from likewise.decision import POLICIES, Budget, Ledger, make_policy
from likewise.errors import InvalidValue
from likewise.ports import Policy
from likewise.types import NO_NEIGHBORS, Neighbors


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_is_built_and_says_its_name(name: str) -> None:
    """All take a ledger, so that a function need not know which one uses it."""
    policy: Policy = make_policy(name, 0.97, random.Random(0).random, ledger=Ledger(0.97))
    assert policy.statistics().policy == name
    assert policy.statistics().accuracy_target == 0.97


def test_key_types_of_one_function_may_share_a_budget() -> None:
    """Both earn into its ledgers; so they do into a single ledger."""
    budget, ledger = Budget(0.95), Ledger(0.95)
    for options in ({"budget": budget}, {"ledger": ledger}):
        for _ in range(2):
            policy = make_policy("calibrated+ledger", 0.95, random.Random(0).random, **options)
            policy.learn(policy.decide(NO_NEIGHBORS), 1)
    assert (budget.ledger().requests, ledger.requests) == (2, 2)


@pytest.mark.parametrize("name", sorted({*POLICIES} - {"calibrated+ledger"}))
def test_policies_without_a_promise_take_a_ledger_and_leave_it_alone(name: str) -> None:
    """So that callers need not know which policy it is."""
    ledger = Ledger(0.95)
    policy = make_policy(name, 0.95, lambda: 0.0, ledger=ledger)
    verdict = policy.decide(Neighbors([0.01], [1], [0]), None, ledger, limit=100.0)
    policy.abandon(verdict)
    assert (ledger.requests, ledger.tokens) == (0, 3.0)


def test_options_reach_the_policy() -> None:
    """Slack and cap are the ledger's, theta is H-kNN's."""
    assert make_policy("calibrated+ledger", 0.95, random.random, slack=7.0, cap=9.0).statistics().tokens == 7.0
    assert make_policy("hknn", 0.95, random.random, theta=0.7).statistics().bar == 0.7


@pytest.mark.parametrize(
    ("name", "target", "options", "says"),
    [
        pytest.param("guess", 0.9, {}, "no policy `guess`", id="name"),
        pytest.param("fixed", 0.9, {"theta": 1.0}, "no option `theta`", id="option"),
        pytest.param("fixed", 1.0, {}, "between 0 and 1", id="target"),
        pytest.param("fixed", 0.9, {"threshold": "far"}, "wrong type", id="type"),
        pytest.param("vcache", 0.9, {"dropout": 0.1}, "it takes: fewest", id="vcache"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_remedy(
    name: str, target: float, options: dict[str, object], says: str
) -> None:
    """Naming what there is."""
    with pytest.raises(InvalidValue, match=says):
        make_policy(name, target, random.random, **options)
