"""Policies by name."""

from __future__ import annotations

import random

import pytest

from likewise.decision import POLICIES, Ledger, make_policy
from likewise.errors import InvalidValue
from likewise.ports import Policy
from likewise.types import NO_NEIGHBORS


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_is_built_and_says_its_name(name: str) -> None:
    """All take a ledger, so that a function need not know which one uses it."""
    policy: Policy = make_policy(name, 0.97, random.Random(0).random, ledger=Ledger(0.97))
    assert policy.statistics().policy == name
    assert policy.statistics().accuracy_target == 0.97


def test_key_types_of_one_function_may_share_a_ledger() -> None:
    """Both earn into it."""
    ledger = Ledger(0.95)
    for _ in range(2):
        policy = make_policy("calibrated+ledger", 0.95, random.Random(0).random, ledger=ledger)
        policy.decide(NO_NEIGHBORS)
    assert ledger.requests == 2


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
