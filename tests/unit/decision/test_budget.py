"""A ledger for each account, within a bound."""

from __future__ import annotations

import json
import math
import random

import pytest

from likewise.decision import Budget, make_policy
from likewise.decision.calibrated import Calibrated
from likewise.errors import InvalidValue
from likewise.types import Neighbors

NEAR = Neighbors([0.05, *[0.4] * 9], [1] * 10, list(range(10)))


def test_each_account_has_a_ledger_of_its_own() -> None:
    """What one earns, no other can spend."""
    budget = Budget(0.95)
    for _ in range(100):
        budget.ledger("a").earn()
    assert budget.ledger("a").tokens == pytest.approx(8.0)
    assert budget.ledger("b").tokens == 3.0
    assert budget.ledger() is budget.ledger("")


def test_an_account_that_comes_and_goes_gets_its_slack_once() -> None:
    """Beyond the limit the one that was not used for longest goes, and new ones share what was left behind."""
    budget = Budget(0.95, max_accounts=2)
    budget.ledger("a").spend(budget.ledger("a").reserve(0.25))
    budget.ledger("b")
    budget.ledger("a")
    assert budget.ledger("c").tokens == 3.0  # "b" went, whose 3 tokens come back from now on
    assert len(budget) == 2
    started = [budget.ledger(name).tokens for name in "bdbdbd"]
    assert sum(started) <= 2 * 3.0 + 3.0 * 5
    spent = 0.0
    for turn in range(50):
        ledger = budget.ledger("xyz"[turn % 3])
        if ledger.tokens:
            spent += ledger.reserve(ledger.floor())
    assert spent <= 3 * 3.0


def test_a_spender_that_forges_names_has_nothing_to_start_with() -> None:
    """A thousand names are worth no more than the accounts there may be."""
    budget = Budget(0.95, max_accounts=4)
    total = 0.0
    for number in range(1000):
        ledger = budget.ledger(f"forged {number}")
        total += ledger.reserve(ledger.floor())
    assert total <= 5 * 3.0 + 1e-9


def test_the_shared_ledger_stays() -> None:
    """Policies hold on to it; a single account beside it finds room."""
    budget = Budget(0.95, max_accounts=1)
    shared = budget.ledger()
    total = sum(budget.ledger(f"n{number}").tokens for number in range(20))
    assert budget.ledger() is shared
    assert budget.ledger("n19") is budget.ledger("n19")
    assert total <= 20 * 3.0
    assert budget.state()["forgotten"]["tokens"] <= 3.0


def test_the_bound_covers_all_accounts_and_those_that_went() -> None:
    """False hits of any of them count."""
    one, split = Budget(0.95), Budget(0.95, max_accounts=2)
    for number in range(6):
        for ledger in (one.ledger(), split.ledger(str(number % 3))):
            ledger.tokens = 3.0
            ledger.expose(0.5)
            ledger.spend(ledger.reserve(0.5))
    assert split.bound() == pytest.approx(one.bound())
    assert one.bound() == pytest.approx(one.ledger().bound())


def test_all_accounts_are_kept_over_a_restart() -> None:
    """Through JSON; the fuller state of a sharer wins, account by account."""
    budget = Budget(0.95, max_accounts=3)
    for number, name in enumerate("abcd"):
        for _ in range(10 * number + 1):
            budget.ledger(name).earn()
    state = json.loads(json.dumps(budget.state()))
    other = Budget(0.95, max_accounts=3)
    for _ in range(500):
        other.ledger("b").earn()
    other.restore(state)
    assert other.ledger("b").requests == 500
    assert {name: other.ledger(name).tokens for name in "cd"} == {
        name: pytest.approx(budget.ledger(name).tokens) for name in "cd"
    }
    again = Budget(0.95, max_accounts=3)
    again.restore(state)
    assert again.state() == budget.state()


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"accounts": 3},
        {"accounts": {"a": {"tokens": -1.0}}},
        {"accounts": {"a": []}},
        {"accounts": {}, "forgotten": [1, 2]},
        {"accounts": {}, "forgotten": "x"},
        {"accounts": {}, "forgotten": {"tokens": 10**400}},
        {"accounts": {}, "forgotten": {"tokens": math.nan}},
    ],
)
def test_an_unusable_state_is_refused_as_a_whole(state: dict[str, object]) -> None:
    """Naming the remedy."""
    budget = Budget(0.95)
    with pytest.raises(InvalidValue, match="without it"):
        budget.restore(state)


def test_a_policy_spends_what_the_account_that_asks_has() -> None:
    """And settles there, whatever happened to the budget meanwhile."""
    coin = [0.999]
    budget = Budget(0.95, max_accounts=2)
    policy = make_policy("calibrated+ledger", 0.95, lambda: coin[0], budget=budget)
    for _ in range(400):
        verdict = policy.decide(NEAR, None, budget.ledger("a"))
        if not verdict.reuse:
            policy.learn(verdict, 1)
    rich, poor = budget.ledger("a"), budget.ledger("b")
    assert (rich.tokens, poor.tokens) == (pytest.approx(3.0 + 400 * 0.05), 3.0)
    coin[0] = 0.0
    verdict = policy.decide(NEAR, None, rich)
    assert verdict.probe
    for name in "cde":
        budget.ledger(name)
    policy.learn(verdict, 2)
    assert rich.spent == pytest.approx(verdict.charge or rich.spent)
    assert poor.spent == 0.0


def test_what_one_account_teaches_is_bounded_by_its_share() -> None:
    """Of an account that asks a hundred times as much as all others, only a few requests beyond its share count."""
    budget, own = Budget(0.95), random.Random(3)
    policy = Calibrated(0.95, own.random, budget)
    for at in range(4000):
        account = "loud" if at % 100 else f"calm {at // 100 % 9}"
        verdict = policy.decide(NEAR, None, budget.ledger(account))
        if not verdict.reuse:
            policy.learn(verdict, own.choice((1, 2)))
    counted = {name: budget.ledger(name).counted for name in ("loud", *(f"calm {number}" for number in range(9)))}
    assert counted["loud"] < 4000 / 6
    assert sum(counted.values()) - counted["loud"] == 40


def test_an_account_whose_others_are_silent_is_learned_from() -> None:
    """A thousand names that once asked do not keep the one that asks from being judged by its own requests."""
    budget, own = Budget(0.95), random.Random(4)
    policy = Calibrated(0.95, own.random, budget)
    for number in range(1000):
        policy.abandon(policy.decide(NEAR, None, budget.ledger(f"once {number}")))
    hits = 0
    for _ in range(2000):
        verdict = policy.decide(NEAR, None, budget.ledger("alone"))
        hits += verdict.reuse
        if not verdict.reuse:
            policy.learn(verdict, 1)
    assert hits > 1500
